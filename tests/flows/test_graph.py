import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from dvc.repo import Repo

from contracts import paths
from contracts.errors import BusyError, ParamsError, StageError
from flows import graph


def _settle() -> None:
    """Everything up to date, by DVC alone."""
    with Repo() as repo:
        repo.reproduce()


def _run_all() -> list[str]:
    """Everything up to date, by us; the stages that ran."""
    ran = []
    for name in graph.stages():
        if graph.stale([name]):
            graph.run_stage(name, lambda _: None)
            ran.append(name)
    return ran


def test_stages_come_after_what_they_need_whatever_their_place_in_the_file(mini: Path) -> None:
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("[support]", "[support, sales]"))
    assert graph.stages() == ["base", "train@support", "train@sales", "package"]


@pytest.mark.slow
def test_stage_by_stage_does_the_work_of_dvc_repro_and_leaves_nothing_to_do(mini: Path) -> None:
    assert _run_all() == ["base", "train@support", "package"]
    with Repo() as repo:
        assert repo.reproduce() == []
        assert repo.status() == {}
    assert _run_all() == []


def test_dvc_repro_leaves_nothing_for_us_to_do(mini: Path) -> None:
    _settle()
    assert graph.stale() == {}


def test_a_run_adds_nothing_to_the_work_tree_but_dvc_lock(mini: Path) -> None:
    def status() -> set[str]:
        listed = subprocess.run(["git", "status", "--short", "-uall"], capture_output=True, text=True, check=True)
        return set(listed.stdout.splitlines())

    before, ignore = status(), Path(".gitignore").read_text()
    _settle()
    assert status() - before == {"?? dvc.lock"}
    assert Path(".gitignore").read_text() == ignore


def test_stale_says_what_changed(mini: Path) -> None:
    _settle()
    Path("data/pairs/a.jsonl").write_text('{"n": 3}\n')
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("epochs: 2", "epochs: 3"))
    assert graph.stale() == {"train@support": ["data/pairs modified", "params.yaml: training modified"]}


def test_importing_a_module_makes_nothing_stale(mini: Path) -> None:
    Path("data/pairs/__pycache__").mkdir()
    _settle()
    Path("data/pairs/__pycache__/x.pyc").write_text("x")
    assert graph.stale() == {}


def test_a_stage_with_effects_outside_really_runs_when_its_inputs_come_back(mini: Path) -> None:
    pairs = Path("data/pairs/a.jsonl")
    first = pairs.read_text()
    _settle()
    pairs.write_text("other\n")
    _settle()
    Path("ran.log").unlink()
    pairs.write_text(first)
    _settle()
    # DVC's run cache gives back the model, but may not give back the receipt of a Bento.
    assert Path("ran.log").read_text().split() == ["package"]


def test_lines_come_live_and_without_what_dvc_says_around_them(mini: Path) -> None:
    told: list[str] = []
    seconds = graph.run_stage("base", told.append, snapshot="abc")
    assert told == ["base begins", "base ends in abc"]
    assert seconds > 0


def test_a_failing_stage_is_named_with_its_last_words(mini: Path) -> None:
    Path("fail-base").touch()
    with pytest.raises(StageError, match=r"stage base failed:[\s\S]*rows.jsonl:7 is broken: mend it") as caught:
        graph.run_stage("base", lambda _: None)
    assert caught.value.stage == "base"
    assert "reproduce" not in str(caught.value)


def _alive(pid: int) -> bool:
    """Whether a process is there a moment from now: one that was killed needs it to go."""
    for _ in range(50):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("stubborn", [False, True])
@pytest.mark.slow
def test_an_interrupted_stage_ends_with_all_it_started_and_the_next_run_is_clean(
    mini: Path, monkeypatch: pytest.MonkeyPatch, stubborn: bool
) -> None:
    monkeypatch.setattr(graph, "_GRACE_SECONDS", 2.0)
    if stubborn:
        program = "import signal\nfor s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
        Path("stage.py").write_text(program + Path("stage.py").read_text())
    Path("wait-base").touch()

    def interrupt() -> None:
        while not Path("waiting").exists() or not Path("waiting").read_text():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        graph.run_stage("base", lambda _: None)
    assert not _alive(int(Path("waiting").read_text()))
    Path("wait-base").unlink()
    graph.run_stage("base", lambda _: None)
    assert graph.stale(["base"]) == {}


def test_a_second_writer_is_told_who_the_first_is(mini: Path) -> None:
    program = "from flows import graph\nwith graph.writer('retrain'):\n    print('in', flush=True)\n    input()"
    first = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout
    assert first.stdin
    assert first.stdout.readline() == "in\n"
    with pytest.raises(BusyError, match=rf"`freshtune retrain` \(process {first.pid}, since "), graph.writer("reindex"):
        pass
    first.communicate("\n")
    with graph.writer("reindex"):
        pass
    assert not paths.LOCK.with_suffix(".json").exists()


def test_a_killed_writer_locks_nobody_out(mini: Path) -> None:
    program = "import os\nfrom flows import graph\nwith graph.writer('retrain'):\n    os._exit(9)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    with graph.writer("reindex"):
        pass


def test_a_project_without_git_runs_and_git_may_come_later(mini: Path) -> None:
    shutil.rmtree(".git")
    graph.without_git(True)
    graph.run_stage("base", lambda _: None)
    subprocess.run(["git", "init", "--quiet"], check=True)
    graph.without_git(False)
    assert graph.stale(["base"]) == {}


def test_another_directory_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match="is no freshtune project"):
        graph.stages()


def test_a_key_that_dvc_yaml_needs_is_named(mini: Path) -> None:
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("pairs_path: data/pairs\n", ""))
    with pytest.raises(ParamsError, match="pairs_path"):
        graph.stages()
