"""A Bento: the release, the rooms that answer from it, and their own lock file. Nothing else of the project travels."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from contracts.errors import ReleaseError
from contracts.files import content_hash, file_hash, require_disk
from contracts.release import load_release

if TYPE_CHECKING:
    from bentoml import Bento

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # read once, when bentoml is first used

PROGRAM = Path(__file__).resolve().parents[1]
ROOMS = ("contracts", "retrieval", "assistant")
LEFT_OUT = ("git_history.py", "pasts.py")  # of retrieval/: a service audits nothing, and carries no DVC
SERVING = ("__init__.py", "service.py", "guard.py", "page.html", "requirements.lock")
SERVICE = "serving.service:service"


def program_files() -> Iterator[Path]:
    """The files of this program that a Bento holds, relative to `PROGRAM`."""
    for room in ROOMS:
        files = (path for path in (PROGRAM / room).glob("*.py") if path.name not in LEFT_OUT)
        yield from sorted(path.relative_to(PROGRAM) for path in files)
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
    """The Bento when every byte of its release stands. A broken one is removed, so that it can be built again."""
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
    home = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml").expanduser()
    require_disk(home, size_bytes(staging))
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
    """Bytes of all files below `root`; compiled Python, which comes with use, does not count."""
    return sum(p.stat().st_size for p in root.rglob("*") if p.is_file() and p.suffix != ".pyc")
