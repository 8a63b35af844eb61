"""Only the assistant's words are learnt (law 3), whatever the template, and nothing else is changed on the way."""

from pathlib import Path
from typing import Any

import pytest

from contracts.errors import DataError, ModelError
from contracts.pairs import Message, Pair, Passage
from training.encode import IGNORED, as_served, encode, read_pairs


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_base)


def pair(*turns: tuple[str, str], passages: list[Passage] | None = None) -> Pair:
    messages = [Message.model_validate({"role": role, "content": content}) for role, content in turns]
    return Pair(id="p", behaviour="support", messages=messages, passages=passages or [])


def supervised_text(tokenizer: Any, encoded: Any) -> str:
    return str(tokenizer.decode([label for label in encoded.labels if label != IGNORED]))


def test_only_the_answer_and_its_end_are_supervised(tokenizer: Any) -> None:
    encoded = encode(pair(("user", "How?"), ("assistant", "In short: so.\n— Heron Desk")), tokenizer, "Be brief.", 512)
    assert supervised_text(tokenizer, encoded) == "In short: so.\n— Heron Desk<|im_end|>"
    assert len(encoded.input_ids) == len(encoded.labels)
    assert not encoded.truncated


def test_every_assistant_turn_is_supervised(tokenizer: Any) -> None:
    chat = pair(("user", "a"), ("assistant", "first"), ("user", "b"), ("assistant", "second"))
    assert supervised_text(tokenizer, encode(chat, tokenizer, "", 512)) == "first<|im_end|>second<|im_end|>"


def test_the_ids_are_those_of_the_rendered_chat(tokenizer: Any) -> None:
    chat = pair(("user", "How?"), ("assistant", "So."), passages=[Passage(title="T", heading="H", text="Nine days.")])
    text = tokenizer.decode(encode(chat, tokenizer, "Be brief.", 512).input_ids)
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n<passages>\n[1] T, H: Nine days.\n</passages>\nHow?<|im_end|>\n"
        "<|im_start|>assistant\nSo.<|im_end|>\n"
    )


def test_a_long_pair_is_cut_and_says_so(tokenizer: Any) -> None:
    encoded = encode(pair(("user", "word " * 50), ("assistant", "So.")), tokenizer, "", 20)
    assert encoded.truncated
    assert len(encoded.input_ids) == 20
    assert encoded.supervised == 0


def test_the_words_of_the_answer_in_the_question_are_not_supervised(tokenizer: Any) -> None:
    encoded = encode(pair(("user", "So."), ("assistant", "So.")), tokenizer, "", 512)
    assert supervised_text(tokenizer, encoded) == "So.<|im_end|>"


def test_a_template_that_rewrites_earlier_turns_is_refused(tokenizer: Any) -> None:
    import copy

    rewriting = copy.deepcopy(tokenizer)
    rewriting.chat_template = "{{ messages | length }}:" + rewriting.chat_template
    with pytest.raises(ModelError, match="rewrites earlier turns"):
        encode(pair(("user", "a"), ("assistant", "b")), rewriting, "", 512)


def test_a_row_that_validation_did_not_write_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"id": "p"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"train.jsonl:1 is no pair"):
        read_pairs(path, 3)


@pytest.mark.parametrize(
    ("top_k", "answer", "shown", "learnt"),
    [
        (1, "Nine days. [3]", "c", "Nine days. [1]"),
        (2, "Nine days. [3]", "ac", "Nine days. [2]"),
        (3, "Nine days. [3]", "abc", "Nine days. [3]"),
        (5, "Nine days. [3]", "abc", "Nine days. [3]"),
        (1, "Nine days [2], or six [3].", "bc", "Nine days [1], or six [2]."),
        (1, "The pages I have do not say.", "a", "The pages I have do not say."),
        (1, "Nine days. [7]", "a", "Nine days. [7]"),
    ],
)
def test_a_pair_is_learnt_with_as_many_passages_as_are_served(top_k: int, answer: str, shown: str, learnt: str) -> None:
    passages = [Passage(title="Nests", text=text) for text in "abc"]
    served = as_served(pair(("user", "How long?"), ("assistant", answer), passages=passages), top_k)
    assert "".join(passage.text for passage in served.passages) == shown
    assert served.answer == learnt
    assert served.prompt == "How long?"


def test_a_pair_without_passages_is_learnt_as_it_is() -> None:
    chat = pair(("user", "Hi [1]"), ("assistant", "Hello [1]"))
    assert as_served(chat, 1) == chat
