"""A release directory: what it pins, that its id follows from it, and that no byte of it may change."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts import paths
from contracts.errors import ReleaseError
from contracts.files import read_json, write_json
from contracts.params import Params
from contracts.release import Release, load_release
from contracts.verdicts import EvaluationVerdict
from serving.assemble import assemble


def release(params: Params, name: str = "release", code: str = "code") -> Release:
    verdict = EvaluationVerdict.model_validate(read_json(paths.EVALUATION / "evaluation.json"))
    return assemble(params, verdict, Path("out") / name, code)


def test_an_assembled_release_proves_itself_and_pins_both_halves(
    evaluated: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRESHTUNE_SNAPSHOT", "0123abcd")
    made = release(evaluated)
    assert load_release(Path("out/release")) == made
    assert {
        "settings.json",
        "model/model.safetensors",
        "model/config.json",
        "index/published.json",
    } <= made.files.keys()
    assert Path("out/release/model/model.safetensors").read_bytes() == b"support" * 100
    assert made.index_content == read_json(paths.INDEX)["content"]
    assert (made.mode, made.base_revision, made.snapshot, made.task_success) == ("hybrid", "abc", "0123abcd", 0.8)
    assert (made.system, made.examples) == ("You are the desk.", [])


@pytest.mark.parametrize("name", ["model/model.safetensors", "settings.json", "index/published.json", "index/added"])
def test_a_release_with_a_changed_byte_is_refused(evaluated: Params, name: str) -> None:
    release(evaluated)
    file = Path("out/release") / name
    content = bytearray(file.read_bytes() if file.exists() else b"x")
    content[0] ^= 1
    file.unlink(missing_ok=True)  # it may be a hard link
    file.write_bytes(content)
    with pytest.raises(ReleaseError, match=f"changed after it was proved.*{name}"):
        load_release(Path("out/release"))


def test_the_same_parts_give_the_same_id_though_the_store_was_written_anew(
    evaluated: Params, word_embedder: Any
) -> None:
    from retrieval.index import reindex

    first = release(evaluated, "first")
    shutil.rmtree(paths.STORE)
    reindex(evaluated, embedder=word_embedder)
    second = release(evaluated, "second")
    assert second.id == first.id
    assert second.files != first.files


def test_whatever_decides_an_answer_decides_the_id(
    evaluated: Params, write_params: Callable[..., Params], write_verdict: Callable[..., None]
) -> None:
    first = release(evaluated, "1").id
    assert release(evaluated, "2", code="other").id != first
    (paths.merged("support") / "model.safetensors").write_bytes(b"other weights")
    assert release(evaluated, "3").id != first
    (paths.merged("support") / "model.safetensors").write_bytes(b"support" * 100)
    key = write_params(serving={"api_key_env": "DESK_KEY"})
    assert release(key, "4").id != first
    port = write_params(serving={"port": 4000}, schedule={"retrain": "0 4 * * *"})
    assert release(port, "5").id == first


def test_a_refused_training_ships_the_base_model(evaluated: Params, write_verdict: Callable[..., None]) -> None:
    content = read_json(paths.INDEX)["content"]
    write_verdict(mode="rag-only", arm="rag", reason="42 usable pairs", index_content=content)
    made = release(evaluated)
    assert (made.mode, made.reason) == ("rag-only", "42 usable pairs")
    assert [example.answer for example in made.examples] == ["An answer."] * 2
    assert Path("out/release/model/model.safetensors").read_bytes() == b"base" * 100


def test_a_hybrid_without_a_merged_model_is_refused(evaluated: Params) -> None:
    record = paths.merged("support") / "merge.json"
    write_json(record, read_json(record) | {"skipped": "no pairs"})
    with pytest.raises(ReleaseError, match=r"models/merged/support holds no model \(no pairs\)"):
        release(evaluated)


def test_an_index_that_was_not_evaluated_is_refused(
    evaluated: Params, write_verdict: Callable[..., None], word_embedder: Any
) -> None:
    from retrieval.index import reindex

    Path("data/documents/lockers.md").write_text("# Lockers\n\nA locker keeps a parcel for 9 days.\n", encoding="utf-8")
    reindex(evaluated, embedder=word_embedder)
    with pytest.raises(ReleaseError, match="was evaluated"):
        release(evaluated)
    write_verdict(index_content="other")
    with pytest.raises(ReleaseError, match="run `dvc repro evaluate`"):
        release(evaluated, "again")


def test_no_address_or_place_of_the_project_travels(evaluated: Params) -> None:
    release(evaluated)
    settings = json.loads(Path("out/release/settings.json").read_text(encoding="utf-8"))
    assert set(settings) == {"project", "dtype", "assistant", "retrieval", "serving"}
    assert set(settings["serving"]) == {"api_key_env", "timeout_seconds"}
