"""The cost of each option over time: as text for a terminal, and as one SVG file that fetches nothing."""

from collections.abc import Sequence
from html import escape

from advisor.compare import Option
from advisor.prices import money

_COLOURS = ("#2f6fdb", "#c26a00", "#b3261e", "#0b8a63")


def text_plot(options: Sequence[Option], months: int, queries: float, width: int = 64, height: int = 14) -> str:
    """Dollars spent over months: a mark for each option, later ones over earlier where they meet."""
    top = _top(options, months, queries)
    rows = [[" "] * width for _ in range(height)]
    for option in options:
        for x in range(width):
            spent = option.spent(months * x / (width - 1), queries)
            rows[height - 1 - round(spent / top * (height - 1))][x] = option.mark
    labels = [money(top * (height - 1 - i) / (height - 1)) if i % 4 == 1 else "" for i in range(height)]
    lines = [f"{label:>12} |{''.join(row).rstrip()}" for label, row in zip(labels, rows, strict=True)]
    lines.append(f"{'':>12} +{'-' * width}")
    lines.append(f"{'':>14}month 0{f'month {months}':>{width - 7}}")
    lines.append(f"{'':>14}{'   '.join(f'{option.mark} {option.name}' for option in options)}")
    return "\n".join(lines) + "\n"


def svg_plot(options: Sequence[Option], months: int, queries: float) -> str:
    """The same as SVG. It has its own colours, light and dark."""
    left, right, upper, lower = 90, 560, 64, 330
    top = _top(options, months, queries)
    parts = []
    for quarter in range(5):
        y = lower - (lower - upper) * quarter / 4
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{money(top * quarter / 4)}</text>')
        x = left + (right - left) * quarter / 4
        parts.append(f'<text x="{x:.1f}" y="{lower + 20}" text-anchor="middle">month {months * quarter / 4:g}</text>')
    ends = _apart([lower - (lower - upper) * option.spent(months, queries) / top for option in options])
    for option, colour, end in zip(options, _COLOURS, ends, strict=True):
        y1, y2 = (lower - (lower - upper) * option.spent(month, queries) / top for month in (0, months))
        parts.append(
            f'<line stroke="{colour}" stroke-width="2.5" x1="{left}" y1="{y1:.1f}" x2="{right}" y2="{y2:.1f}"/>'
        )
        label = escape(f"{option.name} {money(option.spent(months, queries))}")
        parts.append(f'<text x="{right + 8}" y="{end + 4:.1f}" style="fill:{colour}">{label}</text>')
    title = f"Dollars spent over {months} months at {queries:,.0f} queries a month"
    style = (
        "text{font:13px system-ui,sans-serif;fill:#1b2330}.grid{stroke:#dfe3ea}"
        "@media(prefers-color-scheme:dark){text{fill:#e6eaf0}.grid{stroke:#2e3642}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 840 370" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title><style>{style}</style>{''.join(parts)}</svg>\n"
    )


def _top(options: Sequence[Option], months: int, queries: float) -> float:
    return max(option.spent(months, queries) for option in options) or 1.0


def _apart(ys: Sequence[float], room: float = 17) -> list[float]:
    """The heights of the labels, moved up where they would overlap."""
    placed: dict[int, float] = {}
    ceiling = float("inf")
    for i in sorted(range(len(ys)), key=lambda i: -ys[i]):
        ceiling = placed[i] = min(ys[i], ceiling - room)
    return [placed[i] for i in range(len(ys))]
