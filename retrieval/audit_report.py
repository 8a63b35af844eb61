"""An audit for people: tables for a terminal, and a plot of when everything changed that fetches nothing."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from markupsafe import Markup
from rich.console import Console
from rich.table import Table
from rich.text import Text

from contracts.errors import InputError
from contracts.files import write_text
from contracts.verdicts import AuditVerdict, DocumentAudit, SectionAudit, SourceAudit

_MONTHLY = 1.0  # changes a month
_KINDS = 3
_LEFT, _RIGHT, _WIDTH, _ROW = 300, 880, 980, 20

_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1b2330}.grid{stroke:#dfe3ea}.axis{fill:#5b6575;font-size:12px}"
    ".part{font-size:12px}.life{stroke:#c3c9d4;stroke-width:2}.volatile{fill:#c26a00}.stable{fill:#0b8a63}"
    "@media(prefers-color-scheme:dark){text{fill:#e6eaf0}.grid{stroke:#2e3642}.axis{fill:#9aa5b5}"
    ".life{stroke:#4a5464}.volatile{fill:#f0a04b}.stable{fill:#4cc79a}}"
)
_PAGE = (
    '<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>{}</title><style>body{{margin:2rem auto;max-width:62rem;padding:0 1rem;color-scheme:light dark}}</style>"
    "<body>{}</body></html>\n"
)


def print_audit(verdict: AuditVerdict, console: Console, every: bool = False) -> None:
    """Which source on which schedule, which document moves how often, and the sections that move.

    Without `every`, stable documents are counted, and a document's sections are told from its second change on.
    """
    console.print(_sources(verdict.sources))
    moving = [entry for entry in _by_movement(verdict.documents) if every or entry.volatile]
    if moving:
        console.print(_documents(moving, every))
    stable = sum(not entry.volatile for entry in verdict.documents)
    console.print(
        f"{len(verdict.documents) - stable} volatile: retrieve them, and teach none of their {len(verdict.facts)} facts."
        f" {stable} stable: what they say may be taught."
    )


def _sources(sources: Sequence[SourceAudit]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("source", "past from", "observed", "documents", "volatile", "changes every", "retrieve on"):
        table.add_column(head, justify="right" if head in ("documents", "volatile", "changes every") else "left")
    for entry in sources:
        table.add_row(
            entry.source,
            entry.history if entry.history != "none" else "nowhere",
            f"{entry.since} to {entry.until}" if entry.since else "never",
            str(entry.documents),
            str(entry.volatile),
            _days(entry.days_between_changes),
            entry.refresh or "unknown",
        )
    return table


def _documents(entries: Sequence[DocumentAudit], every: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("document and section", overflow="fold")
    table.add_column("changes", justify="right")
    table.add_column("a month", justify="right")
    table.add_column("last")
    table.add_column("facts that moved")
    table.add_column("verdict")
    for entry in entries:
        table.add_row(entry.document, *_row(entry), _verdict(entry))
        for section in entry.sections:
            if every or section.changes > 1:
                table.add_row(f"  {section.heading or '(above the first heading)'}", *_row(section), _verdict(section))
    return table


def _row(entry: DocumentAudit | SectionAudit) -> tuple[str, str, str, str]:
    kinds = [f"{count} {kind}" for kind, count in list(entry.kinds.items())[:_KINDS]]
    more = ", …" if len(entry.kinds) > _KINDS else ""
    last = entry.changed_at[-1] if entry.changed_at else ""
    return str(entry.changes), f"{entry.changes_per_month:.2f}", last, ", ".join(kinds) + more


def _verdict(entry: DocumentAudit | SectionAudit) -> Text:
    if not entry.volatile:
        return Text("stable", style="green")
    return Text("more than monthly" if entry.changes_per_month > _MONTHLY else "volatile", style="yellow")


def _by_movement(entries: Sequence[DocumentAudit]) -> list[DocumentAudit]:
    return sorted(entries, key=lambda entry: (-entry.changes_per_month, not entry.volatile, entry.document))


def _days(days: float | None) -> str:
    return "unknown" if days is None else f"{days:.1f} days"


def write_plot(verdict: AuditVerdict, path: Path) -> None:
    """Write the plot as `.svg`, or as a page of its own (`.html`).

    Raises:
        InputError: the name ends in something else.
    """
    if path.suffix not in (".svg", ".html"):
        raise InputError(f"--plot {path}: the plot is written as .svg or .html: name it so")
    drawn = plot(verdict)
    write_text(path, drawn + "\n" if path.suffix == ".svg" else Markup(_PAGE).format("Volatility audit", drawn))


def plot(verdict: AuditVerdict) -> Markup:
    """When each document changed, and below it each section that did: a mark for every change, over the time observed."""
    first = date.fromisoformat(verdict.since) if verdict.since else date(1970, 1, 1)
    last = date.fromisoformat(verdict.until) if verdict.until else first
    days = max((last - first).days, 1)
    parts: list[Markup] = []
    y = 50
    for entry in _by_movement(verdict.documents):
        parts += _line(entry.document, entry, y, first, days, "")
        y += _ROW
        for section in entry.sections if len(entry.sections) > 1 else ():
            if section.changes:
                parts += _line(section.heading or "(above the first heading)", section, y, first, days, "part")
                y += _ROW
    grid = []
    for quarter in range(5):
        x = _LEFT + (_RIGHT - _LEFT) * quarter / 4
        day = (first + timedelta(days=round(days * quarter / 4))).isoformat() if verdict.since else ""
        grid.append(Markup('<line class="grid" x1="{0}" y1="44" x2="{0}" y2="{1}"/>').format(x, y))
        grid.append(_text(x, 36, day, "axis", "middle"))
    volatile = sum(entry.volatile for entry in verdict.documents)
    title = f"Changes of {len(verdict.documents)} documents, {volatile} of them volatile"
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {} {}" aria-label="{}"><title>{}</title>'
        "<style>{}</style>{}{}{}</svg>"
    ).format(
        _WIDTH, y + 20, title, title, Markup(_STYLE), _text(0, 16, title), Markup("").join(grid), Markup("").join(parts)
    )


def _line(name: str, entry: DocumentAudit | SectionAudit, y: int, first: date, days: int, css: str) -> list[Markup]:
    kind = "volatile" if entry.volatile else "stable"
    shown = name if len(name) <= 42 else f"…{name[-41:]}"
    parts = [_text(14 if css else 0, y + 14, shown, css)]
    parts.append(Markup('<line class="life" x1="{0}" y1="{2}" x2="{1}" y2="{2}"/>').format(_LEFT, _RIGHT, y + 10))
    for moment in entry.changed_at:
        x = _LEFT + (_RIGHT - _LEFT) * (date.fromisoformat(moment) - first).days / days
        parts.append(
            Markup('<circle class="{}" cx="{:.1f}" cy="{}" r="4"><title>{} {}</title></circle>').format(
                kind, x, y + 10, name, moment
            )
        )
    parts.append(_text(_RIGHT + 12, y + 14, f"{entry.changes} {kind}", f"axis {css}"))
    return parts


def _text(x: float, y: float, text: str, css: str = "", anchor: str = "start") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(css, x, y, anchor, text)
