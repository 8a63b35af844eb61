"""What the model reads, built the same way for a training pair and for a live question.

Retrieved text is data: it stands between fences it cannot close, after the rules and before the question.
"""

import re
from collections.abc import Sequence

from contracts.pairs import Message, Passage

# A passage cannot close the fence or open a turn of its own.
_FENCE = re.compile(r"</?\s*passages\s*>|<\|[^|>]*\|>", re.IGNORECASE)


def fence(text: str) -> str:
    """`text` with what would end the fence or look like a chat marker taken out, on one line."""
    return " ".join(_FENCE.sub(" ", text).split())


def user_turn(question: str, passages: Sequence[Passage]) -> str:
    """The user's turn: numbered passages in a fence, then the question."""
    question = _FENCE.sub(" ", question).strip()
    if not passages:
        return question
    lines = [
        f"[{n}] {fence(', '.join(filter(None, (p.title, p.heading))))}: {fence(p.text)}"
        for n, p in enumerate(passages, 1)
    ]
    return "<passages>\n" + "\n".join(lines) + "\n</passages>\n" + question


def conversation(
    question: str, passages: Sequence[Passage], system: str, examples: Sequence[tuple[str, Sequence[Passage], str]] = ()
) -> list[dict[str, str]]:
    """Chat messages up to the place where the assistant speaks.

    `examples` are worked (question, passages, answer) turns shown first: few-shot, for a model that is not tuned.
    """
    messages = [{"role": "system", "content": system}] if system else []
    for asked, shown, answered in examples:
        messages += [{"role": "user", "content": user_turn(asked, shown)}, {"role": "assistant", "content": answered}]
    return [*messages, {"role": "user", "content": user_turn(question, passages)}]


def training_messages(turns: Sequence[Message], passages: Sequence[Passage], system: str) -> list[dict[str, str]]:
    """The same conversation with the assistant's words in it. Passages stand in the last user turn before the answer.

    A pair's own system message wins over the project's.
    """
    last_user = max((i for i, turn in enumerate(turns) if turn.role == "user"), default=-1)
    messages = [] if (turns and turns[0].role == "system") or not system else [{"role": "system", "content": system}]
    for i, turn in enumerate(turns):
        content = user_turn(turn.content, passages) if i == last_user else turn.content
        messages.append({"role": turn.role, "content": content})
    return messages
