"""The reindex flow: the live store follows the documents, without training anything."""

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
from flows import server
from flows.embedding import spread
from flows.overlap import Overlap, alone
from flows.progress import told
from flows.reindex_report import markdown, summary
from retrieval.documents import require_sources

__all__ = ["reindex", "run", "summary"]


def run(
    source: str | None = None,
    dry_run: bool = False,
    allow_mass_delete: bool = False,
    store: str | None = None,
    repair: bool = False,
    only: list[str] | None = None,
    overlap: Overlap = "refuse",
) -> Any:
    """Bring the live store up to the documents; returns the ReindexReport of `retrieval.index.reindex`.

    `source` takes the place of `documents.path`, `store` (a Weaviate's URL or a LanceDB folder) of `retrieval.store`.
    `repair` reads every stored chunk and writes anew what is not as it was published. `only` names the sources to read;
    the documents of the others stay as they are. `overlap` is what to do while another run writes here.

    Raises:
        DataError: the documents cannot be read.
        InputError: `only` names no source.
        StoreError: too many documents would be deleted, or the store cannot be written truthfully.
        BusyError: another run is writing here, and `overlap` is `refuse`.
    """
    params, _ = overridden(load_params(), source, store)
    require_sources(params, only or [])
    with server.api():
        return reindex(source, dry_run, allow_mass_delete, store, repair, only, overlap)


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
def reconcile(
    params: Params, store: Path, dry_run: bool, allow_mass_delete: bool, repair: bool, only: list[str]
) -> Any:
    """Reconcile the live store with the documents. Nothing half-written is seen, so it may be retried."""
    from retrieval.index import reindex as reconciled

    with spread(params) as embedder, told(get_run_logger().info) as tell:
        return reconciled(
            params,
            store=store,
            dry_run=dry_run,
            allow_mass_delete=allow_mass_delete,
            repair=repair,
            only=only,
            embedder=embedder,
            tell=tell,
        )


@flow(name="reindex")
def reindex(
    source: str | None = None,
    dry_run: bool = False,
    allow_mass_delete: bool = False,
    store: str | None = None,
    repair: bool = False,
    only: list[str] | None = None,
    overlap: Overlap = "refuse",
) -> Any:
    """Reconcile the live store with the documents and record what changed as an artifact.

    Raises:
        DataError, InputError, StoreError, BusyError: as `run`.
    """
    server.quiet_errors()
    log = get_run_logger()
    params, place = overridden(load_params(), source, store)
    require_sources(params, only or [])

    def work() -> Any:
        done = reconcile(params, place, dry_run, allow_mass_delete, repair, only or [], return_state=True)
        if not done.is_completed():
            return Failed(message=str(done.message), data=done.data)
        report = done.result()
        log.info(summary(report))
        create_markdown_artifact(markdown(report), key="reindex-report", description="what the reindex changed")
        return report

    return work() if dry_run else alone("reindex", overlap, log.info, work)
