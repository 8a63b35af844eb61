"""What changed between two snapshots, in words: keys of params.yaml, rows of data files, lines of the rest."""

import csv
import io
from collections import Counter
from typing import Any

import yaml

from flows.git import files, git

_OUTPUTS = {"dvc.lock"}
_SHOWN = 20


def between(before: str, now: str) -> list[str]:
    """The differences between two commits or trees, one a line, params and data first.

    Raises:
        GitError: one of them does not exist.
    """
    old, new = files(before), files(now)
    changed = [path for path in old.keys() | new.keys() if path not in _OUTPUTS and old.get(path) != new.get(path)]
    changed.sort(key=lambda path: (path != "params.yaml", not path.startswith("data/"), path))
    told = [text for path in changed[:_SHOWN] for text in _tell(path, _read(old, path), _read(new, path))]
    return told + ([f"and {len(changed) - _SHOWN} more files"] if len(changed) > _SHOWN else [])


def _read(held: dict[str, tuple[str, str]], path: str) -> bytes | None:
    return git("cat-file", "blob", held[path][1]) if path in held else None


def _tell(path: str, old: bytes | None, new: bytes | None) -> list[str]:
    if path == "params.yaml" and old and new and (keys := _keys(old, new)):
        return keys
    if path.endswith((".jsonl", ".csv")):
        unit, before, after = "rows", _rows(path, old), _rows(path, new)
    else:
        unit, before, after = "lines", _lines(old), _lines(new)
    verb = "added" if old is None else "removed" if new is None else "changed"
    counts = f"+{(after - before).total()} -{(before - after).total()} {unit}"
    return [f"{path} {verb} ({counts})"]


def _rows(path: str, content: bytes | None) -> Counter[str]:
    """The rows of a data file, whatever their order."""
    text = (content or b"").decode("utf-8-sig", "replace")
    if path.endswith(".csv"):
        return Counter(repr(row) for row in list(csv.reader(io.StringIO(text, newline="")))[1:])
    return Counter(row.strip() for row in text.split("\n") if row.strip())


def _lines(content: bytes | None) -> Counter[str]:
    return Counter((content or b"").decode("utf-8", "replace").splitlines())


def _keys(old: bytes, new: bytes) -> list[str]:
    """The keys of params.yaml whose values differ; nothing when one of the two is not YAML."""
    try:
        before, after = _flat(yaml.safe_load(old), ""), _flat(yaml.safe_load(new), "")
    except yaml.YAMLError:
        return []
    names = [*after, *(name for name in before if name not in after)]
    return [
        f"params.yaml: {name} {before.get(name, 'unset')} → {after.get(name, 'unset')}"
        for name in names
        if before.get(name, "unset") != after.get(name, "unset")
    ]


def _flat(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {key: value}
    return {name: leaf for k, v in value.items() for name, leaf in _flat(v, f"{key}.{k}".lstrip(".")).items()}
