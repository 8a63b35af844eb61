"""A release: one manifest that pins both halves, every file hashed, promoted and rolled back as one."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.documents import Fingerprint
from contracts.errors import ReleaseError
from contracts.files import read_json, tree_hashes
from contracts.pairs import Passage

MANIFEST = "release.json"


class Example(BaseModel):
    """One worked turn shown to a model that is not tuned."""

    question: str
    passages: list[Passage]
    answer: str


class Release(BaseModel):
    """What is served. `files` maps each file of the release to its SHA-256; the manifest itself is not among them."""

    model_config = ConfigDict(extra="forbid")
    id: str
    project: str
    mode: Literal["hybrid", "rag-only"]
    reason: str
    behaviour: str
    base_model: str
    base_revision: str
    data_hash: str
    params_hash: str
    fingerprint: Fingerprint
    index_content: str
    system: str
    examples: list[Example]
    snapshot: str
    task_success: float | None
    files: dict[str, str]


def load_release(root: Path) -> Release:
    """Read `root`/release.json and prove that every file is the one it was released with.

    Raises:
        ReleaseError: no manifest, a file missing, added or changed.
    """
    manifest = root / MANIFEST
    if not manifest.is_file():
        raise ReleaseError(f"{root} holds no {MANIFEST}: build a release with `freshtune retrain`")
    try:
        release = Release.model_validate(read_json(manifest))
    except ValidationError as error:
        raise ReleaseError(
            f"{manifest} is not a release manifest ({error.error_count()} problems): build it again"
        ) from None
    found = {name: digest for name, digest in tree_hashes(root).items() if name != MANIFEST}
    wrong = sorted(name for name in release.files.keys() | found.keys() if release.files.get(name) != found.get(name))
    if wrong:
        shown = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise ReleaseError(f"release {release.id} in {root} was changed after it was proved ({shown}): build it again")
    return release
