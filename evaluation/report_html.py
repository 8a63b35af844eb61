"""The report card as one HTML file: style, plots and answers inline, nothing fetched, every value escaped."""

from pathlib import Path
from typing import Any

from evaluation import figures, plots

_HERE = Path(__file__).parent


def render(report: dict[str, Any]) -> str:
    """The page for a report of `evaluation.report.build`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    page = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return page.get_template("report.html.jinja").render(
        report=report,
        figures=figures,
        plots=_plots(report),
        rows=_rows(report["evaluation"]),
        arms=_arms(report["evaluation"]),
    )


def _arms(evaluation: dict[str, Any] | None) -> list[str]:
    return figures.arms_of(evaluation) if evaluation else []


def _rows(evaluation: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    return dict(figures.metric_rows(evaluation)) if evaluation else {}


def _plots(report: dict[str, Any]) -> dict[str, Any]:
    """Every plot there is data for: lists by behaviour, and the two forests."""
    pairs, evaluation = report["pairs"], report["evaluation"]
    drawn: dict[str, Any] = {
        "funnels": [
            plots.bars(
                f"Pairs of {b['behaviour']} left after each step",
                figures.funnel(b),
            )
            for b in (pairs["behaviours"] if pairs else [])
        ],
        "losses": [
            plots.curve(f"Training loss of {r['behaviour']}, and held-out loss as dots", r["loss"], r["eval_curve"])
            for r in report["training"]
            if r["loss"]
        ],
    }
    if evaluation:
        shares = {label: row for label, row in _rows(evaluation).items() if label != figures.LATENCY}
        drawn["arms"] = plots.forest("Arms by metric, with 95% intervals", shares, _arms(evaluation))
        drawn["categories"] = plots.forest("Task success by category", evaluation["by_category"], _arms(evaluation))
    return drawn
