"""Lengths as training will see them: in the base model's own tokens, through its own chat template."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from contracts.errors import ModelError
from contracts.prompts import training_messages
from validation.read import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CHUNK = 20_000


def load_tokenizer(directory: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer of the checkpoint in `directory`.

    Raises:
        ModelError: there is none.
    """
    if not (directory / "tokenizer_config.json").is_file():
        raise ModelError(f"{directory} holds no tokenizer: run `dvc repro base` to make the base model first")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory, trust_remote_code=False)


def count_tokens(
    frame: pd.DataFrame, rows: Sequence[Row], tokenizer: "PreTrainedTokenizerBase", system: str
) -> pd.DataFrame:
    """`frame` with its token columns filled in; `rows` are its rows, `system` the project's system message.

    The contents of the turns are counted one by one; what the template puts around them is measured once, on a short
    chat. Rows that are no conversation keep their missing values.
    """
    around = _around(tokenizer)
    sound = np.flatnonzero((frame["error"] == "") & frame["roles"].str.fullmatch(r"s?(?:ua)+"))
    columns = np.zeros((len(sound), 4), dtype=np.int64)
    for start in range(0, len(sound), _CHUNK):
        part = sound[start : start + _CHUNK]
        chats = [_messages(rows[index], system) for index in part]
        sizes = _sizes(tokenizer, [message["content"] for chat in chats for message in chat])
        for place, chat in enumerate(chats, start=start):
            told = [(message["role"], next(sizes)) for message in chat]
            columns[place] = around.columns(told)
    names = ["prompt_tokens", "answer_tokens", "tokens", "tokens_before"]
    counted = pd.DataFrame(columns, index=frame.index[sound], columns=names, dtype="Int64")
    return frame.assign(**{name: counted[name].reindex(frame.index) for name in names})


@dataclass(frozen=True)
class _Around:
    """Tokens that the template adds: at the head without and with a system turn, per round, before an answer."""

    head: int
    head_with_system: int
    round: int
    before_answer: int

    def columns(self, told: list[tuple[str, int]]) -> tuple[int, int, int, int]:
        """(prompt, answer, all, before the first answer) of one chat, given as (role, tokens of its content)."""
        head = self.head_with_system if told[0][0] == "system" else self.head
        answer = sum(size for role, size in told if role == "assistant")
        everything = head + sum(size for _, size in told) + self.round * sum(role == "assistant" for role, _ in told)
        first = next(place for place, (role, _) in enumerate(told) if role == "assistant")
        before = head + self.before_answer + sum(size for _, size in told[:first])
        return everything - answer, answer, everything, before


def _around(tokenizer: "PreTrainedTokenizerBase") -> _Around:
    def size(*roles: str, answering: bool = False) -> int:
        chat = [{"role": role, "content": "a"} for role in roles]
        text = str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=answering))
        return next(_sizes(tokenizer, [text])) - len(roles)  # without the contents, one token each

    once = size("user", "assistant")
    each = size("user", "assistant", "user", "assistant") - once
    head = once - each
    return _Around(head, size("system", "user", "assistant") - each, each, size("user", answering=True) - head)


def _messages(row: Row, system: str) -> list[dict[str, str]]:
    pair = row.pair
    return training_messages(pair.messages, pair.passages, system) if pair else []


def _sizes(tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> Iterator[int]:
    fast: Any = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    return map(len, fast.encode_batch_fast(texts, add_special_tokens=False))
