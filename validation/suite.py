"""Great Expectations as judge and record: one expectation per rule, one per funnel step, two for the thresholds."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from contracts.errors import StageError
from validation.rules import RULES, STEPS

_KEPT = ("element_count", "unexpected_count", "unexpected_percent", "observed_value")


@dataclass(frozen=True)
class Record:
    """What Great Expectations found. Everything a verdict says is read from here.

    `passed` maps the name of an expectation to whether it holds, `results` to its counts. The names are the codes of
    the rules ("placeholder"), the funnel steps ("clean") and the thresholds ("refuse_below", "ready_from"). `raw` is the
    whole answer, for Data Docs.
    """

    behaviour: str
    passed: dict[str, bool]
    results: dict[str, dict[str, Any]]
    raw: dict[str, Any] = field(default_factory=dict, repr=False)

    def failing(self, code: str) -> int:
        """Rows that broke one rule."""
        return int(self.results[code]["unexpected_count"])

    def left(self, step: str) -> int:
        """Rows that are left after one funnel step."""
        return int(self.results[step]["observed_value"])

    @property
    def read(self) -> int:
        """Rows that were looked at."""
        return int(self.results["unreadable"]["element_count"])

    def as_json(self) -> dict[str, Any]:
        """The record without run times and ids: the same rows give the same bytes."""
        names = {code: rule.description for code, rule in RULES.items()}
        return {
            "behaviour": self.behaviour,
            "expectations": [
                {"name": name, "description": names.get(name, ""), "success": self.passed[name], "result": result}
                for name, result in self.results.items()
            ],
        }


def run_suite(behaviour: str, ok: pd.DataFrame, thresholds: Mapping[str, int], warn: Collection[str] = ()) -> Record:
    """Validate the boolean columns of `validation.rules.judge` with an ephemeral Great Expectations context.

    `thresholds` maps a name to the least number of teachable rows it asks for, `warn` names the rules that only warn.

    Raises:
        StageError: Great Expectations could not evaluate one of the expectations.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    from great_expectations import expectations as gxe
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.expectations.metadata_types import FailureSeverity

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    rules = [
        gxe.ExpectColumnValuesToBeInSet(
            column=code,
            value_set=[True],
            severity=FailureSeverity.INFO if code in warn else FailureSeverity.WARNING,
            meta={"name": code},
            description=f"{code}: {rule.description}",
        )
        for code, rule in RULES.items()
    ]
    steps = [
        gxe.ExpectColumnSumToBeBetween(
            column=step,
            min_value=0,
            severity=FailureSeverity.INFO,
            meta={"name": step},
            description=f"rows left after step {step}",
        )
        for step in STEPS
    ]
    bounds = [
        gxe.ExpectColumnSumToBeBetween(
            column=STEPS[-1],
            min_value=least,
            severity=FailureSeverity.CRITICAL,
            meta={"name": name},
            description=f"validation.{name}: at least {least} teachable rows",
        )
        for name, least in thresholds.items()
    ]
    suite = context.suites.add(gx.ExpectationSuite(name=behaviour, expectations=[*rules, *steps, *bounds]))
    asset = context.data_sources.add_pandas("pairs").add_dataframe_asset(behaviour)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": ok})
    found = batch.validate(suite, result_format="SUMMARY").to_json_dict()

    passed, results = {}, {}
    for each in found["results"]:
        name = each["expectation_config"]["meta"]["name"]
        told = each["exception_info"]
        if told.get("raised_exception") is not False:  # a metric that failed nests its error one level deeper
            raise StageError("validate", f"Great Expectations could not check {name} of {behaviour}: {told}")
        passed[name] = each["success"]
        results[name] = {key: each["result"][key] for key in _KEPT if key in each["result"]}
    return Record(behaviour, passed, results, found)
