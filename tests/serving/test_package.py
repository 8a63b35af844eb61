"""The stage `package`: a Bento of what passed, a reason for what did not, and nothing else of the project in it."""

import ast
import re
import sys
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from contracts import paths
from contracts.files import read_json
from contracts.params import Params
from contracts.release import load_release
from contracts.verdicts import GateResult
from serving import bento
from serving.stages import package

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # BentoML's own


def test_a_blocked_release_builds_nothing_and_names_the_gates(
    project: Path, params: Params, write_verdict: Callable[..., None], bentoml_home: Path
) -> None:
    gates = [
        GateResult(name="min_format", passed=False, value=0.31, bound=0.8, detail="0.31 of answers, at least 0.80"),
        GateResult(name="min_lead", passed=None, value=None, bound=None, detail="does not apply"),
    ]
    write_verdict(passed=False, gates=gates)
    package(params)
    receipt = read_json(paths.RECEIPT)
    assert receipt["blocked"] == "min_format: 0.31 of answers, at least 0.80"
    assert receipt["tag"] == ""
    assert not list(bentoml_home.glob("bentos/*"))
    assert not paths.RELEASED.exists()


def test_a_bento_holds_the_release_and_the_rooms_that_answer_and_nothing_else(evaluated: Params, project: Path) -> None:
    (project / ".env").write_text("TOKEN=1", encoding="utf-8")
    package(evaluated)
    receipt = read_json(paths.RECEIPT)
    built = bento.find(receipt["tag"])
    assert built is not None
    root = Path(built.path)
    assert {p.name for p in (root / "src").iterdir()} - {"__pycache__"} == {
        "release", "contracts", "retrieval", "assistant", "serving", "bentofile.yaml",
    }  # fmt: skip
    assert {p.name for p in (root / "src/serving").iterdir() if p.is_file()} == set(bento.SERVING)
    assert load_release(root / "src/release").id == receipt["release"]
    assert receipt["path"] == f"bentos/demo/{receipt['release']}"
    measured = {"release": receipt["tag"], "arm": "hybrid", "seconds": 1.5, "tokens": 450.0}
    assert read_json(paths.RELEASED) == measured  # for the next run's advice
    assert receipt["blocked"] == ""
    text = "".join(
        p.read_text(encoding="utf-8") for p in root.rglob("*") if p.suffix in (".yaml", ".json", ".txt", ".md")
    )
    assert str(project.parent) not in text
    assert str(bento.PROGRAM) not in text


@pytest.mark.slow
def test_twice_is_the_same_as_once_and_a_broken_bento_is_built_again(evaluated: Params) -> None:
    package(evaluated)
    receipt = paths.RECEIPT.read_bytes()
    first = bento.find(read_json(paths.RECEIPT)["tag"])
    package(evaluated)
    again = bento.find(read_json(paths.RECEIPT)["tag"])
    assert first is not None
    assert again is not None
    assert paths.RECEIPT.read_bytes() == receipt
    assert again.info.creation_time == first.info.creation_time
    (bento.release_of(first) / "settings.json").write_text("{}", encoding="utf-8")
    package(evaluated)
    mended = bento.find(read_json(paths.RECEIPT)["tag"])
    assert mended is not None
    assert load_release(bento.release_of(mended)).id == read_json(paths.RECEIPT)["release"]


@pytest.mark.slow
def test_an_interrupted_build_does_not_stand_in_the_way(evaluated: Params, bentoml_home: Path) -> None:
    package(evaluated)
    built = bento.find(read_json(paths.RECEIPT)["tag"])
    assert built is not None
    (Path(built.path) / "bento.yaml").unlink()
    package(evaluated)
    assert bento.find(read_json(paths.RECEIPT)["tag"]) is not None


def test_everything_a_bento_imports_is_in_its_lock() -> None:
    lock = (bento.PROGRAM / "serving/requirements.lock").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    imported = set[str]()
    for path in bento.program_files():
        if path.suffix == ".py":
            for node in ast.walk(ast.parse((bento.PROGRAM / path).read_text(encoding="utf-8"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                imported |= {name.partition(".")[0] for name in names}
    foreign = imported - set(sys.stdlib_module_names) - {"serving", *bento.ROOMS}
    providers = packages_distributions()
    assert {"lancedb", "bentoml", "starlette"} <= foreign
    assert [name for name in foreign if not {p.lower().replace("_", "-") for p in providers[name]} & pinned] == []


def test_the_serving_lock_pins_everything_it_was_asked_for_and_names_no_address() -> None:
    lock = (bento.PROGRAM / "serving/requirements.lock").read_text(encoding="utf-8")
    whole = (bento.PROGRAM / "requirements.lock").read_text(encoding="utf-8")
    asked = (bento.PROGRAM / "serving/requirements.in").read_text(encoding="utf-8").splitlines()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==([^ \n]+)", lock, re.MULTILINE))
    assert {line for line in asked if not line.startswith("#")} <= pinned.keys()
    assert dict.fromkeys(["torch", "bentoml", "lancedb"]).keys() <= pinned.keys()
    assert all(
        f"{name}=={pinned[name]}" in whole for name in ("torch", "transformers", "bentoml", "lancedb", "pydantic")
    )
    assert not re.search(r"://|^-", lock, re.MULTILINE)
