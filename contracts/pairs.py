"""A pair: one conversation that shows a behaviour, in OpenAI chat form; and the golden questions it is judged by."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "user", "assistant"]
    content: str


class Passage(BaseModel):
    """A piece of text the assistant may answer from. `title` and `heading` say where it stands."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    title: str = ""
    heading: str = ""
    text: str


class Pair(BaseModel):
    """A fine-tuning pair.

    A *grounded* pair carries its own `passages`, as the assistant would have retrieved them, and its answer is
    drawn from them (RAFT, arXiv 2403.10131): it teaches the model to read, so its facts are altered on purpose.
    `rejected` is the worse answer of a preference; supervised training does not look at it.
    """

    model_config = ConfigDict(extra="ignore")
    id: str
    behaviour: str
    source: str = ""
    passages: list[Passage] = Field(default_factory=list)
    messages: list[Message]
    rejected: str | None = Field(default=None, exclude_if=lambda text: text is None)

    @property
    def prompt(self) -> str:
        """The last thing the user said, or an empty string."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def answer(self) -> str:
        """The assistant's last words, or an empty string when the conversation does not end with them."""
        return self.messages[-1].content if self.messages and self.messages[-1].role == "assistant" else ""


class Question(BaseModel):
    """A golden question: what a right answer must carry, and which documents support it.

    `factual` asks for a fact, `behaviour` for the house format and voice, `both` for both.
    """

    model_config = ConfigDict(extra="forbid")
    id: str
    category: Literal["factual", "behaviour", "both"]
    question: str
    reference: str
    facts: list[str] = Field(default_factory=list)
    documents: list[str] = Field(default_factory=list)
