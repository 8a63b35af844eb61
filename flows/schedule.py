"""Both flows on cron, from `schedule` in params.yaml: one process that waits and runs them, until it is stopped."""

from typing import Any

from prefect import Flow, serve
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError
from tzlocal import get_localzone_name

from contracts.errors import ParamsError
from contracts.params import Params, load_params
from flows import server
from flows.inputs import require_watched
from flows.reindex import reindex
from flows.retrain import retrain


def run(port: int = 4200) -> None:
    """Serve the flows of the project in the current directory; returns when it is stopped (Ctrl-C).

    Without PREFECT_API_URL a server is started on loopback and ended with it.

    Raises:
        ParamsError: params.yaml has problems, a schedule that is no cron expression among them.
        BusyError, FreshtuneError: as `server.standing`.
    """
    params = load_params()
    require_watched(params)
    both = deployments(params)
    with server.standing(port):
        serve(*both, limit=1)  # one at a time: the second waits, instead of failing on the first one's lock


def deployments(params: Params) -> list[RunnerDeployment]:
    """Both flows as deployments named after the project, on their schedules in local time.

    Raises:
        ParamsError: a schedule is no cron expression.
    """
    flows: list[tuple[str, Flow[..., Any], str]] = [
        ("retrain", retrain, params.schedule.retrain),
        ("reindex", reindex, params.schedule.reindex),
    ]
    made: list[RunnerDeployment] = []
    for name, flow, cron in flows:
        try:
            schedule = Cron(cron, timezone=get_localzone_name())
            # By module, not by file: the project may be another directory than the program.
            made.append(
                RunnerDeployment.from_flow(
                    flow, params.project, schedule=schedule, entrypoint_type=EntrypointType.MODULE_PATH
                )
            )
        except (ValidationError, ValueError) as error:
            words = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise ParamsError(
                f"`schedule.{name}` is {cron!r} in params.yaml: {words}; write five fields such as `15 * * * *`"
            ) from None
    return made
