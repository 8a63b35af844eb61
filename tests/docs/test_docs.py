"""The documents are true: links, commands, paths, keys and laws are those of the repository."""

import ast
import difflib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import pytest
import typer
import yaml
from pydantic import BaseModel

from cli import app
from contracts.params import Gates, Params

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
EVERY_DOCUMENT = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SUFFIXES = (".py", ".md", ".yaml", ".toml", ".lock", ".in", ".json", ".jsonl", ".html", ".csv")
# What a run writes, and what a document invents for its example.
MADE = ("models/", "reports/", ".freshtune/", "data/validated/", "data/real/")
INVENTED = ("NAME.", "data/mine", "release.json", "other.yaml", "dvc.lock")
# Each room with the rooms it may import.
FLOORS = {
    "contracts": set(),
    "advisor": {"contracts"},
    "validation": {"contracts"},
    "training": {"contracts"},
    "retrieval": {"contracts"},
    "assistant": {"contracts", "retrieval"},
    "evaluation": {"contracts", "retrieval", "assistant"},
    "serving": {"contracts", "retrieval", "assistant"},
}
ROOMS = {*FLOORS, "flows", "cli"}


def prose(document: Path) -> str:
    return FENCE.sub("", document.read_text(encoding="utf-8"))


def in_backticks(document: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(document))


def fenced(document: Path, *languages: str) -> list[str]:
    found = FENCE.findall(document.read_text(encoding="utf-8"))
    return [body for language, body in found if language in languages]


def slugs(document: Path) -> set[str]:
    """The anchors that a Markdown viewer makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@EVERY_DOCUMENT
def test_relative_links_resolve(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in slugs(target), f"{link}: there is no such heading"


def commands(document: Path) -> Iterator[list[str]]:
    """The arguments of every `freshtune …` in a fenced block or in backticks."""
    lines = [line for body in fenced(document, "", "bash", "sh", "console") for line in body.splitlines()]
    for line in lines + [text for text in in_backticks(document) if "…" not in text and "|" not in text]:
        for part in re.split(r"&&|;(?=\s)|\|", line):
            words = shlex.split(part.strip().removeprefix("$ "), comments=True) if "freshtune " in part else []
            if words and words[0] == "freshtune":
                yield words[1:]


@EVERY_DOCUMENT
def test_commands_parse(document: Path) -> None:
    for words in commands(document):
        command: Any = typer.main.get_command(app)
        context = None
        while words and hasattr(command, "commands") and not words[0].startswith("-"):
            assert words[0] in command.commands, f"freshtune has no command {words[0]}"
            command, words = command.commands[words[0]], words[1:]
        if words and words != ["--help"]:
            context = command.make_context("freshtune", words)  # raises on an unknown option or a missing argument
            context.close()


@EVERY_DOCUMENT
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = "\n".join(fenced(document, "", "bash", "sh", "console") + in_backticks(document))
    assert set(re.findall(r"^(?:\w+=\w+ )?make ([a-z-]+)", text, re.MULTILINE)) <= targets


@EVERY_DOCUMENT
def test_paths_exist(document: Path) -> None:
    folders = [ROOT / name for name in (*FLOORS, "flows", "docs", "tests", "data")]
    names = {path.name for path in ROOT.iterdir()} | {path.name for folder in folders for path in folder.rglob("*")}
    for text in in_backticks(document):
        path = text.partition("::")[0]
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", path) or path.startswith((*MADE, *INVENTED)):
            continue
        if "/" in path and (path.endswith((*SUFFIXES, "/")) or path.split("/")[0] in ROOMS | {"data", "docs", "tests"}):
            places = (ROOT / path, document.parent / path, ROOT / "data/documents" / path)
            assert any(place.exists() for place in places), f"{path} does not exist"
        elif Path(path).suffix in SUFFIXES:
            assert path in names, f"there is no {path}"


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def is_key(parts: list[str]) -> bool:
    """Does params.yaml take this dotted key? Below `pairs` any name is a behaviour."""
    annotation: Any = Params
    while parts:
        if isinstance(annotation, UnionType):  # a section or null
            annotation = next((one for one in get_args(annotation) if _is_section(one)), annotation)
        if _is_section(annotation):
            if parts[0] not in annotation.model_fields:
                return False
            field = annotation.model_fields[parts[0]]
            annotation, parts = field.annotation, parts[1:]
        elif getattr(annotation, "__origin__", None) is dict:
            annotation, parts = annotation.__args__[1], parts[1:]
        else:
            return False
    return True


@EVERY_DOCUMENT
def test_keys_in_backticks_are_keys_of_params(document: Path) -> None:
    sections = set(Params.model_fields)
    for text in in_backticks(document):
        if not re.fullmatch(r"\w+(\.(\w+|<\w+>))+", text) or text.endswith(SUFFIXES):
            continue
        parts = text.split(".")
        if parts[0] in ROOMS and (ROOT / parts[0] / f"{parts[1]}.py").is_file():
            continue  # a module of a room that is called like a section
        if parts[0] in sections:
            assert is_key(parts), f"params.yaml knows no {text}"
        else:
            assert not difflib.get_close_matches(parts[0], sections, cutoff=0.8), f"{text} looks misspelt"


def dotted(value: Any, parts: tuple[str, ...] = ()) -> Iterator[list[str]]:
    if isinstance(value, dict) and value and "columns" not in parts:
        for key, below in value.items():
            yield from dotted(below, (*parts, key))
    else:
        yield list(parts)


@EVERY_DOCUMENT
def test_keys_in_yaml_blocks_are_keys_of_params(document: Path) -> None:
    for body in fenced(document, "yaml"):
        for parts in dotted(yaml.safe_load(body)):
            assert is_key(parts), f"params.yaml knows no {'.'.join(parts)}"


@EVERY_DOCUMENT
def test_named_tests_exist(document: Path) -> None:
    for text in in_backticks(document):
        if "::" in text:
            path, name = text.split("::")
            assert re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), text


def test_every_law_names_a_test() -> None:
    rows = re.findall(r"^\| (\d+)\. .+? \| (.+) \|$", prose(ROOT / "CONTRIBUTING.md"), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 11))
    assert all("::test_" in guards for _, guards in rows)


def test_every_rule_and_gate_is_documented() -> None:
    text = "\n".join(prose(document) for document in DOCUMENTS)
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "validation/rules").glob("*.py"))
    rules = re.findall(r'^@rule\(\s*"(\w+)"', code, re.MULTILINE)
    gates = [f"evaluation.gates.{name}" for name in Gates.model_fields]
    assert [name for name in rules + gates if f"`{name}`" not in text] == []


@pytest.mark.parametrize("decision", sorted((ROOT / "docs/decisions").glob("*.md")), ids=lambda path: path.stem)
def test_a_decision_is_short_and_has_its_three_parts(decision: Path) -> None:
    lines = decision.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 25
    assert [line for line in lines if line.startswith("## ")] == ["## Context", "## Decision", "## Consequence"]


@pytest.mark.parametrize("room", FLOORS)
def test_no_room_imports_upward(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
        assert names & ROOMS <= FLOORS[room] | {room}, path
