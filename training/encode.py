"""Pairs to token ids and labels. Both backends get exactly these: no trainer prepares text on its own.

unsloth rewrites TRL's trainer when it is imported, so what a row means is decided here, once.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import DataError, ModelError
from contracts.files import read_jsonl
from contracts.pairs import Message, Pair
from contracts.prompts import training_messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARK = re.compile(r"\[(\d+)\]")
IGNORED = -100  # torch's cross entropy leaves this label out


@dataclass(frozen=True)
class Encoded:
    """One chat: `labels` is `input_ids` where the assistant speaks and IGNORED elsewhere. Equal lengths."""

    input_ids: list[int]
    labels: list[int]
    truncated: bool

    @property
    def supervised(self) -> int:
        """Tokens that are learnt from."""
        return sum(label != IGNORED for label in self.labels)


def read_pairs(path: Path, top_k: int) -> list[Pair]:
    """Read accepted pairs, as validation wrote them, with the passages that the assistant will be shown.

    Raises:
        DataError: a line is broken, which validation never writes: the file was edited by hand.
    """
    pairs = []
    for number, row in read_jsonl(path):
        if isinstance(row, DataError):
            raise row
        try:
            pairs.append(as_served(Pair.model_validate(row), top_k))
        except ValueError as error:
            raise DataError(f"{path}:{number} is no pair ({error}): run `freshtune stage validate` again") from None
    return pairs


def as_served(pair: Pair, top_k: int) -> Pair:
    """`pair` with at most `top_k` passages, as a live question has them; what its answer cites stays and is renumbered.

    A small model that learns on three passages reads one badly, and the other way round.
    """
    cited = {int(mark) for mark in _MARK.findall(pair.answer)}
    numbered = list(enumerate(pair.passages, 1))
    first = sorted(numbered, key=lambda entry: entry[0] not in cited)[: max(top_k, len(cited))]
    kept = [number for number, _ in sorted(first)]

    def renumbered(mark: re.Match[str]) -> str:
        number = int(mark[1])
        return f"[{kept.index(number) + 1}]" if number in kept else mark[0]

    answer = Message(role="assistant", content=_MARK.sub(renumbered, pair.answer))
    passages = [pair.passages[number - 1] for number in kept]
    rejected = _MARK.sub(renumbered, pair.rejected) if pair.rejected else None
    return pair.model_copy(
        update={"passages": passages, "messages": [*pair.messages[:-1], answer], "rejected": rejected}
    )


def encode(pair: Pair, tokenizer: "PreTrainedTokenizerBase", system: str, max_length: int) -> Encoded:
    """Render one pair through the model's own chat template and mark the assistant's words, its end of turn included.

    The span of each assistant turn is found by rendering the chat up to it and past it, so any template works whose
    text grows by appending; no `{% generation %}` markers are needed.

    Raises:
        ModelError: the template rewrites earlier turns, so the assistant's words cannot be told from the rest.
    """
    messages = training_messages(pair.messages, pair.passages, system)
    text = render(tokenizer, messages, False)
    spans = []
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            before = render(tokenizer, messages[:i], True)
            after = render(tokenizer, messages[: i + 1], False).rstrip()
            if not (text.startswith(before) and text.startswith(after)):
                raise ModelError(
                    "the chat template of the base model rewrites earlier turns: give it one that only appends"
                    " (chat_template.jinja in models/base)"
                )
            spans.append((len(before), len(after)))
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids: list[int] = encoded["input_ids"]
    labels = [
        token if any(start <= first and last <= end and first < last for start, end in spans) else IGNORED
        for token, (first, last) in zip(ids, encoded["offset_mapping"], strict=True)
    ]
    return Encoded(ids[:max_length], labels[:max_length], len(ids) > max_length)


def preference(pair: Pair, system: str) -> dict[str, Any]:
    """A pair with a `rejected` answer as TRL's DPOTrainer reads it: prompt, chosen and rejected messages."""
    *prompt, chosen = training_messages(pair.messages, pair.passages, system)
    return {"prompt": prompt, "chosen": [chosen], "rejected": [{"role": "assistant", "content": pair.rejected}]}


def render(tokenizer: "PreTrainedTokenizerBase", messages: list[dict[str, str]], generation: bool) -> str:
    """The chat as text; `generation` asks for the opening of the assistant's next turn."""
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation))
