"""The reindex flow: the live store follows the documents, without training anything."""

from contextlib import nullcontext
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Failed

from contracts.errors import FreshtuneError
from contracts.params import Params, load_params
from flows import graph, server

_SHOWN = 20


def run(source: str | None = None, dry_run: bool = False, allow_mass_delete: bool = False) -> Any:
    """Bring the live store up to the documents; returns the ReindexReport of `retrieval.index.reindex`.

    `source` takes the place of `documents.path`.

    Raises:
        DataError: the documents cannot be read.
        StoreError: too many documents would be deleted, or the store cannot be written truthfully.
        BusyError: another run is writing here.
    """
    load_params()
    with server.api():
        return reindex(source, dry_run, allow_mass_delete)


def _may_pass(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether a failure may be gone the next time: of what a person must mend, none is."""
    return not isinstance(state.result(raise_on_failure=False), FreshtuneError)


@task(name="reconcile", task_run_name="reconcile", retries=2, retry_delay_seconds=[5, 30], retry_condition_fn=_may_pass)
def reconcile(params: Params, dry_run: bool, allow_mass_delete: bool) -> Any:
    """Reconcile the live store with the documents. Nothing half-written is seen, so it may be retried."""
    from retrieval.index import reindex as reconciled

    return reconciled(params, dry_run=dry_run, allow_mass_delete=allow_mass_delete)


@flow(name="reindex")
def reindex(source: str | None = None, dry_run: bool = False, allow_mass_delete: bool = False) -> Any:
    """Reconcile the live store with the documents and record what changed as an artifact.

    Raises:
        DataError, StoreError, BusyError: as `run`.
    """
    server.quiet_errors()
    log = get_run_logger()
    params = load_params()
    if source:
        params = params.model_copy(update={"documents": params.documents.model_copy(update={"path": source})})
    with nullcontext() if dry_run else graph.writer("reindex"):
        done = reconcile(params, dry_run, allow_mass_delete, return_state=True)
    if not done.is_completed():
        return Failed(message=str(done.message), data=done.data)
    report = done.result()
    log.info(summary(report, dry_run))
    create_markdown_artifact(_markdown(report, dry_run), key="reindex-report", description="what the reindex changed")
    return report


def summary(report: Any, dry_run: bool = False) -> str:
    """One sentence on a ReindexReport."""
    counts = ", ".join(f"{len(getattr(report, kind))} {kind}" for kind in ("added", "changed", "removed", "unchanged"))
    verb = "Would embed" if dry_run else "Embedded"
    return f"Documents: {counts}. {verb} {report.embedded} of {report.chunks} chunks in {report.seconds:.1f} s"


def _markdown(report: Any, dry_run: bool) -> str:
    lines = ["# Reindex" + (" (dry run)" if dry_run else ""), "", summary(report, dry_run), ""]
    for kind in ("added", "changed", "removed"):
        if names := getattr(report, kind):
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            lines.append(f"- {kind}: " + ", ".join(f"`{name}`" for name in names[:_SHOWN]) + more)
    return "\n".join([*lines, "", f"content `{report.content}`"])
