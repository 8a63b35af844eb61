"""The flows on cron and on events, from `schedule` in params.yaml: one process that waits and runs them, until it is
stopped. A source with a `refresh` of its own is reindexed alone on that; the rest together.
"""

from contextlib import nullcontext
from typing import Any, Literal, NamedTuple

from prefect import Flow, serve
from prefect.deployments.runner import RunnerDeployment
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError
from tzlocal import get_localzone_name

from contracts.errors import ParamsError
from contracts.params import FOLDER, Params, load_params
from flows import server, webhook
from flows.inputs import require_watched
from flows.overlap import limit_of
from flows.reindex import reindex
from flows.retrain import retrain

EVENT = "freshtune.documents.changed"


class _Job(NamedTuple):
    """One deployment: what runs, when, with which parameters, and the key of params.yaml that says when."""

    flow: Flow[..., Any]
    name: str
    cron: str
    key: str
    parameters: dict[str, Any]
    triggers: list[DeploymentEventTrigger]


def run(port: int = 4200) -> None:
    """Serve the flows of the project in the current directory; returns when it is stopped (Ctrl-C).

    Without PREFECT_API_URL a server is started on loopback and ended with it.

    Raises:
        ParamsError: params.yaml has problems, a schedule that is no cron expression among them.
        BusyError, FreshtuneError: as `server.standing` and `webhook.listening`.
    """
    params = load_params()
    require_watched(params)
    made = deployments(params)
    # `wait`: one at a time, the others stay late. `skip`: they must meet to be skipped.
    limit = 1 if params.schedule.overlap == "wait" else len(made)
    with server.standing(port), webhook.listening(params) if params.schedule.webhook else nullcontext():
        serve(*made, limit=limit)


def deployments(params: Params) -> list[RunnerDeployment]:
    """The flows as deployments named after the project, on their schedules in local time.

    A reindex also starts on the event `freshtune.documents.changed` of the resource `freshtune.PROJECT`, or of
    `freshtune.PROJECT.SOURCE` for a source on its own.

    Raises:
        ParamsError: a schedule is no cron expression.
    """
    schedule, overlap, project = params.schedule, params.schedule.overlap, params.project
    own = [(i, source, source.refresh) for i, source in enumerate(params.sources) if source.refresh]
    rest = [FOLDER, *(source.name for source in params.sources if not source.refresh)] if own else None
    jobs = [
        _Job(retrain, project, schedule.retrain, "schedule.retrain", {}, []),
        # Whoever says that documents changed, and not of which source, means all of them.
        _Job(
            reindex, project, schedule.reindex, "schedule.reindex", {"only": rest}, [_trigger(project, {"only": None})]
        ),
    ]
    for i, source, cron in own:
        triggers = [_trigger(f"{project}.{source.name}")]
        jobs.append(
            _Job(reindex, f"{project}-{source.name}", cron, f"sources.{i}.refresh", {"only": [source.name]}, triggers)
        )
    return [_deployment(job, overlap) for job in jobs]


def _trigger(name: str, parameters: dict[str, Any] | None = None) -> DeploymentEventTrigger:
    match: dict[str, str | list[str]] = {"prefect.resource.id": f"freshtune.{name}"}
    return DeploymentEventTrigger(name=f"{EVENT} {name}", expect={EVENT}, match=match, parameters=parameters)


def _deployment(job: _Job, overlap: Literal["wait", "skip"]) -> RunnerDeployment:
    try:
        # By module, not by file: the project may be another directory than the program.
        return RunnerDeployment.from_flow(
            job.flow,
            job.name,
            schedule=Cron(job.cron, timezone=get_localzone_name()),
            parameters=job.parameters | {"overlap": overlap},
            concurrency_limit=limit_of(overlap),
            triggers=list(job.triggers),
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
    except (ValidationError, ValueError) as error:
        words = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise ParamsError(
            f"`{job.key}` is {job.cron!r} in params.yaml: {words}; write five fields such as `15 * * * *`"
        ) from None
