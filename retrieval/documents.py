"""Read the documents of a folder: Markdown, front matter as metadata."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import yaml
from frontmatter.default_handlers import YAMLHandler

from contracts.documents import Document
from contracts.errors import DataError
from contracts.params import Documents
from retrieval.markdown import sections


def read_documents(settings: Documents) -> list[Document]:
    """Every file under `settings.path` that matches its glob, sorted by id (the path below it, forward slashes).

    The title is the front matter's, else the first heading, else the file's name.

    Raises:
        DataError: the folder is missing or holds no document, a file is not UTF-8 or has broken front matter, or two
            files have one id (names that differ in Unicode form only).
    """
    root = Path(settings.path)
    if not root.is_dir():
        raise DataError(f"documents.path names {root}, which is no folder: correct it in params.yaml")
    documents: dict[str, Document] = {}
    for path in sorted(p for p in root.glob(settings.glob) if p.is_file()):
        document = _read(path, root)
        if document.id in documents:
            raise DataError(f"two files under {root} have the id {document.id}: rename one of them")
        documents[document.id] = document
    if not documents:
        raise DataError(
            f"documents.path {root} holds no file that matches {settings.glob}:"
            " add documents, or correct documents.glob"
        )
    return sorted(documents.values(), key=lambda document: document.id)


def _read(path: Path, root: Path) -> Document:
    try:
        metadata, text = split_front_matter(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except ValueError as error:
        raise DataError(f"{path} has broken front matter ({error}): correct the YAML between the --- lines") from None
    name = unicodedata.normalize("NFC", path.relative_to(root).as_posix())
    title = metadata.pop("title", "") or first_heading(text) or path.stem
    return Document(id=name, text=text, uri=path.as_posix(), title=title, metadata=metadata)


def split_front_matter(raw: str) -> tuple[dict[str, str], str]:
    """Metadata as strings, and the text below it. A leading rule (---) that is no front matter stays text.

    Raises:
        ValueError: there is front matter, but it is not YAML.
    """
    handler, text = YAMLHandler(), raw.strip()
    if not handler.detect(text):
        return {}, text
    try:
        front, body = handler.split(text)
    except ValueError:  # no closing line
        return {}, text
    try:
        values = handler.load(front)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    if not isinstance(values, dict):
        return {}, text
    return {str(key): _as_text(value) for key, value in values.items()}, body.strip()


def first_heading(text: str) -> str:
    """The first heading that says anything, or an empty string."""
    return next((section.headings[-1] for section in sections(text) if section.headings), "")


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_as_text(item) for item in value)
    if isinstance(value, dict):
        return json.dumps(value, default=str, ensure_ascii=False)
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    return str(value)
