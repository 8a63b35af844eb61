"""Cut documents into chunks: at headings, then at sentences, as many as an embedder reads at once.

An embedder silently drops what is beyond its limit, so the size of a chunk is counted in the embedder's own word
pieces, over exactly the text it will be given: title, heading path and the chunk.
"""

import re
from collections.abc import Callable, Iterable, Iterator

from contracts.documents import Chunk, Document
from contracts.errors import DataError
from retrieval.markdown import Block, sections, trim

CHUNKER = "headings-sentences-1"  # part of the fingerprint: change it whenever the same text would be cut otherwise

_SENTENCE_END = re.compile(r"[.!?…][\"')\]”\u2019]*\s+|\n(?=\s*(?:[-*+]|\d+[.)])\s)|\n\s*\n")
_LINE_END = re.compile(r"\n")
_WORD_END = re.compile(r"\s+")
_CUTS = {"prose": (_SENTENCE_END, _WORD_END), "item": (_SENTENCE_END, _WORD_END), "verbatim": (_LINE_END, _WORD_END)}

Span = tuple[int, int]
Fits = Callable[[int, int], bool]


def chunk_document(document: Document, tokens: int, count_tokens: Callable[[str], int]) -> list[Chunk]:
    """Chunks of at most `tokens` word pieces each (title and heading path included), in order, without overlap.

    A chunk never crosses a heading, and `document.text[chunk.start:chunk.end] == chunk.text`. List items, code and
    tables stay whole where they fit; a sentence that does not fit alone is cut at words. A document without any text
    gives no chunk.

    Raises:
        DataError: the title alone leaves no room for text.
    """
    chunks: list[Chunk] = []
    for section in sections(document.text):
        headings = section.headings
        if headings and headings[0].casefold() == document.title.casefold():
            headings = headings[1:]  # the title is embedded anyway
        headings = _bounded(headings, document, tokens, count_tokens)
        empty = Chunk(document=document.id, ordinal=0, text="", start=0, end=0, title=document.title, headings=headings)
        fits = _measure(document.text, empty.embedded_text, tokens, count_tokens)
        pieces = (span for block in section.blocks for span in _pieces(document.text, block, fits))
        for start, end in _pack(pieces, fits):
            chunks.append(
                Chunk(
                    document=document.id,
                    ordinal=len(chunks),
                    text=document.text[start:end],
                    start=start,
                    end=end,
                    title=document.title,
                    headings=headings,
                    uri=document.uri,
                    metadata=document.metadata,
                )
            )
    return chunks


def _bounded(
    headings: tuple[str, ...], document: Document, tokens: int, count_tokens: Callable[[str], int]
) -> tuple[str, ...]:
    """The innermost headings that, with the title, leave half of the room for text."""
    while headings and count_tokens(f"{document.title}\n{' > '.join(headings)}") > tokens // 2:
        headings = headings[1:]
    if not headings and (taken := count_tokens(document.title)) > tokens * 3 // 4:
        raise DataError(
            f"{document.id}: its title takes {taken} of retrieval.chunk_tokens' {tokens} word pieces:"
            " shorten the title, or raise chunk_tokens in params.yaml"
        )
    return headings


def _measure(text: str, prefix: str, tokens: int, count_tokens: Callable[[str], int]) -> Fits:
    """Whether text[start:end] below `prefix` is within `tokens`."""
    return lambda start, end: count_tokens(f"{prefix}\n{text[start:end]}") <= tokens


def _pieces(text: str, block: Block, fits: Fits) -> Iterator[Span]:
    """The block in pieces that fit: paragraphs always sentence by sentence, the rest cut only where it must be."""
    whole, cuts = (block.start, block.end), _CUTS[block.kind]
    if block.kind == "prose":
        for span in _split(text, whole, cuts[0]):
            yield from _cut(text, span, cuts[1:], fits)
    else:
        yield from _cut(text, whole, cuts, fits)


def _cut(text: str, span: Span, cuts: tuple[re.Pattern[str], ...], fits: Fits) -> Iterator[Span]:
    """`span` if it fits; else its parts, cut ever finer; a single overlong word is halved until it fits."""
    start, end = span
    if fits(start, end) or end - start == 1:
        yield span
    elif cuts:
        for part in _split(text, span, cuts[0]):
            yield from _cut(text, part, cuts[1:], fits)
    else:
        middle = (start + end) // 2
        yield from _cut(text, (start, middle), (), fits)
        yield from _cut(text, (middle, end), (), fits)


def _split(text: str, span: Span, boundary: re.Pattern[str]) -> Iterator[Span]:
    """`span` cut behind each match of `boundary`, white space taken off."""
    start, end = span
    stops = [match.end() for match in boundary.finditer(text, start, end)]
    for left, right in zip([start, *stops], [*stops, end], strict=True):
        if part := trim(text, left, right):
            yield part


def _pack(pieces: Iterable[Span], fits: Fits) -> Iterator[Span]:
    """Neighbours joined as long as they fit together."""
    current: Span | None = None
    for start, end in pieces:
        if current is None:
            current = start, end
        elif fits(current[0], end):
            current = current[0], end
        else:
            yield current
            current = start, end
    if current is not None:
        yield current
