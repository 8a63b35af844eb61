"""A second project beside this one: another params.yaml, its own git, DVC and outputs, the same rooms.

The rooms are linked, not copied: DVC and snapshots follow the links, so changed code makes stages stale here too.
"""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from contracts import paths
from contracts.errors import DataError, ParamsError
from contracts.files import write_text
from contracts.params import Params, load_params
from flows.git import commit_of, git, line
from flows.inputs import literal_part

PROGRAM = Path(__file__).resolve().parents[1]
_ROOMS = ("advisor", "assistant", "contracts", "evaluation", "retrieval", "serving", "training", "validation")
_COPIED = ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore")
_NO_HISTORY = Path("data/history/none.jsonl")


def default_directory(params_file: Path) -> Path:
    """Where the project of a params file lies unless told otherwise."""
    return paths.STATE / "projects" / params_file.stem


def project(into: Path, params_file: Path) -> Path:
    """Make, or bring up to date, the project of `params_file` in the directory `into`; returns its absolute path.

    Relative data paths in the file count from the file's own folder or, where nothing is found there, from the current
    directory; they are written absolute. Every default is written out, because DVC reads no other defaults.

    Raises:
        ParamsError: the file has problems, or names data that is not there.
        DataError: `into` holds something else.
    """
    params = load_params(params_file)
    into = into.absolute()
    if into.resolve() == PROGRAM or into.resolve() == params_file.parent.resolve():
        raise DataError(f"{into} is where the program or the params file lies: name another directory with --into")
    if into.is_dir() and any(into.iterdir()) and not (into / "dvc.yaml").is_file():
        raise DataError(f"{into} is not empty and no freshtune project: name another directory with --into")
    values = _absolute(params, params_file.absolute().parent)
    into.mkdir(parents=True, exist_ok=True)
    for name in _ROOMS:
        _link(into / name, PROGRAM / name)
    for name in _COPIED:
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROGRAM / name, into / name)
    if params.documents.history is None:
        write_text(into / _NO_HISTORY, "")
    head = f"# Written from {params_file.absolute()} with every default: edit that file, not this one.\n"
    write_text(into / paths.PARAMS, head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    with contextlib.chdir(into):
        if not Path(".git").exists():
            git("init", "--quiet")
        if not commit_of("HEAD"):  # dvclive refuses a repository without a commit: begin with an empty one
            git("update-ref", "HEAD", line("commit-tree", line("mktree"), stdin=b"empty\n"))
    return into


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() != target:
        link.unlink()
    if not link.is_symlink():
        link.symlink_to(target, target_is_directory=True)


def _absolute(params: Params, folder: Path) -> dict[str, Any]:
    """The params as plain values, with every data path absolute.

    Raises:
        ParamsError: some path leads nowhere.
    """
    problems: list[str] = []

    def find(key: str, path: str) -> str:
        if path.startswith("hub:"):
            return path
        bases = [folder, Path.cwd()]
        for base in bases:
            if (base / literal_part(path)).exists():
                return os.path.normpath(base / path)
        problems.append(f"`{key}` is {path}: nothing is there, neither in {folder} nor in {Path.cwd()}")
        return path

    values = params.model_dump(mode="json")
    for behaviour in params.behaviours:
        files = values["pairs"][behaviour]["files"]
        values["pairs"][behaviour]["files"] = [find(f"pairs.{behaviour}.files", name) for name in files]
    if "pairs_path" in params.model_fields_set:
        values["pairs_path"] = find("pairs_path", params.pairs_path)
    elif not problems:
        plain = [literal_part(name) for behaviour in params.behaviours for name in values["pairs"][behaviour]["files"]]
        values["pairs_path"] = os.path.commonpath(plain)
    values["documents"]["path"] = find("documents.path", params.documents.path)
    if params.documents.history is None:
        values["documents"]["history"] = str(_NO_HISTORY)
    else:
        values["documents"]["history"] = find("documents.history", params.documents.history)
    values["evaluation"]["golden"] = find("evaluation.golden", params.evaluation.golden)
    for holder, key in ((values, "base_model"), (values["retrieval"], "embedder")):
        if holder[key].startswith((".", "~")):
            holder[key] = find(key, str(Path(holder[key]).expanduser()))
    if problems:
        raise ParamsError(
            "\n".join(f"  - {problem}" for problem in ["these paths are wrong:", *problems]).removeprefix("  - ")
        )
    return values
