"""Profiles: params for a kind of machine, as differences to params.yaml, each knob with its reason.

A profile is a YAML file below profiles/ with the keys it changes. Applying one writes those into params.yaml and leaves
everything else in it, comments included, as it stands.
"""

import difflib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from contracts import paths
from contracts.errors import InputError, ParamsError
from contracts.files import write_text
from contracts.params import Params, check_params, load_params

PROFILES = Path(__file__).resolve().parents[1] / "profiles"


@dataclass(frozen=True)
class Change:
    """One knob: its dotted key, its value in params.yaml now (or by default), the profile's, and why."""

    key: str
    present: Any
    value: Any
    reason: str


def available() -> dict[str, str]:
    """The first line of each profile's head by its name."""
    return {path.stem: _first_line(path) for path in sorted(PROFILES.glob("*.yaml"))}


def head(name: str) -> str:
    """What a profile says of itself: its head, without the comment signs.

    Raises:
        InputError: there is no such profile.
    """
    lines = []
    for line in _path(name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(lines)


def difference(name: str) -> list[Change]:
    """What the profile would change in params.yaml, in its own order; knobs that already agree are left out.

    Raises:
        InputError: there is no such profile.
        ParamsError: params.yaml has problems, or would have with the profile applied.
    """
    present = load_params().model_dump(mode="json")
    profile = _yaml().load(_path(name))
    _merged(name, profile)
    leaves = _leaves(profile)
    return [
        Change(key, _at(present, key), value, reason) for key, value, reason in leaves if _at(present, key) != value
    ]


def apply(name: str) -> list[Change]:
    """Write the profile's values into params.yaml, and return what changed.

    Raises:
        InputError, ParamsError: as `difference`; then nothing is written.
    """
    changes = difference(name)
    if changes:
        text, _ = _merged(name, _yaml().load(_path(name)))
        write_text(paths.PARAMS, text)
    return changes


def table(changes: list[Change]) -> str:
    """The changes side by side, one a line."""
    rows = [("knob", "params.yaml", "profile", "why")]
    rows += [(change.key, _shown(change.present), _shown(change.value), change.reason) for change in changes]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [
        "  ".join([*(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines) if changes else ""


def _shown(value: Any) -> str:
    """A value as YAML has it on one line."""
    return json.dumps(value, ensure_ascii=False)


def _path(name: str) -> Path:
    path = PROFILES / f"{name}.yaml"
    if path.parent == PROFILES and path.is_file():
        return path
    names = list(available())
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    raise InputError(f"{name} is no profile: {hint}")


def _first_line(path: Path) -> str:
    return path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("#").strip()


class _Representer(RoundTripRepresenter):
    """Writes null as params.yaml does; ruamel would write nothing."""


_Representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))


def _yaml() -> YAML:
    """Round-trip YAML that breaks no line and keeps quotes and comments."""
    yaml = YAML(typ="rt")
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 4096
    return yaml


def _merged(name: str, profile: CommentedMap) -> tuple[str, Params]:
    """params.yaml with the profile's values, as text and checked."""
    yaml = _yaml()
    try:
        document = yaml.load(paths.PARAMS)
    except YAMLError as error:
        raise ParamsError(f"{paths.PARAMS} is not YAML: {error}") from None
    _put(document, profile)
    stream = io.StringIO()
    yaml.dump(document, stream)
    plain = YAML(typ="safe").load(stream.getvalue())
    return stream.getvalue(), check_params(plain, Path(f"{paths.PARAMS} with profile {name}"))


def _put(document: CommentedMap, values: CommentedMap) -> None:
    """Set every leaf of `values`; an end-of-line comment belongs to its key, so it stays."""
    for key, value in values.items():
        if isinstance(value, CommentedMap) and value and isinstance(document.get(key), CommentedMap):
            _put(document[key], value)
        elif document.get(key) != value:
            document[key] = value


def _leaves(values: CommentedMap, above: str = "") -> list[tuple[str, Any, str]]:
    found = []
    for key, value in values.items():
        name = f"{above}.{key}" if above else str(key)
        if isinstance(value, CommentedMap) and value:
            found += _leaves(value, name)
        else:
            found.append((name, value, _reason(values, key)))
    return found


def _reason(values: CommentedMap, key: str) -> str:
    """The comment at the end of the key's line."""
    tokens = values.ca.items.get(key)
    text = tokens[2].value if tokens and tokens[2] else ""
    return text.split("\n", 1)[0].strip().removeprefix("#").strip()


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values
