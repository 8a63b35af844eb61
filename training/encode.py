"""Pairs to token ids and labels. Both backends get exactly these: no trainer prepares text on its own.

unsloth rewrites TRL's trainer when it is imported, so what a row means is decided here, once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import DataError, ModelError
from contracts.files import read_jsonl
from contracts.pairs import Pair
from contracts.prompts import training_messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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


def read_pairs(path: Path) -> list[Pair]:
    """Read accepted pairs, as validation wrote them.

    Raises:
        DataError: a line is broken, which validation never writes: the file was edited by hand.
    """
    pairs = []
    for number, row in read_jsonl(path):
        if isinstance(row, DataError):
            raise row
        try:
            pairs.append(Pair.model_validate(row))
        except ValueError as error:
            raise DataError(f"{path}:{number} is no pair ({error}): run `freshtune stage validate` again") from None
    return pairs


def encode(pair: Pair, tokenizer: "PreTrainedTokenizerBase", system: str, max_length: int) -> Encoded:
    """Render one pair through the model's own chat template and mark the assistant's words, its end of turn included.

    The span of each assistant turn is found by rendering the chat up to it and past it, so any template works whose
    text grows by appending; no `{% generation %}` markers are needed.

    Raises:
        ModelError: the template rewrites earlier turns, so the assistant's words cannot be told from the rest.
    """
    messages = training_messages(pair.messages, pair.passages, system)
    text = _render(tokenizer, messages, False)
    spans = []
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            before = _render(tokenizer, messages[:i], True)
            after = _render(tokenizer, messages[: i + 1], False).rstrip()
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


def _render(tokenizer: "PreTrainedTokenizerBase", messages: list[dict[str, str]], generation: bool) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation))
