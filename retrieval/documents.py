"""Every document of a project: the folder `documents.path`, and what `sources` adds."""

import unicodedata
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from contracts.documents import Document
from contracts.errors import DataError, InputError
from contracts.params import FOLDER, Documents, Params, Source
from retrieval.convert import Raw, to_document
from retrieval.sources import files_below, matcher, raw_documents


def all_documents(params: Params, only: Collection[str] = ()) -> Iterator[Document]:
    """The documents of `documents.path`, then those of each source, whose ids begin with the source's name.

    `only` names the sources to read (`documents` is the folder of `documents.path`); without any, all are read.

    Raises:
        DataError: a source is missing, broken or yields nothing, a document cannot be read, or two have one id.
    """
    most = max_bytes(params)
    return (to_document(raw, most) for raw in all_raw(params, only))


def all_raw(params: Params, only: Collection[str] = ()) -> Iterator[Raw]:
    """`all_documents` before they are converted, so that what is known already need not be.

    Raises:
        DataError: a source is missing, broken or yields nothing, or two documents have one id.
    """
    known: set[str] = set()
    most = max_bytes(params)
    if not only or FOLDER in only:
        for raw in _of_folder(params.documents, most):
            yield _new(raw, known)
    for source in params.sources:
        if only and source.name not in only:
            continue
        empty = True
        for raw in raw_documents(source, most):
            empty = False
            yield _new(_ruled(raw, source), known)
        if empty:
            raise DataError(f"the source {source.name} ({source.kind}) yields no document: correct it in params.yaml")


def source_of(params: Params) -> Callable[[str], str]:
    """From a document's id to the name of its source."""
    names = {source.name for source in params.sources}
    return lambda document: first if (first := document.partition("/")[0]) in names else FOLDER


def require_sources(params: Params, only: Collection[str]) -> None:
    """Raises:
    InputError: `only` names no source.
    DataError: an id would not say which source it is of.
    """
    known = [FOLDER, *(source.name for source in params.sources)]
    if unknown := [name for name in only if name not in known]:
        raise InputError(f"`{unknown[0]}` is no source of params.yaml: name one of {', '.join(known)}")
    if only and (twice := [name for name in known[1:] if (Path(params.documents.path) / name).is_dir()]):
        raise DataError(
            f"{params.documents.path} holds a folder {twice[0]}, which is also the name of a source, so that neither can"
            " be read alone: rename one of them, or read everything"
        )


def max_bytes(params: Params) -> int:
    """`retrieval.max_document_megabytes` in bytes."""
    return int(params.retrieval.max_document_megabytes * 1e6)


def _ruled(raw: Raw, source: Source) -> Raw:
    """`raw` with the licence of its source, and what the rules say whose glob its name matches; the last one wins."""
    metadata = ({"licence": source.licence} if source.licence else {}) | raw.metadata
    for rule in source.rules:
        if matcher([rule.glob])(raw.id.removeprefix(f"{source.name}/")):
            metadata |= rule.set
    return raw._replace(metadata=metadata)


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
