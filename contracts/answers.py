"""What the assistant says: text, where it comes from, how it was made, and what went wrong if anything did."""

from typing import Literal

from pydantic import BaseModel, Field

Route = Literal["base", "rag", "tuned", "hybrid"]


class Citation(BaseModel):
    """One passage the answer points at. `start` and `end` are character offsets into the document."""

    number: int
    document: str
    title: str
    heading: str
    start: int
    end: int
    text: str
    uri: str = ""
    updated_at: str = ""


class Timings(BaseModel):
    """Milliseconds spent."""

    retrieve: float = 0.0
    generate: float = 0.0
    total: float = 0.0


class Answer(BaseModel):
    """One answer.

    `sources` are the passages the model was shown, `citations` those the text cites. `confidence` is the mean
    probability of the generated tokens (0 to 1). `problems` says what is degraded; an empty list means nothing is.
    """

    text: str
    route: Route
    citations: list[Citation] = Field(default_factory=list)
    sources: list[Citation] = Field(default_factory=list)
    confidence: float = 0.0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    timings: Timings = Field(default_factory=Timings)
    release: str = ""
    problems: list[str] = Field(default_factory=list)
