"""The laws of chunks: exact spans, nothing lost, nothing over the limit, no heading crossed."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.documents import Document
from contracts.errors import DataError
from retrieval.chunk import chunk_document
from retrieval.markdown import sections

LINES = st.sampled_from(
    [
        *["", "", "# One", "## Two", "### Three #", "Setext", "---", "===", "***", "> # quoted", "[ref]: /x"],
        *["- item one. More of it.", "  - nested", "1. first", "```", "~~~py", "# in code?", "    code", "\ttab"],
        *["| a | b |", "|---|---|", "<div>", "</div>", "A short sentence. Another one! And a third?"],
        *["word " * 30, "x" * 90, "naïve café 漢字 🙂"],
    ]
)
TEXTS = st.one_of(
    st.lists(LINES, max_size=25).map("\n".join), st.lists(LINES, max_size=12).map("\r\n".join), st.text(max_size=300)
)


def count(text: str) -> int:
    """Word pieces of at most four characters."""
    return sum(-(-len(word) // 4) for word in text.split())


def document(text: str, title: str = "T") -> Document:
    return Document(id="d.md", text=text, uri="d.md", title=title)


@given(TEXTS)
@settings(max_examples=300)
def test_spans_are_exact_ordered_covering_and_within_the_limit(text):
    chunks = chunk_document(document(text), 16, count)
    assert all(text[c.start : c.end] == c.text and c.text == c.text.strip() != "" for c in chunks)
    assert all(a.end <= b.start for a, b in pairwise(chunks))
    assert [c.ordinal for c in chunks] == list(range(len(chunks)))
    assert all(count(c.embedded_text) <= 16 for c in chunks)
    covered = {i for c in chunks for i in range(c.start, c.end)}
    bodies = {i for s in sections(text) for i in range(s.start, s.end)}
    assert {i for i in bodies if not text[i].isspace()} <= covered <= bodies


@given(TEXTS)
def test_a_chunk_stays_within_one_section(text):
    spans = [(s.start, s.end) for s in sections(text)]
    for chunk in chunk_document(document(text), 200, count):
        assert any(start <= chunk.start and chunk.end <= end for start, end in spans)


def test_heading_path_leads_down_and_the_heading_line_is_not_text():
    text = "# Guide\n\nIntro.\n\n## Prices\n\n### Small\n\n€4.\n\n## Dates\n\nMay."
    chunks = chunk_document(document(text, "Guide"), 50, count)
    assert [(c.headings, c.text) for c in chunks] == [
        ((), "Intro."), (("Prices", "Small"), "€4."), (("Dates",), "May."),
    ]  # fmt: skip


def test_hashes_in_a_fence_are_no_headings_and_the_fence_stays_whole():
    fence = "```sh\n# not a heading\nrun. it. now.\n```"
    chunks = chunk_document(document(f"Before. After.\n\n{fence}\n\nEnd."), 14, count)
    assert any(fence in c.text for c in chunks)
    assert all(c.headings == () for c in chunks)


def test_list_items_stay_whole():
    text = "\n".join(f"- Item {n}. It has two sentences." for n in range(6))
    for chunk in chunk_document(document(text), 20, count):
        assert re.fullmatch(r"(- Item \d\. It has two sentences\.\n?)+", chunk.text)


def test_sentences_are_packed_up_to_the_limit_and_not_cut():
    text = " ".join(f"Sentence number {n} stands here." for n in range(12))
    chunks = chunk_document(document(text), 30, count)
    assert len(chunks) > 1
    assert all(c.text.startswith("Sentence") and c.text.endswith("here.") for c in chunks)
    assert all(count(c.embedded_text) + 8 > 30 for c in chunks[:-1])


def test_a_sentence_over_the_limit_is_cut_at_words():
    text = "word " * 40 + "end."
    chunks = chunk_document(document(text), 16, count)
    assert len(chunks) > 2
    assert " ".join(c.text for c in chunks).split() == text.split()


def test_long_heading_paths_give_way_from_the_outside():
    text = f"# {'Outer ' * 10}\n\n## Inner\n\nText."
    assert chunk_document(document(text), 16, count)[0].headings == ("Inner",)


def test_a_title_that_leaves_no_room_is_refused():
    with pytest.raises(DataError, match=r"d\.md: its title takes 40 of"):
        chunk_document(document("Text.", "Word " * 40), 16, count)


def test_a_document_of_headings_alone_gives_no_chunk():
    assert chunk_document(document("# One\n\n## Two\n"), 50, count) == []
