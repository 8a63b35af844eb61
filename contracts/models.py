"""Model references: `package:NAME` (weights carried by an installed package), a hub id, or a path."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from contracts.errors import ModelError
from contracts.files import file_hash


@dataclass(frozen=True)
class ModelSource:
    """Where a reference leads: a GGUF file, a checkpoint directory, or a hub id for transformers to fetch."""

    reference: str
    kind: Literal["gguf", "directory", "hub"]
    location: str
    revision: str


def resolve_model(reference: str) -> ModelSource:
    """Find what a model reference names. Nothing is imported, downloaded or loaded.

    Raises:
        ModelError: nothing is there; the message says what to install or correct.
    """
    if reference.startswith("package:"):
        return _from_package(reference)
    path = Path(reference).expanduser()
    if path.exists():
        return _from_path(reference, path)
    if reference.startswith((".", "/", "~")) or not re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w.-]+)?", reference):
        raise ModelError(
            f"base_model or embedder `{reference}` names nothing: no such path, and not a hub id (org/name)"
            " or package:NAME"
        )
    name, _, revision = reference.partition("@")
    return ModelSource(reference, "hub", name, revision or "main")


def _from_package(reference: str) -> ModelSource:
    name = reference.removeprefix("package:")
    try:
        spec = importlib.util.find_spec(name.replace("-", "_"))
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(f"`{reference}` is not installed: run `make setup`, or correct the name in params.yaml")
    root = Path(next(iter(spec.submodule_search_locations)))
    ggufs = sorted(root.rglob("*.gguf"))
    folders = sorted(p.parent for p in root.rglob("config.json") if any(p.parent.glob("*.safetensors")))
    if len(ggufs) + len(folders) != 1:
        found = ", ".join(str(p.relative_to(root)) for p in ggufs + folders) or "none"
        raise ModelError(f"`{reference}` must carry exactly one GGUF file or safetensors folder; found {found}")
    return _from_path(reference, (ggufs + folders)[0])


def _from_path(reference: str, path: Path) -> ModelSource:
    if path.is_file() and path.suffix == ".gguf":
        return ModelSource(reference, "gguf", str(path), file_hash(path)[:12])
    weights = sorted(path.glob("*.safetensors")) if path.is_dir() else []
    if weights and (path / "config.json").is_file():
        return ModelSource(reference, "directory", str(path), file_hash(weights[0])[:12])
    raise ModelError(
        f"`{reference}` is no model: expected a .gguf file, or a folder with config.json and *.safetensors"
    )
