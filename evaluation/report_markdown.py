"""The report card in Markdown, for a Prefect artifact."""

from typing import Any

from contracts import paths
from evaluation import figures


def markdown(report: dict[str, Any]) -> str:
    """The same report in Markdown, short enough for a Prefect artifact."""
    lines = [f"# {_md(report['headline'])}", "", _md(report["summary"]), ""]
    if (evaluation := report["evaluation"]) is not None:
        arms = figures.arms_of(evaluation)
        lines += _estimates("metric", figures.metric_rows(evaluation), arms) + _estimates(
            "task success", evaluation["by_category"], arms
        )
        lines += ["| gate | | value | bound | |", "|---|---|---|---|---|"]
        for gate in evaluation["gates"]:
            lines.append(
                "| "
                + " | ".join([gate["name"], figures.gate_state(gate), *figures.gate_values(gate), _md(gate["detail"])])
                + " |"
            )
        lines.append("")
    for behaviour in report["pairs"]["behaviours"] if report["pairs"] else []:
        steps = " → ".join(f"{step} {rows}" for step, rows in figures.funnel(behaviour))
        lines.append(f"- pairs, {behaviour['behaviour']}: **{behaviour['verdict']}** ({steps})")
    for each in report["advice"]["behaviours"] if report["advice"] else []:
        lines.append(
            f"- advice, {each['behaviour']}: **{_md(each['recommendation'])}**; training {_md(each['training'])}"
        )
    lines += [f"- training, {r['behaviour']}: {_md(figures.training_line(r))}" for r in report["training"]]
    lines += [f"- merge, {r['behaviour']}: {_md(figures.merge_line(r))}" for r in report["merge"]]
    lines += [f"- index: {_md(figures.index_line(report['index']))}"] if report["index"] else []
    lines += [f"- snapshot: `{report['snapshot']}`"] if report["snapshot"] else []
    lines += ["", "| stage | |", "|---|---|"]
    for stage in report["stages"]:
        took = stage["status"] if stage["seconds"] is None else figures.duration(stage["seconds"])
        lines.append(f"| {stage['name']} | {took} |")
    lines += ["", "Since the last run: " + _md("; ".join(report["changes"]) or "no input changed"), "", "```sh"]
    lines += [entry["command"] for entry in report["next"]] + ["```", "", f"Plots and answers: {paths.REPORT_HTML}", ""]
    return "\n".join(lines)


def _estimates(name: str, rows: dict[str, dict[str, Any]], arms: list[str]) -> list[str]:
    lines = [f"| {name} | " + " | ".join(arms) + " |", "|---" * (len(arms) + 1) + "|"]
    for label, row in rows.items():
        best = figures.best(label, row)
        cells = []
        for arm in arms:
            figure = figures.mean(row.get(arm))
            cells.append(f"{f'**{figure}**' if arm in best else figure} {figures.interval(row.get(arm))}".strip())
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _md(text: str) -> str:
    """Data inside Markdown: no table cell is ended, no tag opened."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
