"""A miniature project: git, DVC, params.yaml and a graph of stand-in stages that take no time."""

import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2]

PARAMS = """\
project: mini
base_model: ./nowhere
behaviours: [support]
pairs_path: data/pairs
pairs:
  support:
    files: [data/pairs/*.jsonl]
documents:
  path: data/documents
  history: data/history.jsonl
assistant: {behaviour: support}
evaluation: {golden: data/golden.jsonl}
training: {epochs: 2}
"""

GRAPH = """\
stages:
  package:
    cmd: python stage.py package models/merged reports/package.json
    deps: [models/merged]
    outs:
      - reports/package.json: {persist: true}
  base:
    cmd: python stage.py base stage.py models/base/weights
    deps: [stage.py]
    outs: [models/base]
  train:
    matrix: {behaviour: "${behaviours}"}
    cmd: python stage.py train@${item.behaviour} data/pairs models/merged/${item.behaviour}/weights
    deps: [models/base, "${pairs_path}"]
    params: [training]
    outs: ["models/merged/${item.behaviour}"]
"""

# Prints, waits when told to, fails when told to, writes what it read.
STAGE = """\
import os, pathlib, sys, time
name, source, out = sys.argv[1:]
print(f"{name} begins", flush=True)
if pathlib.Path(f"wait-{name}").exists():
    pathlib.Path("waiting").write_text(str(os.getpid()))
    time.sleep(60)
if pathlib.Path(f"fail-{name}").exists():
    print("rows.jsonl:7 is broken: mend it", file=sys.stderr)
    sys.exit(2)
files = [p for p in sorted(pathlib.Path(source).rglob("*")) if p.is_file()] or [pathlib.Path(source)]
pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
text = "{}" if name == "package" else "".join(p.read_text() for p in files)
pathlib.Path(out).write_text(text)
with open("ran.log", "a") as log:
    log.write(name + "\\n")
print(f"{name} ends in {os.environ.get('FRESHTUNE_SNAPSHOT', '')}", flush=True)
"""


def sh(*command: str, cwd: Path | None = None) -> str:
    """Run a command that must succeed; its output."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a name for git, and with DVC's and BentoML's state inside it."""
    folder = tmp_path / "home"
    for name in ("EMAIL", "GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_DIR", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(folder / "dvc"))
    monkeypatch.setenv("BENTOML_HOME", str(folder / "bentoml"))
    return folder


@pytest.fixture
def repository(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty git repository, the current directory."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    sh("git", "init", "--quiet", "-b", "main")
    return folder


@pytest.fixture
def mini(repository: Path) -> Path:
    """The miniature project, nothing of it committed."""
    for name, text in (("params.yaml", PARAMS), ("dvc.yaml", GRAPH), ("stage.py", STAGE)):
        Path(name).write_text(text)
    Path("data/pairs").mkdir(parents=True)
    Path("data/documents").mkdir()
    Path("data/pairs/a.jsonl").write_text('{"n": 1}\n{"n": 2}\n')
    for name in ("data/history.jsonl", "data/golden.jsonl", "data/documents/a.md"):
        Path(name).write_text("x\n")
    Path(".gitignore").write_text("/models/\n/reports/\n/.freshtune/\n/ran.log\n/waiting\n/wait-*\n/fail-*\n")
    Path(".dvc").mkdir()
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore"):
        shutil.copyfile(PROGRAM / name, name)
    return repository
