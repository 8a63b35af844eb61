"""What a verdict looks like to people: the quarantine, a table for spreadsheets, one screen, one page of Markdown."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from contracts.verdicts import ValidationVerdict
from validation.read import ANY, Row
from validation.rules import RULES, Findings


def quarantined(rows: Sequence[Row], findings: Findings) -> Iterator[dict[str, Any]]:
    """One entry for each row that is not teachable, in reading order, with every reason of the step that took it out."""
    yield from _entries(rows, {code: told for code, told in findings.reasons.items() if code not in findings.warn})


def warned(rows: Sequence[Row], findings: Findings) -> Iterator[dict[str, Any]]:
    """One entry for each row that a rule of validation.warn found something in."""
    yield from _entries(rows, {code: told for code, told in findings.reasons.items() if code in findings.warn})


def _entries(rows: Sequence[Row], reasons: dict[str, pd.Series]) -> Iterator[dict[str, Any]]:
    told: dict[int, list[tuple[str, str]]] = {}
    for code, series in reasons.items():
        for index, reason in series.items():
            told.setdefault(int(index), []).append((code, reason))  # type: ignore[call-overload]
    for index, broken in sorted(told.items()):
        row = rows[index]
        (rule, reason), *others = broken
        yield {
            "id": row.id,
            "file": row.file,
            "line": row.line,
            "rule": rule,
            "reason": "; ".join([reason, *(f"{code}: {why}" for code, why in others)]),
            "advice": RULES[rule].advice,
            "row": _writable(row.raw),
        }


def _writable(raw: dict[str, Any] | None) -> Any:
    """The row as it was read, as far as UTF-8 JSON can say it: half characters and other types become text."""
    text = json.dumps(raw, ensure_ascii=False, default=str)
    return json.loads(text.encode("utf-8", "replace"))


def as_csv(quarantine: Sequence[dict[str, Any]], warnings: Sequence[dict[str, Any]]) -> str:
    """Both lists as one CSV, with the mark by which spreadsheets know UTF-8.

    A cell that they would take for a formula gets an apostrophe.
    """
    stream = io.StringIO()
    stream.write("\ufeff")
    table = csv.writer(stream, lineterminator="\r\n")
    table.writerow(["what", "file", "line", "id", "rule", "reason", "advice", "row"])
    for what, entries in (("quarantined", quarantine), ("warning", warnings)):
        for entry in entries:
            shown = json.dumps(entry["row"], ensure_ascii=False)
            cells = [what, *(entry[key] for key in ("file", "line", "id", "rule", "reason", "advice")), shown]
            table.writerow([f"'{cell}" if str(cell)[:1] in "=+-@\t\r" and cell != "" else cell for cell in cells])
    return stream.getvalue()


def print_summary(verdict: ValidationVerdict, where: str = "reports/validation") -> None:
    """One screen: funnel, rules and advice of each behaviour; a table on a terminal, plain lines elsewhere."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for each in verdict.behaviours:
        title = f"{'pairs' if each.behaviour == ANY else f'pairs of {each.behaviour}'}: {each.verdict}"
        caught = {code: count for code, count in each.rules.items() if count}
        caught |= {f"{code} (warns)": count for code, count in each.warnings.items() if count}
        if console.is_terminal:
            table = Table("left after", "rows", "caught by rule", "rows", title=title)
            for funnel, rule in zip_longest(each.funnel.items(), caught.items(), fillvalue=("", "")):
                table.add_row(*map(str, (*funnel, *rule)))
            console.print(table)
        else:
            console.print(title)
            console.print("  left after: " + " → ".join(f"{step} {rows}" for step, rows in each.funnel.items()))
            console.print(
                "  caught by rule: " + (", ".join(f"{code} {rows}" for code, rows in caught.items()) or "none")
            )
        console.print(
            f"  {each.train_rows} to train, {each.eval_rows} held out; {each.grounded_rows} of these are grounded"
        )
        console.print(f"  {each.advice}")
    if where:
        console.print(f"  quarantined rows with their reasons: {where}/quarantine.jsonl; for a browser: {where}/docs")


def markdown(verdict: ValidationVerdict) -> str:
    """The verdict as one page of Markdown, for a Prefect artifact or a pull request."""
    lines = ["# May this be taught?", ""]
    for each in verdict.behaviours:
        lines += [f"## {each.behaviour}: {each.verdict}", "", each.advice, "", "| left after | rows |", "|---|---:|"]
        lines += [f"| {step} | {rows} |" for step, rows in each.funnel.items()]
        found = [(code, count, "quarantined") for code, count in each.rules.items() if count]
        found += [(code, count, "warned") for code, count in each.warnings.items() if count]
        if found:
            lines += ["", "| rule | rows | | asks |", "|---|---:|---|---|"]
            lines += [f"| {code} | {count} | {what} | {RULES[code].description} |" for code, count, what in found]
        lines += ["", f"{each.train_rows} to train, {each.eval_rows} held out; {each.grounded_rows} are grounded.", ""]
    return "\n".join(lines)
