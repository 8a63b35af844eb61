"""What is wrong with params.yaml, in words: the key, its value, the place, and the way out."""

import difflib
import re
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel

_CREDENTIAL = re.compile(
    r"^(sk-|hf_|ghp_|github_pat_|xox[abp]-|AKIA|eyJ)[A-Za-z0-9_\-.]{12,}$|://[^/\s:@]+:[^/\s@]+@|-----BEGIN"
)


def explain(detail: dict[str, Any], root: type[BaseModel], path: Path) -> str:
    """One of pydantic's errors about `root`, which was read from `path`."""
    parts = [str(part) for part in detail["loc"] if not re.match(r"^(literal|constrained|list\[|function-)", str(part))]
    key = ".".join(parts) or "the file as a whole"
    if detail["type"] == "extra_forbidden":
        section = _section(root, parts[:-1])
        known = list(section.model_fields) if section else []
        nearest = difflib.get_close_matches(parts[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean `{nearest[0]}`?" if nearest else f"known here: {', '.join(known)}"
        return f"`{key}` is not a key of {path}: {hint}"
    if detail["type"] == "missing":
        return f"`{key}` is missing from {path}: add it"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if not parts:
        return message
    if isinstance(detail["input"], dict):  # a check of a whole section
        return f"`{key}` in {path}: {message}"
    hint = _hint(root, parts)
    return f"`{key}` is {detail['input']!r} in {path}: {message}{'; ' + hint if hint else ''}"


def credentials(value: Any, key: str = "") -> list[str]:
    """A message for each key below `key` whose value looks like a credential: those belong into the environment."""
    if isinstance(value, dict):
        return [problem for k, v in value.items() for problem in credentials(v, f"{key}.{k}".lstrip("."))]
    if isinstance(value, list):
        return [problem for i, v in enumerate(value) for problem in credentials(v, f"{key}.{i}")]
    if isinstance(value, str) and _CREDENTIAL.search(value):
        return [f"`{key}` looks like a credential: put it into an environment variable and name that in a `*_env` key"]
    return []


def _section(root: type[BaseModel], parts: list[str]) -> type[BaseModel] | None:
    """The section that a dotted key leads to, or None where it leaves the sections."""
    found: Any = root
    for part in parts:
        if get_origin(found) is dict:  # below `pairs`, any name is a section of one kind
            found = get_args(found)[1]
            continue
        field = found.model_fields.get(part) if _is_section(found) else None
        annotation = field.annotation if field else None
        kinds = get_args(annotation) if isinstance(annotation, UnionType) else [annotation]  # `section | None`
        found = next((kind for kind in kinds if _is_section(kind)), annotation)
    return found if _is_section(found) else None


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _hint(root: type[BaseModel], parts: list[str]) -> str:
    section = _section(root, parts[:-1])
    field = section.model_fields.get(parts[-1]) if section else None
    extra = field.json_schema_extra if field else None
    return str(extra["hint"]) if isinstance(extra, dict) and "hint" in extra else ""
