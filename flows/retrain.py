"""The retrain flow: snapshot → every stale stage of dvc.yaml → report card → snapshot."""

import os
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from advisor.prices import load_prices
from contracts import paths
from contracts.errors import DataError, FreshtuneError
from contracts.files import read_json
from contracts.params import load_params
from contracts.verdicts import ValidationVerdict
from evaluation import report
from flows import graph, server, snapshot
from flows.inputs import require_watched
from flows.overlap import Overlap, alone
from validation.report import markdown


def run() -> dict[str, Any]:
    """Bring the project in the current directory up to date; returns the report.

    `ran` in it names the stages that ran, and is empty when there was nothing to do: then no flow is started, and the
    rest is the report of the last run that did something.

    Raises:
        ParamsError: params.yaml or dvc.yaml has problems.
        BusyError: another run is writing here.
        StageError: a stage failed; what was made before it stands, and the next run goes on from there.
    """
    prepare()
    if not forced() and not graph.stale() and paths.REPORT_JSON.is_file():
        return _standing()
    with server.api():
        made: Any = retrain()
    return dict(made)


def prepare() -> None:
    """Check params.yaml, and tell DVC whether there is a git repository.

    Raises:
        ParamsError: params.yaml has problems, or this is no project.
        InputError: advisor.prices has some.
    """
    params = load_params()
    require_watched(params)
    load_prices(params.advisor.prices, "params.yaml: advisor.prices")
    graph.without_git(bool(snapshot.unavailable()))


def forced() -> dict[str, str]:
    """Stages whose product outside DVC is gone, with the reason to run them although their inputs are unchanged."""
    reasons: dict[str, str] = {}
    params = load_params()
    if params.sources:
        why = "DVC cannot see `sources` change"
        reasons |= {"audit": why, "index": why}
    if paths.INDEX.is_file() and not params.retrieval.on_server and not paths.STORE.is_dir():
        reasons["index"] = f"the store {paths.STORE} is gone"
    try:
        receipt = read_json(paths.RECEIPT) if paths.RECEIPT.is_file() else {}
    except DataError:
        receipt = {}  # DVC sees that it changed
    store = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml").expanduser()
    if receipt.get("tag") and not (store / receipt["path"] / "bento.yaml").is_file():
        reasons["package"] = f"{receipt['tag']} is gone from the BentoML store {store}"
    return reasons


@task(name="stage")
def stage(name: str, reason: str, inputs: str) -> State[float]:
    """Run one stage when it is stale, or for `reason`; the state's data are its seconds, 0 when it stood."""
    log = get_run_logger()
    reasons = [reason] if reason else [text for texts in graph.stale([name]).values() for text in texts]
    if not reasons:
        return Completed(message="up to date", data=0.0)
    log.info(
        "runs, because: %s", "; ".join(reasons[:4]) + (f" and {len(reasons) - 4} more" if len(reasons) > 4 else "")
    )
    try:
        seconds = graph.run_stage(name, log.info, force=bool(reason), snapshot=inputs)
    except FreshtuneError as error:
        return Failed(message=str(error), data=error)
    return Completed(message=f"made in {seconds:.1f} s", data=seconds)


@flow(name="retrain")
def retrain(overlap: Overlap = "refuse") -> Any:
    """Snapshot the inputs, run what is stale, write the report card; returns the report's data.

    `overlap` says what to do while another run writes here: `wait`, `skip` (this run ends as `Skipped`), or `refuse`.

    Raises:
        ParamsError, BusyError, StageError: as `run`.
    """
    server.quiet_errors()
    log = get_run_logger()
    prepare()
    return alone("retrain", overlap, log.info, lambda: _everything(log))


def _everything(log: Any) -> Any:
    """What the flow does once nobody else writes."""
    before, changed = _snapshot(log)
    inputs = before.inputs if before else ""
    reasons = forced()
    seconds: dict[str, float] = {}
    for name in graph.stages():
        done = stage.with_options(task_run_name=name)(name, reasons.get(name, ""), inputs, return_state=True)
        if not done.is_completed():
            return Failed(message=str(done.message), data=done.data)
        took: Any = done.result()
        if took:
            seconds[name] = took
        if took and name == "validate":
            found = ValidationVerdict.model_validate(read_json(paths.VERDICT))
            create_markdown_artifact(markdown(found), key="validation", description="may these pairs be taught?")
    if not seconds and paths.REPORT_JSON.is_file():
        log.info("Nothing to do: every stage is up to date")
        return _standing()
    card = report.build(seconds, inputs, changed, list(seconds))
    create_markdown_artifact(report.markdown(card), key="retrain-report", description="the report card of this run")
    if before:
        snapshot.seal(before, [f"ran: {', '.join(seconds) or 'nothing'}"])
    return card | {"ran": list(seconds)}


def _standing() -> dict[str, Any]:
    """The report of the last run that did something, for one that did nothing."""
    return {**read_json(paths.REPORT_JSON), "ran": [], "changes": []}


def _snapshot(log: Any) -> tuple[snapshot.Snapshot | None, list[str]]:
    """The snapshot of the inputs, None outside git, and what changed since the one before."""
    if why := snapshot.unavailable():
        log.warning("No snapshot: %s", why)
        return None, []
    previous = snapshot.latest()
    taken = snapshot.take()
    changed = [] if taken == previous else taken.notes
    log.info("Snapshot %s: %s", taken.run, "; ".join(changed) or "nothing changed since the last run")
    return taken, changed
