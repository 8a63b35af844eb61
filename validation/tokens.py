"""Lengths as training will see them: in the base model's own tokens, through its own chat template."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from contracts.errors import ModelError
from contracts.files import read_json
from contracts.prompts import training_messages
from validation.read import Row

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CHUNK = 5_000


@dataclass(frozen=True)
class ChatTokenizer:
    """A tokenizer and its chat template, without transformers and torch behind them: those take seconds to load.

    `special` are the special tokens that a template may name, such as {"bos_token": "<s>"}.
    """

    encoder: "Tokenizer"
    template: str
    special: Mapping[str, str]

    def sizes(self, texts: Sequence[str]) -> Iterator[int]:
        """How many tokens each text has."""
        return map(len, self.encoder.encode_batch_fast(list(texts), add_special_tokens=False))

    def render(self, messages: Sequence[Mapping[str, str]], *, answering: bool = False) -> str:
        """The chat as the model reads it; `answering` adds what stands before an answer.

        Raises:
            ModelError: the template refuses such a chat.
        """
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def refuse(message: str) -> None:
            raise TemplateError(message)

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals |= {"raise_exception": refuse, "strftime_now": lambda form: form}
        try:
            template = environment.from_string(self.template)
            return template.render(messages=list(messages), add_generation_prompt=answering, **self.special)
        except TemplateError as error:
            raise ModelError(f"the chat template of the base model fails ({error}): give it one that works") from None


def load_tokenizer(directory: Path) -> ChatTokenizer:
    """The tokenizer of the checkpoint in `directory`.

    Raises:
        ModelError: there is none, or it has no chat template.
    """
    from tokenizers import Tokenizer

    words, config = directory / "tokenizer.json", directory / "tokenizer_config.json"
    if not (words.is_file() and config.is_file()):
        raise ModelError(f"{directory} holds no tokenizer: run `dvc repro base` to make the base model first")
    told = read_json(config)
    template = directory / "chat_template.jinja"
    text = template.read_text(encoding="utf-8") if template.is_file() else told.get("chat_template")
    if not isinstance(text, str):
        raise ModelError(f"{directory} has no chat template: pick an instruct model, or add chat_template.jinja")
    special = {name: value for name, value in told.items() if name.endswith("_token") and isinstance(value, str)}
    return ChatTokenizer(Tokenizer.from_file(str(words)), text, special)


def count_tokens(frame: pd.DataFrame, rows: Sequence[Row], tokenizer: ChatTokenizer, system: str) -> pd.DataFrame:
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
        sizes = tokenizer.sizes([message["content"] for chat in chats for message in chat])
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


def _around(tokenizer: ChatTokenizer) -> _Around:
    def size(*roles: str, answering: bool = False) -> int:
        chat = [{"role": role, "content": "a"} for role in roles]
        return next(tokenizer.sizes([tokenizer.render(chat, answering=answering)])) - len(
            roles
        )  # without the contents, one token each

    once = size("user", "assistant")
    each = size("user", "assistant", "user", "assistant") - once
    head = once - each
    return _Around(head, size("system", "user", "assistant") - each, each, size("user", answering=True) - head)


def _messages(row: Row, system: str) -> list[dict[str, str]]:
    pair = row.pair
    return training_messages(pair.messages, pair.passages, system) if pair else []
