"""The report card on a terminal: framed and coloured there, plain text when piped."""

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from evaluation import figures

_STYLE = {"released": "green", "blocked": "red", "evaluated": "cyan", "incomplete": "yellow"}
_VERDICT = {"ready": "green", "limited": "yellow", "refused": "red"}
_GATE = {"pass": "green", "FAIL": "bold red", "n/a": "dim"}
_NARROW = 92  # columns below which intervals stand under their means


def print_card(report: dict[str, Any], console: Console) -> None:
    """Print the report of `evaluation.report.build` on 80 columns or more; without a terminal no frames, no colour."""
    plain = not console.is_terminal
    title = f"[bold {_STYLE[report['status']]}]{escape(report['headline'])}[/]"
    head = f"{title}\n{escape(report['summary'])}"
    console.print(
        head if plain else Panel(head, border_style=_STYLE[report["status"]], padding=(0, 2)), highlight=False
    )
    for name, body in _sections(report, console.width, plain):
        _heading(name, console)
        for part in body:
            console.print(Padding(part, (0, 0, 0, 2), expand=False), highlight=False)
    _heading("Next", console)
    for entry in report["next"]:
        # Never broken into lines of their own, so that they can be copied.
        console.print(Text(f"  {entry['command']}", style="bold cyan"), soft_wrap=True)
        console.print(Padding(Text(entry["why"], style="dim"), (0, 0, 0, 6), expand=False))
    console.print()


def _heading(name: str, console: Console) -> None:
    title = Text(name, style="bold")
    console.print()
    console.print(Rule(title, align="left", style="dim") if console.is_terminal else title)


def _sections(report: dict[str, Any], width: int, plain: bool) -> Iterator[tuple[str, list[RenderableType]]]:
    evaluation = report["evaluation"]
    yield "Pairs", _pairs(report, width, plain)
    yield "Advice", _advice(report["advice"])
    yield "Training", _training(report, plain)
    yield "Index", [_index(report)]
    if evaluation is None:
        yield "Evaluation", ["not run"]
    else:
        arms = figures.arms_of(evaluation)
        some = next(iter(evaluation["arms"].values()))["task_success"]["n"]
        title = f"Arms on {figures.plural(some, 'golden question')}, 95% intervals, best "
        metrics = _estimates(figures.metric_rows(evaluation), arms, width, plain)
        yield title + ("starred" if plain else "in bold"), [metrics]
        yield "Task success by category", [_estimates(evaluation["by_category"], arms, width, plain)]
        yield "Gates", [_gates(evaluation, plain)]
    yield "Release", [_release(report["package"])]
    yield "Stages", [_stages(report["stages"], plain)]
    yield "Since the last run", [Text(change) for change in report["changes"]] or ["no input changed"]


def _pairs(report: dict[str, Any], width: int, plain: bool) -> list[RenderableType]:
    if report["pairs"] is None:
        return ["not run"]
    parts: list[RenderableType] = []
    for behaviour in report["pairs"]["behaviours"]:
        line = Text.assemble(
            behaviour["behaviour"], " ", (behaviour["verdict"], f"bold {_VERDICT[behaviour['verdict']]}")
        )
        line.append(f"  {behaviour['train_rows']} to train, {behaviour['eval_rows']} held out")
        line.append(f", {behaviour['grounded_rows']} grounded")
        parts += [line, _funnel(behaviour, min(40, width - 42), plain)]
        rules = ", ".join(f"{rule} {count}" for rule, count in behaviour["rules"].items() if count)
        parts += [Text(f"quarantined: {rules}", style="dim")] if rules else []
        parts += (
            [Text(behaviour["advice"], style="yellow")]
            if behaviour["verdict"] != "ready" and behaviour["advice"]
            else []
        )
    if audit := report["audit"]:
        volatile = f"{len(audit['volatile'])} of {figures.plural(audit['documents'], 'document')} volatile"
        parts.append(
            Text(f"audit: {volatile}, {figures.plural(audit['facts'], 'fact')} that may not be taught", style="dim")
        )
    return parts


def _funnel(behaviour: dict[str, Any], width: int, plain: bool) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    steps = figures.funnel(behaviour)
    most = max((rows for _, rows in steps), default=0) or 1
    for step, rows in steps:
        bar = ("#" if plain else "━") * round(width * rows / most)
        table.add_row(step, f"{rows:,}", Text(bar, style="blue"))
    return table


def _advice(advice: dict[str, Any] | None) -> list[RenderableType]:
    if advice is None:
        return ["not run"]
    parts: list[RenderableType] = []
    for each in advice["behaviours"]:
        parts.append(Text.assemble(each["behaviour"], " ", (each["recommendation"], "bold")))
        parts += [Text(f"- {reason}", style="dim") for reason in each["reasoning"]]
        parts += [Text(warning, style="yellow") for warning in each["warnings"]]
        parts += [] if each["train"] else [Text(f"training {each['training']}", style="yellow")]
    return parts


def _training(report: dict[str, Any], plain: bool) -> list[RenderableType]:
    parts: list[RenderableType] = [] if report["training"] else ["not run"]
    for record in report["training"]:
        parts.append(Text(f"{record['behaviour']}: {figures.training_line(record)}"))
        losses = [loss for _, loss in record["loss"]]
        if losses:
            curve = Text.assemble(
                f"loss {losses[0]:.2f} ", ("→" if plain else figures.sparkline(losses), "cyan"), f" {losses[-1]:.2f}"
            )
            if record["eval_loss"] is not None and record["eval_loss_base"] is not None:
                curve.append(f"   held out {record['eval_loss_base']:.2f} → {record['eval_loss']:.2f}")
            parts.append(curve)
    for record in report["merge"]:
        parts.append(Text(f"merge: {figures.merge_line(record)}"))
        parts += [] if record["skipped"] else [Text(figures.perplexity_line(record), style="dim")]
    return parts


def _index(report: dict[str, Any]) -> RenderableType:
    return Text(figures.index_line(report["index"])) if report["index"] else "not run"


def _estimates(rows: dict[str, dict[str, Any]], arms: list[str], width: int, plain: bool) -> Table:
    """One row per metric or category, one column per arm, the best in bold (starred where bold cannot be seen)."""
    table = _table(plain)
    table.add_column("", no_wrap=True, min_width=max(map(len, figures.METRICS.values())))
    for arm in arms:
        table.add_column(arm, justify="left" if width >= _NARROW else "right", no_wrap=True)
    for label, row in rows.items():
        best = figures.best(label, row)
        table.add_row(label, *[_cell(row.get(arm), arm in best, width < _NARROW, plain) for arm in arms])
    return table


def _cell(estimate: dict[str, Any] | None, best: bool, narrow: bool, plain: bool) -> Text:
    figure = (figures.mean(estimate) + ("*" if best and plain else ""), "bold green" if best else "")
    return Text.assemble(figure, "\n" if narrow else "  ", (figures.interval(estimate), "dim"))


def _gates(evaluation: dict[str, Any], plain: bool) -> Table:
    table = _table(plain)
    for name in ("gate", "", "value", "bound"):
        table.add_column(name, no_wrap=True)
    table.add_column("")
    for gate in evaluation["gates"]:
        state, (value, bound) = figures.gate_state(gate), figures.gate_values(gate)
        detail = Text(gate["detail"], style="red" if gate["passed"] is False else "dim")
        table.add_row(gate["name"], Text(state, style=_GATE[state]), value, bound, detail)
    return table


def _release(package: dict[str, Any] | None) -> RenderableType:
    if package is None:
        return "not packaged"
    if package["blocked"]:
        return Text(f"blocked: {package['blocked']}", style="red")
    return Text.assemble((package["tag"], "bold"), f"  {package['mode']}, {package['size_mib']:,.0f} MiB")


def _stages(stages: list[dict[str, Any]], plain: bool) -> Table:
    table = Table.grid(padding=(0, 2))
    longest = max((stage["seconds"] or 0 for stage in stages), default=0) or 1
    for stage in stages:
        took = "" if stage["seconds"] is None else figures.duration(stage["seconds"])
        bar = ("#" if plain else "━") * round(24 * (stage["seconds"] or 0) / longest)
        style = "" if stage["status"] == "ran" else "dim"
        table.add_row(
            Text(stage["name"], style=style), Text(took or stage["status"], style=style), Text(bar, style="blue")
        )
    total = sum(stage["seconds"] or 0 for stage in stages)
    table.add_row(Text("total", style="bold"), Text(figures.duration(total), style="bold"))
    return table


def _table(plain: bool) -> Table:
    return Table(
        box=None if plain else box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
    )
