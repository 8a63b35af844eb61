"""A file's bytes to Markdown: Markdown and plain text as they are, HTML, PDF and Word through a converter each."""

import hashlib
import io
import json
import unicodedata
from functools import cache
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import NamedTuple

from contracts.documents import Document
from contracts.errors import DataError
from retrieval.front_matter import first_heading, split_front_matter

CONVERTER = "convert-1"  # part of Raw.hash: change it whenever the same bytes would give another document

HTML = (".html", ".htm", ".xhtml")
_UNSEEN = ("script", "style", "noscript", "template")


class Raw(NamedTuple):
    """A document as its source holds it. `suffix` says what the bytes are; `place` names it in an error."""

    id: str
    uri: str
    place: str
    suffix: str
    content: bytes
    metadata: dict[str, str]

    @property
    def hash(self) -> str:
        """Changes when anything that the document is made of changes; costs no conversion."""
        head = json.dumps([_converters(), self.id, self.uri, self.suffix, self.metadata], sort_keys=True)
        digest = hashlib.sha256(head.encode() + b"\0")
        digest.update(self.content)
        return digest.hexdigest()


def to_document(raw: Raw, max_bytes: int) -> Document:
    """The document, its front matter (of Markdown and text) as metadata.

    The title is the front matter's, else the file's own, else the first heading, else the name.

    Raises:
        DataError: the bytes are too many, are not what the suffix says, or have broken front matter.
    """
    if len(raw.content) > max_bytes:
        raise too_large(raw.place, len(raw.content), max_bytes)
    title = ""
    metadata: dict[str, str] = {}
    if raw.suffix in HTML:
        title, text = _from_html(_decoded(raw))
    elif raw.suffix == ".pdf":
        title, text = _from_pdf(raw)
    elif raw.suffix == ".docx":
        title, text = _from_word(raw)
    else:
        try:
            metadata, text = split_front_matter(_decoded(raw))
        except ValueError as error:
            raise DataError(
                f"{raw.place} has broken front matter ({error}): correct the YAML between the --- lines"
            ) from None
    name = unicodedata.normalize("NFC", raw.id)
    title = metadata.pop("title", "") or title or first_heading(text) or PurePosixPath(raw.id).stem
    return Document(id=name, text=text, uri=raw.uri, title=title, metadata=raw.metadata | metadata)


@cache
def _converters() -> str:
    """What turns bytes into text, by version."""
    packages = ("beautifulsoup4", "mammoth", "markdownify", "pypdf", "PyYAML")
    return " ".join([CONVERTER, *(f"{name}={version(name)}" for name in packages)])


def too_large(place: str, size: int, max_bytes: int) -> DataError:
    """The error of a file over `retrieval.max_document_megabytes`."""
    return DataError(
        f"{place} has {size / 1e6:.0f} MB, more than retrieval.max_document_megabytes ({max_bytes / 1e6:g}): split it,"
        " leave it out, or raise that in params.yaml"
    )


def _decoded(raw: Raw) -> str:
    try:
        return raw.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{raw.place} is not UTF-8 (byte {error.start}): save it as UTF-8") from None


def _from_html(text: str) -> tuple[str, str]:
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    page = BeautifulSoup(text, "html.parser")
    title = page.title.get_text(" ", strip=True) if page.title else ""
    for tag in page([*_UNSEEN, "title"]):
        tag.decompose()
    return title, str(MarkdownConverter(heading_style="atx", bullets="-").convert_soup(page)).strip()


def _from_pdf(raw: Raw) -> tuple[str, str]:
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        reader = PdfReader(io.BytesIO(raw.content))
        if reader.is_encrypted:
            raise DataError(f"{raw.place} is encrypted: save it without a password")
        pages = [page.extract_text().strip() for page in reader.pages]
        title = str(reader.metadata.title or "").strip() if reader.metadata else ""
    except (
        PyPdfError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:  # what it raises on noise
        raise DataError(
            f"{raw.place} is no PDF that can be read ({error}): open and save it again, or leave it out"
        ) from None
    text = "\n\n".join(page for page in pages if page)
    if not text:
        raise DataError(f"{raw.place} holds no text (a scan?): run text recognition over it, or leave it out")
    return title, text


def _from_word(raw: Raw) -> tuple[str, str]:
    import zipfile

    import mammoth

    try:
        html = mammoth.convert_to_html(io.BytesIO(raw.content)).value
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, SyntaxError) as error:  # a ParseError is a SyntaxError
        raise DataError(
            f"{raw.place} is no Word file that can be read ({error}): save it as .docx, or leave it out"
        ) from None
    return "", _from_html(html)[1]
