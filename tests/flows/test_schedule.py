from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.errors import ParamsError
from contracts.params import Schedule, load_params
from flows.schedule import deployments

PROGRAM = Path(__file__).resolve().parents[2]


def test_both_flows_are_scheduled_in_local_time(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.schedule.get_localzone_name", lambda: "Europe/Vienna")
    made = {d.flow_name: d for d in deployments(load_params())}
    assert {name: d.schedules[0].schedule.cron for name, d in made.items()} == {  # type: ignore[index, union-attr]
        "retrain": "0 3 * * 1",
        "reindex": "15 * * * *",
    }
    assert made["retrain"].schedules[0].schedule.timezone == "Europe/Vienna"  # type: ignore[index, union-attr]
    assert made["retrain"].name == "mini"
    assert made["reindex"].entrypoint == "flows.reindex.reindex"


def test_a_schedule_that_is_no_cron_is_named(mini: Path) -> None:
    params = load_params().model_copy(update={"schedule": Schedule(reindex="every hour")})
    with pytest.raises(ParamsError, match=r"`schedule.reindex` is 'every hour'"):
        deployments(params)


def test_prefect_yaml_names_the_flows_and_the_shipped_schedule() -> None:
    written: dict[str, Any] = yaml.safe_load((PROGRAM / "prefect.yaml").read_text())
    schedule = load_params(PROGRAM / "params.yaml").schedule
    for deployment in written["deployments"]:
        file, flow = deployment["entrypoint"].split(":")
        assert f"def {flow}(" in (PROGRAM / file).read_text()
        assert deployment["schedules"][0]["cron"] == getattr(schedule, flow)
