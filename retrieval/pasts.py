"""Which documents an audit judges, and by which past: a stored history, git, or DVC's pointers in git."""

from collections.abc import Collection
from pathlib import Path

from contracts.documents import Document
from contracts.params import FOLDER, DirectorySource, Documents, GitSource, Params
from retrieval.audit import Part
from retrieval.documents import all_documents, max_bytes, read_documents, source_of
from retrieval.git_history import dvc_revisions, git_revisions, repository_of
from retrieval.history import replay


def of_project(params: Params, only: Collection[str] = ()) -> list[Part]:
    """The sources of a project, or those that `only` names.

    `documents.path` is judged by `documents.history`; where that is null, by DVC's pointer or git, as a folder of
    `sources` is. A git source is judged by the commits of its repository. Tables and addresses have no past.

    Raises:
        DataError: a source or a history cannot be read.
    """
    of, most = source_of(params), max_bytes(params)
    documents = sorted(all_documents(params, only), key=lambda document: document.id)
    history, globs = params.documents.history, [params.documents.glob]
    parts: list[Part] = []
    for name in (FOLDER, *(source.name for source in params.sources)):
        if only and name not in only:
            continue
        own = [document for document in documents if of(document.id) == name]
        source = next((source for source in params.sources if source.name == name), None)
        if isinstance(source, GitSource):
            parts.append(Part(name, own, "git", git_revisions(source, most, prefix=f"{name}/")))
        elif isinstance(source, DirectorySource):
            parts.append(_folder(name, own, Path(source.path), source.glob, most, prefix=f"{name}/"))
        elif source:
            parts.append(Part(name, own))
        elif history:
            parts.append(Part(name, own, "file", replay(Path(history))))
        else:
            parts.append(_folder(name, own, Path(params.documents.path), globs, most))
    return parts


def of_folder(folder: Path, glob: str, max_megabytes: float) -> list[Part]:
    """One folder outside any project, by DVC's pointer or git.

    Raises:
        DataError: it is missing, holds no document, or one that cannot be read.
    """
    documents = read_documents(Documents(path=str(folder), glob=glob), max_megabytes)
    return [_folder(FOLDER, documents, folder, [glob], int(max_megabytes * 1e6))]


def _folder(
    name: str, documents: list[Document], folder: Path, globs: list[str], max_bytes: int, prefix: str = ""
) -> Part:
    folder = folder.resolve()
    if folder.with_name(f"{folder.name}.dvc").is_file():
        return Part(name, documents, "dvc", dvc_revisions(folder, globs, max_bytes, prefix))
    if repository := repository_of(folder, globs):
        return Part(name, documents, "git", git_revisions(repository, max_bytes, prefix))
    return Part(name, documents)
