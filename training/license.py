"""The licence of a base model, as the model's own files say it. Nothing is guessed."""

import importlib.metadata
from pathlib import Path

from contracts.models import ModelSource


def base_license(source: ModelSource) -> dict[str, str]:
    """`license` and `license_from` (where it stands), or an empty dict where nothing says it.

    Asked in this order: a GGUF's own metadata, the model card (README.md) beside the weights or on the hub, the package
    that carries the weights.
    """
    found = _of_gguf(source) or _of_card(source) or _of_package(source)
    return {"license": found[0].strip().lower(), "license_from": found[1]} if found else {}


def _of_gguf(source: ModelSource) -> tuple[str, str] | None:
    if source.kind != "gguf":
        return None
    from gguf import GGUFReader

    path = Path(source.location)
    field = GGUFReader(path).get_field("general.license")
    return (str(field.contents()), f"general.license in {path.name}") if field else None


def _of_card(source: ModelSource) -> tuple[str, str] | None:
    from huggingface_hub import ModelCard, hf_hub_download

    if source.kind == "hub":
        try:
            path = Path(hf_hub_download(source.location, "README.md", revision=source.revision))
        except OSError:  # no card there, or no network: huggingface_hub's errors are all of this kind
            return None
    else:
        path = Path(source.location) / "README.md"
    if not path.is_file():
        return None
    data = ModelCard(path.read_text(encoding="utf-8"), ignore_metadata_errors=True).data
    named = data.get("license_name") or data.get("license")
    return (str(named), "the base's model card") if named else None


def _of_package(source: ModelSource) -> tuple[str, str] | None:
    if not source.reference.startswith("package:"):
        return None
    name = source.reference.removeprefix("package:")
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    named = next((metadata[key] for key in ("License-Expression", "License") if key in metadata), "")
    return (named.splitlines()[0], f"the metadata of the package {name}") if named else None
