import shutil
from pathlib import Path

import pytest

from contracts.errors import DataError
from flows import data, snapshot
from flows.git import files, git


def _commit() -> None:
    git("add", ".")
    git("commit", "--quiet", "-m", "work")


def test_what_git_tracks_is_refused_with_the_way_out(mini: Path) -> None:
    _commit()
    with pytest.raises(
        DataError, match=r"git rm -r --cached data/pairs`, then run `freshtune data add data/pairs` again"
    ):
        data.add(Path("data/pairs"))
    git("rm", "-r", "--quiet", "--cached", "data/pairs")
    assert data.add(Path("data/pairs")) == Path("data/pairs.dvc")


@pytest.mark.parametrize(("path", "message"), [("nothing", "does not exist"), ("../outside", "lies outside of")])
def test_what_cannot_be_added_says_why(mini: Path, path: str, message: str) -> None:
    Path("../outside").touch()
    with pytest.raises(DataError, match=message):
        data.add(Path(path))


def test_data_goes_to_a_remote_and_comes_back(mini: Path, tmp_path: Path) -> None:
    Path("data/big.csv").write_text("a,b\n1,2\n")
    data.add(Path("data/big.csv"))
    with pytest.raises(DataError, match="no remote"):
        data.push()
    remote = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {tmp_path / 'remote'}\n"
    Path(".dvc/config.local").write_text(remote)
    data.push()
    Path("data/big.csv").unlink()
    shutil.rmtree(".dvc/cache")
    data.pull()
    assert Path("data/big.csv").read_text() == "a,b\n1,2\n"


def test_restore_brings_data_and_params_of_a_run_back(mini: Path) -> None:
    _commit()
    first = snapshot.take()
    params = Path("params.yaml").read_text()
    Path("params.yaml").write_text(params.replace("epochs: 2", "epochs: 9"))
    Path("data/pairs/a.jsonl").write_text("other\n")
    Path("data/pairs/b.jsonl").write_text("new\n")
    Path("data/documents/a.md").unlink()
    Path("stage.py").write_text("# code stays\n")
    _commit()
    done = data.restore(first.run)
    assert Path("params.yaml").read_text() == params
    assert Path("data/pairs/a.jsonl").read_text() == '{"n": 1}\n{"n": 2}\n'
    assert Path("data/documents/a.md").read_text() == "x\n"
    assert Path("stage.py").read_text() == "# code stays\n"
    assert done.removed == ["data/pairs/b.jsonl"]
    assert done.written == ["data/documents/a.md", "data/pairs/a.jsonl", "params.yaml"]
    assert git("status", "--porcelain").decode().count("\n") == 4  # in the work tree alone, nothing staged
    assert git("diff", "--cached") == b""


def test_restore_does_not_lose_what_is_not_committed(mini: Path) -> None:
    _commit()
    first = snapshot.take()
    Path("data/pairs/a.jsonl").write_text("an hour of work\n")
    with pytest.raises(DataError, match=r"data/pairs/a\.jsonl: changed and not committed") as caught:
        data.restore(first.run, ["data/pairs"])
    assert Path("data/pairs/a.jsonl").read_text() == "an hour of work\n"
    done = data.restore(first.run, ["data/pairs"], force=True)
    assert done.kept in str(caught.value)
    kept = files(snapshot.find(done.kept).commit)["data/pairs/a.jsonl"][1]
    assert git("cat-file", "blob", kept) == b"an hour of work\n"
    assert Path("data/pairs/a.jsonl").read_text() == '{"n": 1}\n{"n": 2}\n'


def test_restore_checks_out_what_pointers_lead_to(mini: Path) -> None:
    big = Path("data/big.csv")
    big.write_text("1\n")
    data.add(big)
    first = snapshot.take()
    big.unlink()
    big.write_text("2\n")
    data.add(big)
    data.restore(first.run, ["data"], force=True)
    assert big.read_text() == "1\n"


def test_restore_of_a_path_the_run_did_not_have(mini: Path) -> None:
    first = snapshot.take()
    with pytest.raises(DataError, match="holds no data/never"):
        data.restore(first.run, ["data/never"])
