"""A full disk costs a run, not the index. The disk is a small one in memory, mounted where only the run sees it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contracts import paths

ROOT = Path(__file__).resolve().parents[2]

RUN = """
import json, random, subprocess, sys
from pathlib import Path
from benchmarks import trees
from contracts.errors import FreshtuneError
from retrieval.index import reindex
from retrieval.prove import verify
from retrieval.store import open_store

params, embedder, place = trees.params(Path("docs"), chunk_tokens=200), trees.HashEmbedder(), Path("small/lancedb")
run = lambda: reindex(params, store=place, embedder=embedder)
store = open_store(params.retrieval, place)
told = {"first": run().generation, "errors": []}
pick = random.Random(1)
for n in range(40):
    words = "".join(chr(pick.randrange(97, 123)) if pick.random() > 0.2 else " " for _ in range(100_000))
    Path(f"docs/big{n}.md").write_text(f"# Big {n}\\n\\n{words}")
for _ in range(2):
    try:
        run()
    except FreshtuneError as error:
        told["errors"].append([type(error).__name__, str(error)])
    current = store.pointer().current
    told["seen"] = [current.generation, sorted(store.records(current))]
for n in range(40):
    Path(f"docs/big{n}.md").unlink()
subprocess.run(["mount", "-o", "remount,size=100m", sys.argv[1]], check=True)
Path("docs/new.md").write_text("# New\\n\\nThere is room again.\\n")
told["next"] = run().added
told["wrong"] = verify(store).wrong
print(json.dumps(told))
"""


@pytest.mark.parametrize("place", ["small", str(paths.EMBEDDINGS)], ids=["the store", "the embedding cache"])
@pytest.mark.slow
def test_a_full_disk_is_one_message_the_old_answers_stay_and_the_next_run_converges(tmp_path: Path, place: str) -> None:
    unshare = [shutil.which("unshare") or "unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    small, docs = tmp_path / place, tmp_path / "docs"
    small.mkdir(parents=True)
    docs.mkdir()
    (docs / "old.md").write_text("# Old\n\nAn old answer.\n")
    mount = 'mount -t tmpfs -o size=3m tmpfs "$1" && '
    try:
        subprocess.run([*unshare, f"{mount}true", "sh", str(small)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"the tests of a full disk did NOT run: mounting one as a user is not allowed here ({error})")
    done = subprocess.run(
        [*unshare, f'{mount}exec "$2" -c "$3" "$1"', "sh", str(small), sys.executable, RUN],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["first"] == 1
    assert [kind for kind, _ in told["errors"]] == ["BusyError", "BusyError"]
    assert all(f"the disk of {place}" in message and "make room" in message for _, message in told["errors"])
    assert told["seen"] == [1, ["old.md"]]
    assert (told["next"], told["wrong"]) == (["new.md"], [])
