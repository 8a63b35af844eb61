"""Documents, the chunks they are cut into, and the fingerprint of an index made of them."""

from pydantic import BaseModel, ConfigDict, Field

from contracts.files import content_hash
from contracts.pairs import Passage


class Document(BaseModel):
    """One source text. `id` is stable across edits (the path below the source's root).

    `metadata` holds what filters may use (section, department, version, updated_at). What moves by itself, such as
    the time of fetching, stays out of it, because it would change hashes.
    """

    model_config = ConfigDict(frozen=True)
    id: str
    text: str
    uri: str
    title: str
    metadata: dict[str, str] = Field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Changes when anything a chunk is made of changes."""
        return content_hash(self.model_dump())


class Chunk(BaseModel):
    """A stretch of one document, cut so that it can be read alone.

    `start` and `end` are character offsets into the document's text: `document.text[start:end] == text`.
    """

    model_config = ConfigDict(frozen=True)
    document: str
    ordinal: int
    text: str
    start: int
    end: int
    title: str
    headings: tuple[str, ...] = ()
    uri: str = ""
    metadata: dict[str, str] = Field(default_factory=dict)

    @property
    def heading(self) -> str:
        """The heading path in one line."""
        return " > ".join(self.headings)

    @property
    def embedded_text(self) -> str:
        """What the embedder and the full-text index read: title and heading path before the text."""
        return "\n".join(part for part in (self.title, self.heading, self.text) if part)

    @property
    def text_hash(self) -> str:
        """Keys the embedding cache: the same words are embedded once, wherever they stand."""
        return content_hash(self.embedded_text)

    @property
    def record_hash(self) -> str:
        """Decides what is written: it also moves with the span, the ordinal and the metadata."""
        return content_hash(self.model_dump())

    def passage(self) -> Passage:
        """The chunk as the assistant reads it: the last heading is enough to name the place."""
        return Passage(title=self.title, heading=self.headings[-1] if self.headings else "", text=self.text)


class Fingerprint(BaseModel):
    """What must be equal between the index and a query: embedder and revision, chunker and settings, distance."""

    model_config = ConfigDict(frozen=True)
    embedder: str
    revision: str
    dimensions: int
    chunker: str
    distance: str = "cosine"

    @property
    def id(self) -> str:
        """Twelve hex digits; part of the table's name, so that two fingerprints never share a table."""
        return content_hash(self.model_dump())[:12]
