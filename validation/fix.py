"""Repairs that need no judgement of a person: order of turns, space, another model's sentence, an equal question.

A repair is only kept when the repaired row passes the gate. What takes a decision (which of two answers is right, where
a fact belongs) is left to people: each rule's advice says what to do.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contracts.errors import DataError
from contracts.facts import sentences
from contracts.files import write_jsonl
from contracts.pairs import Message, Pair
from validation.read import Row
from validation.rules.clean import BOILERPLATE


def repaired(row: Row) -> Row | None:
    """`row` with its turns put in order and cleaned, or None where that changes nothing or leaves no conversation."""
    pair = row.pair
    if pair is None:
        return None
    turns = _in_order([Message(role=turn.role, content=_clean(turn)) for turn in pair.messages])
    if not re.fullmatch(r"s?(?:ua)+", "".join(turn.role[0] for turn in turns)) or turns == pair.messages:
        return None
    return Row(row.id, row.file, row.line, _raw(pair.model_copy(update={"messages": turns})), behaviour=row.behaviour)


def write_fixed(path: Path, pairs: Sequence[Pair]) -> Path:
    """Write `pairs` as chats beside `path`: p.fixed.jsonl for p.jsonl, p.csv.fixed.jsonl for p.csv; returns where.

    Raises:
        DataError: another file of that name is there, which a person may have edited; or nothing can be written there.
    """
    out = path.with_name(f"{path.name.removesuffix('.jsonl')}.fixed.jsonl")
    fresh = out.with_name(f".{out.name}.new")
    try:
        write_jsonl(fresh, (_raw(pair) for pair in pairs))
    except OSError as error:
        raise DataError(f"{out} cannot be written ({error.strerror}): copy {path.name} to a folder of yours") from None
    if out.exists() and out.read_bytes() != fresh.read_bytes():
        fresh.unlink()
        raise DataError(f"{out} is there already and differs: move it away, then run --fix again")
    return fresh.replace(out)


def _raw(pair: Pair) -> dict[str, Any]:
    return pair.model_dump(exclude={"behaviour"}, exclude_defaults=True)


def _clean(turn: Message) -> str:
    text = turn.content.strip()
    if turn.role != "assistant" or not BOILERPLATE.search(text):
        return text
    for _, sentence in sentences(text):
        if BOILERPLATE.search(sentence):
            text = text.replace(sentence, "", 1)
    return text.strip()


def _in_order(turns: list[Message]) -> list[Message]:
    """Turns of one role joined, and what stands before the first question or after the last answer left out."""
    joined: list[Message] = []
    for turn in turns:
        if joined and joined[-1].role == turn.role:
            content = "\n".join(filter(None, (joined[-1].content, turn.content)))
            joined[-1] = Message(role=turn.role, content=content)
        else:
            joined.append(turn)
    head = joined[:1] if joined and joined[0].role == "system" else []
    talk = [turn for turn in joined if turn.role != "system"]
    while talk and talk[0].role != "user":
        talk.pop(0)
    while talk and talk[-1].role != "assistant":
        talk.pop()
    return head + talk
