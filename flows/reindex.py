"""The reindex flow: the live store follows the documents, without training anything."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Failed
from pydantic import ValidationError

from contracts import paths
from contracts.errors import FreshtuneError, ParamsError
from contracts.params import Params, Retrieval, load_params
from flows import graph, server

_SHOWN = 20


def run(
    source: str | None = None,
    dry_run: bool = False,
    allow_mass_delete: bool = False,
    store: str | None = None,
    repair: bool = False,
) -> Any:
    """Bring the live store up to the documents; returns the ReindexReport of `retrieval.index.reindex`.

    `source` takes the place of `documents.path`, `store` (a Weaviate's URL or a LanceDB folder) of `retrieval.store`.
    `repair` reads every stored chunk and writes anew what is not as it was published.

    Raises:
        DataError: the documents cannot be read.
        StoreError: too many documents would be deleted, or the store cannot be written truthfully.
        BusyError: another run is writing here.
    """
    overridden(load_params(), source, store)
    with server.api():
        return reindex(source, dry_run, allow_mass_delete, store, repair)


def overridden(params: Params, source: str | None = None, store: str | None = None) -> tuple[Params, Path]:
    """`params` with another source or store, and where LanceDB lies.

    Raises:
        ParamsError: `store` is a URL, but not of an index.
    """
    if source:
        params = params.model_copy(update={"documents": params.documents.model_copy(update={"path": source})})
    if store and "://" not in store:
        return params.model_copy(update={"retrieval": params.retrieval.model_copy(update={"store": "lancedb"})}), Path(
            store
        )
    if store:
        try:
            retrieval = Retrieval.model_validate(params.retrieval.model_dump() | {"store": store})
        except ValidationError:
            raise ParamsError(f"--store {store} is no index: write it as http://host:port/index") from None
        params = params.model_copy(update={"retrieval": retrieval})
    return params, paths.STORE


def _may_pass(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether a failure may be gone the next time: of what a person must mend, none is."""
    return not isinstance(state.result(raise_on_failure=False), FreshtuneError)


@task(name="reconcile", task_run_name="reconcile", retries=2, retry_delay_seconds=[5, 30], retry_condition_fn=_may_pass)
def reconcile(params: Params, store: Path, dry_run: bool, allow_mass_delete: bool, repair: bool) -> Any:
    """Reconcile the live store with the documents. Nothing half-written is seen, so it may be retried."""
    from retrieval.index import reindex as reconciled

    return reconciled(
        params,
        store=store,
        dry_run=dry_run,
        allow_mass_delete=allow_mass_delete,
        repair=repair,
        tell=get_run_logger().info,
    )


@flow(name="reindex")
def reindex(
    source: str | None = None,
    dry_run: bool = False,
    allow_mass_delete: bool = False,
    store: str | None = None,
    repair: bool = False,
) -> Any:
    """Reconcile the live store with the documents and record what changed as an artifact.

    Raises:
        DataError, StoreError, BusyError: as `run`.
    """
    server.quiet_errors()
    log = get_run_logger()
    params, place = overridden(load_params(), source, store)
    with nullcontext() if dry_run else graph.writer("reindex"):
        done = reconcile(params, place, dry_run, allow_mass_delete, repair, return_state=True)
    if not done.is_completed():
        return Failed(message=str(done.message), data=done.data)
    report = done.result()
    log.info(summary(report))
    create_markdown_artifact(_markdown(report), key="reindex-report", description="what the reindex changed")
    return report


def summary(report: Any) -> str:
    """A ReindexReport in three sentences: documents, chunks, bill."""
    kinds = ("added", "changed", "renamed", "removed", "unchanged")
    documents = ", ".join(f"{len(getattr(report, kind))} {kind}" for kind in kinds)
    chunks = f"{report.chunks_added} written, {report.chunks_removed} dropped, {report.chunks_unchanged} unchanged"
    bill = f"{'Would embed' if report.dry_run else 'Embedded'} {report.embedded} texts"
    end = "" if report.dry_run else f"; generation {report.generation}"
    return f"Documents: {documents}. Chunks: {chunks}. {bill} in {report.seconds:.1f} s{end}"


def _markdown(report: Any) -> str:
    title = "# Reindex" + (" (dry run)" if report.dry_run else "")
    lines = [title, "", summary(report), ""]
    if report.rebuilt:
        lines += ["The settings changed: the index was built anew beside the old one.", ""]
    for kind in ("added", "changed", "removed"):
        lines += _named(kind, [f"`{name}`" for name in getattr(report, kind)])
    lines += _named("renamed", [f"`{old}` → `{new}`" for new, old in report.renamed.items()])
    return "\n".join([*lines, "", f"content `{report.content}`, fingerprint `{report.fingerprint}`"])


def _named(kind: str, names: list[str]) -> list[str]:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"- {kind}: " + ", ".join(names[:_SHOWN]) + more] if names else []
