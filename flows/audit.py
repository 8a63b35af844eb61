"""What `freshtune audit` judges: a project, one of its sources, or any folder."""

from pathlib import Path

from contracts import paths
from contracts.errors import InputError
from contracts.params import FOLDER, Audit, Retrieval, load_params
from contracts.verdicts import AuditVerdict
from retrieval.audit import Part, audit_parts
from retrieval.history import write_history
from retrieval.pasts import of_folder, of_project


def judge(source: str | None, glob: str, save_history: Path | None = None) -> AuditVerdict:
    """Judge the project here as the stage `audit` does, one source of it, or a folder by DVC's pointer or git.

    `save_history` keeps the past that was read, for `documents.history`.

    Raises:
        DataError: a source or a history cannot be read.
        InputError: `source` leads nowhere, or there is no past to save.
        ParamsError: there is no project here and no folder was named, or params.yaml has problems.
    """
    params = load_params() if source is None or paths.PARAMS.is_file() else None
    names = [FOLDER, *(entry.name for entry in params.sources)] if params else []
    if params and (source is None or source in names):
        parts = of_project(params, [source] if source else [])
    elif source and Path(source).is_dir():
        parts = of_folder(Path(source), glob, (params.retrieval if params else Retrieval()).max_document_megabytes)
    else:
        raise InputError(f"--source {source} is no folder" + (f", nor one of {', '.join(names)}" if names else ""))
    if save_history:
        parts = [_saved(parts, save_history)]
    return audit_parts(parts, (params.audit if params else Audit()).stable_months)


def _saved(parts: list[Part], path: Path) -> Part:
    """The one source, its past kept in `path`."""
    if len(parts) > 1:
        raise InputError("--save-history keeps the past of one source: name it with --source")
    revisions = list(parts[0].revisions)
    if not revisions:
        raise InputError(
            f"--save-history: nothing is known of the past of {parts[0].name}: commit its documents to git"
        )
    write_history(path, revisions)
    return parts[0]._replace(revisions=revisions)
