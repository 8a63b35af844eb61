"""Every document of a project: the folder `documents.path`, and what `sources` adds."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path

from contracts.documents import Document
from contracts.errors import DataError
from contracts.params import Documents, Params
from retrieval.convert import Raw, to_document
from retrieval.sources import files_below, raw_documents


def all_documents(params: Params) -> Iterator[Document]:
    """The documents of `documents.path`, then those of each source, whose ids begin with the source's name.

    Raises:
        DataError: a source is missing, broken or yields nothing, a document cannot be read, or two have one id.
    """
    return (to_document(raw, _most(params)) for raw in all_raw(params))


def all_raw(params: Params) -> Iterator[Raw]:
    """`all_documents` before they are converted, so that what is known already need not be.

    Raises:
        DataError: a source is missing, broken or yields nothing, or two documents have one id.
    """
    known: set[str] = set()
    for raw in _of_folder(params.documents, _most(params)):
        yield _new(raw, known)
    for source in params.sources:
        empty = True
        for raw in raw_documents(source, _most(params)):
            empty = False
            yield _new(raw, known)
        if empty:
            raise DataError(f"the source {source.name} ({source.kind}) yields no document: correct it in params.yaml")


def read_documents(settings: Documents, max_megabytes: float = 20) -> list[Document]:
    """Every file under `settings.path` that matches its glob, sorted by id (the path below it, forward slashes).

    The title is the front matter's, else the first heading, else the file's name.

    Raises:
        DataError: the folder is missing or holds no document, a file is not UTF-8 or has broken front matter, or two
            files have one id (names that differ in Unicode form only).
    """
    known: set[str] = set()
    most = int(max_megabytes * 1e6)
    found = [to_document(_new(raw, known), most) for raw in _of_folder(settings, most)]
    return sorted(found, key=lambda document: document.id)


def _most(params: Params) -> int:
    return int(params.retrieval.max_document_megabytes * 1e6)


def _of_folder(settings: Documents, max_bytes: int) -> Iterator[Raw]:
    root = Path(settings.path)
    if not root.is_dir():
        raise DataError(f"documents.path names {root}, which is no folder: correct it in params.yaml")
    raw = None
    for raw in files_below(root, [settings.glob], "", {}, max_bytes):
        yield raw
    if raw is None:
        raise DataError(
            f"documents.path {root} holds no file that matches {settings.glob}:"
            " add documents, or correct documents.glob"
        )


def _new(raw: Raw, known: set[str]) -> Raw:
    """`raw` under its document's id, which is in NFC: file systems spell one name in several ways."""
    name = unicodedata.normalize("NFC", raw.id)
    if name in known:
        raise DataError(f"two documents have the id {name} (the other is not {raw.uri}): rename one of them")
    known.add(name)
    return raw._replace(id=name)
