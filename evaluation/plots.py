"""Plots as inline SVG: colours come from the page's style sheet (light and dark), text is escaped, each has a title."""

from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup

from evaluation.figures import Estimate

_WIDTH = 720
_LABELS = 170  # columns kept for labels at the left


def bars(title: str, rows: Sequence[tuple[str, int]]) -> Markup:
    """Horizontal bars with their counts: the funnel of the pairs."""
    most = max((count for _, count in rows), default=0) or 1
    room = _WIDTH - _LABELS - 70
    parts = []
    for i, (label, count) in enumerate(rows):
        y, length = 26 * i, room * count / most
        parts.append(_text(_LABELS - 12, y + 17, label, anchor="end"))
        parts.append(
            Markup('<rect class="bar" x="{}" y="{}" width="{:.1f}" height="18" rx="3"/>').format(_LABELS, y + 4, length)
        )
        parts.append(_text(_LABELS + length + 8, y + 17, f"{count:,}", "figure"))
    summary = ", ".join(f"{label} {count}" for label, count in rows)
    return _svg(title, summary, 26 * len(rows) + 6, parts)


def curve(title: str, points: Sequence[tuple[int, float]], dots: Sequence[tuple[int, float]] = ()) -> Markup:
    """A line over steps from zero up, and dots beside it: the training loss and the held-out one."""
    left, top, right, bottom = 48, 12, _WIDTH - 40, 190
    ceiling = _round_up(max(value for _, value in (*points, *dots)))
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)
    parts = []
    for quarter in range(5):
        y = bottom - (bottom - top) * quarter / 4
        parts.append(_line(left, y, right, y, "grid"))
        parts.append(_text(left - 8, y + 4, f"{ceiling * quarter / 4:.2g}", "axis", "end"))
    for step in (first, (first + last) // 2, last):
        x = left + (right - left) * (step - first) / (last - first)
        parts.append(_text(x, bottom + 20, f"step {step}", "axis", "middle"))

    def place(step: int, value: float) -> tuple[str, str]:
        x = left + (right - left) * max(0, step - first) / (last - first)
        return f"{x:.1f}", f"{bottom - (bottom - top) * value / ceiling:.1f}"

    path = " ".join(",".join(place(step, value)) for step, value in points)
    parts.append(Markup('<polyline class="curve" points="{}"/>').format(path))
    summary = f"from {points[0][1]:.2f} at step {first} to {points[-1][1]:.2f} at step {points[-1][0]}"
    for step, value in dots:
        at = place(step, value)
        dot = '<circle class="dot held-out" cx="{}" cy="{}" r="5"><title>held out, step {}: {:.2f}</title></circle>'
        parts.append(Markup(dot).format(*at, step, value))
    if dots:
        summary += f"; held out (dots) from {dots[0][1]:.2f} to {dots[-1][1]:.2f}"
    return _svg(title, summary, bottom + 30, parts)


def forest(title: str, rows: Mapping[str, Mapping[str, Estimate]], arms: Sequence[str]) -> Markup:
    """Shares from 0 to 1 as dots with their 95% intervals: one band per row, one line in it per arm."""
    left, right, line = _LABELS, _WIDTH - 60, 15
    band = line * len(arms) + 14
    height = band * len(rows)
    parts = [_line(left + (right - left) * t / 4, 0, left + (right - left) * t / 4, height, "grid") for t in range(5)]
    parts += [_text(left + (right - left) * t / 4, height + 18, f"{t / 4:g}", "axis", "middle") for t in range(5)]
    for i, (label, row) in enumerate(rows.items()):
        if i:
            parts.append(_line(0, band * i, right, band * i, "grid"))
        parts.append(_text(0, band * i + band / 2 + 4, label))
        for j, arm in enumerate(arms):
            parts += _dot(row.get(arm), arm, band * i + 7 + line * (j + 0.5), left, right - left)
    summary = "; ".join(
        f"{label}: " + ", ".join(f"{arm} {_said(row.get(arm))}" for arm in arms) for label, row in rows.items()
    )
    return _svg(title, summary, height + 28, parts)


def _dot(estimate: Estimate | None, arm: str, y: float, left: float, room: float) -> Iterable[Markup]:
    if not estimate or estimate["mean"] is None:
        return
    x = left + room * estimate["mean"]
    if estimate["low"] is not None:
        yield _line(left + room * estimate["low"], y, left + room * estimate["high"], y, f"whisker {arm}")
    yield Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="5"><title>{} {}</title></circle>').format(
        arm, x, y, arm, _said(estimate)
    )
    yield _text(left + room + 12, y + 4, f"{estimate['mean']:.2f}", "axis")


def _said(estimate: Estimate | None) -> str:
    if not estimate or estimate["mean"] is None:
        return "not measured"
    interval = "" if estimate["low"] is None else f" ({estimate['low']:.2f} to {estimate['high']:.2f})"
    return f"{estimate['mean']:.2f}{interval}"


def _svg(title: str, summary: str, height: float, parts: Iterable[Markup]) -> Markup:
    return Markup(
        '<svg role="img" viewBox="0 0 {} {:.0f}" aria-label="{}: {}"><title>{}</title>{}</svg>'
    ).format(_WIDTH, height, title, summary, title, Markup("").join(parts))  # fmt: skip


def _text(x: float, y: float, text: str, css: str = "label", anchor: str = "start") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(css, x, y, anchor, text)


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(css, x1, y1, x2, y2)


def _round_up(value: float) -> float:
    """The next 1, 2, 4 or 5 times a power of ten: an axis with readable quarters."""
    power = 1e-6
    while power * 10 < value:
        power *= 10
    return next((power * step for step in (1, 2, 4, 5, 10) if power * step >= value), 1.0)
