"""The structure of a Markdown text as character spans: sections under headings, and the blocks they are made of."""

import re
from dataclasses import dataclass, field

from markdown_it import MarkdownIt

_PARSER = MarkdownIt("commonmark").enable("table")
_BLOCKS = MarkdownIt("commonmark").enable("table")
_BLOCKS.core.ruler.enableOnly(["normalize", "block"])  # inline markup is parsed for headings alone
_VERBATIM = ("fence", "code_block", "html_block", "table_open")


@dataclass(frozen=True)
class Block:
    """A paragraph (`prose`), a list item (`item`), or a fence, table or HTML (`verbatim`): text[start:end]."""

    start: int
    end: int
    kind: str


@dataclass
class Section:
    """What stands between two headings. `headings` is the path down to it; the heading's own line is not inside."""

    headings: tuple[str, ...]
    start: int
    end: int = 0
    blocks: list[Block] = field(default_factory=list)


def sections(text: str) -> list[Section]:
    """Cut `text` at its headings (CommonMark: ATX and setext, never inside fences, lists or quotations).

    The blocks of all sections together hold every character that is neither white space nor part of a heading.
    """
    lines = [0, *(match.end() for match in re.finditer(r"\r\n?|\n", text))]

    def offset(line: int) -> int:
        return lines[line] if line < len(lines) else len(text)

    tokens = _BLOCKS.parse(text)
    found = [Section((), 0)]
    marks: list[tuple[int, str]] = []  # where the blocks of the section being read begin
    path: list[tuple[int, str]] = []
    for i, token in enumerate(tokens):
        if token.map is None:
            continue
        start = offset(token.map[0])
        if token.level == 0 and token.type == "heading_open":
            _close(found[-1], start, marks, text)
            marks, depth = [], int(token.tag[1])
            path = [entry for entry in path if entry[0] < depth] + [(depth, _plain(tokens[i + 1].content))]
            found.append(Section(tuple(name for _, name in path if name), offset(token.map[1])))
        elif token.type == "list_item_open" and token.level == 1:
            marks.append((start, "item"))
        elif token.level == 0 and not token.type.endswith(("_close", "list_open")):
            marks.append((start, "verbatim" if token.type in _VERBATIM else "prose"))
    _close(found[-1], len(text), marks, text)
    return found


def _close(section: Section, end: int, marks: list[tuple[int, str]], text: str) -> None:
    """End `section` at `end`. A block reaches to the next one, so that what the parser skips is not lost."""
    section.end = end
    if not marks or marks[0][0] > section.start:
        marks = [(section.start, "prose"), *marks]
    for (start, kind), (stop, _) in zip(marks, [*marks[1:], (end, "")], strict=True):
        if span := trim(text, start, stop):
            section.blocks.append(Block(*span, kind))


def trim(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The span without white space at its ends; None when nothing is left."""
    stretch = text[start:end]
    kept = stretch.strip()
    if not kept:
        return None
    start += len(stretch) - len(stretch.lstrip())
    return start, start + len(kept)


def _plain(heading: str) -> str:
    """A heading without its inline markup."""
    inline = _PARSER.parseInline(heading)[0].children or []
    return " ".join("".join(t.content or (" " if t.type.endswith("break") else "") for t in inline).split())
