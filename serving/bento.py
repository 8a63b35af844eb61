"""A Bento: the release, the rooms that answer from it, and their own lock file. Nothing else of the project travels."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from contracts.errors import BusyError, ReleaseError
from contracts.files import content_hash, file_hash
from contracts.release import load_release

if TYPE_CHECKING:
    from bentoml import Bento

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # read once, when bentoml is first used

PROGRAM = Path(__file__).resolve().parents[1]
ROOMS = ("contracts", "retrieval", "assistant")
SERVING = ("__init__.py", "service.py", "guard.py", "page.html", "requirements.lock")
SERVICE = "serving.service:service"


def program_files() -> Iterator[Path]:
    """The files of this program that a Bento holds, relative to `PROGRAM`."""
    for room in ROOMS:
        yield from sorted(p.relative_to(PROGRAM) for p in (PROGRAM / room).glob("*.py"))
    yield from (Path("serving") / name for name in SERVING)


def program_hash() -> str:
    """Changes when the program inside a Bento would."""
    return content_hash({str(path): file_hash(PROGRAM / path) for path in program_files()})


def find(tag: str) -> "Bento | None":
    """The Bento in the user's BentoML store, or None."""
    import bentoml
    from bentoml.exceptions import NotFound

    try:
        found = bentoml.get(tag)
    except NotFound:
        return None
    return found if str(found.tag) == tag else None  # BentoML also finds by a prefix of the version


def standing(tag: str) -> "Bento | None":
    """The Bento when it stands with every byte of its release. A broken one is removed, so that it can be built again."""
    import bentoml
    from bentoml.exceptions import BentoMLException

    try:
        if bento := find(tag):
            load_release(release_of(bento))
        return bento
    except (BentoMLException, ReleaseError):  # an interrupted build has no bento.yaml
        bentoml.delete(tag)
        return None


def release_of(bento: "Bento") -> Path:
    """The release directory inside a Bento."""
    return Path(bento.path_of("src")) / "release"


def build(project: str, version: str, staging: Path) -> "Bento":
    """Build the Bento `project:version` from `staging`, which holds `release/` and receives the rooms.

    BentoML imports the service that it builds. It does so in a process of its own that starts in `staging`, so that
    what is imported is the copy, and a module missing from the copy is missed here and not in production.

    Raises:
        ReleaseError: BentoML refused; its own last words are in the message.
        BusyError: the disk has no room for it.
    """
    for path in program_files():
        (staging / path).parent.mkdir(exist_ok=True)
        shutil.copyfile(PROGRAM / path, staging / path)
    options = {
        "service": SERVICE,
        "name": project,
        "description": f"Release {version} of {project}. POST /answer, POST /stream, GET /health; a chat page at /.",
        "include": ["*"],
        "python": {"requirements_txt": "serving/requirements.lock", "lock_packages": False},
    }
    (staging / "bentofile.yaml").write_text(yaml.safe_dump(options), encoding="utf-8")
    _require_disk(size_bytes(staging))
    command = [sys.executable, "-m", "bentoml", "build", "--version", version, "--output", "tag", str(staging)]
    done = subprocess.run(command, cwd=staging, capture_output=True, text=True, check=False)
    bento = find(f"{project}:{version}")
    if done.returncode or bento is None:
        words = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise ReleaseError(
            f"`bentoml build` failed on {project}:{version} ({words}): mend that and run `dvc repro package`"
        )
    return bento


def size_bytes(root: Path) -> int:
    """Bytes of all files below `root`."""
    return sum(p.stat().st_size for p in root.rglob("*") if p.is_file())


def _require_disk(size: int) -> None:
    home = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml").expanduser()
    free = shutil.disk_usage(next(p for p in (home, *home.absolute().parents) if p.exists())).free
    if free < size * 1.1:
        raise BusyError(
            f"the BentoML store {home} needs {size * 1.1 / 2**30:.1f} GiB and its disk has {free / 2**30:.1f} GiB free:"
            " make room (`bentoml list`, `bentoml delete TAG`), or set BENTOML_HOME to another disk"
        )
