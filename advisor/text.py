"""What the advisor says, as plain text. The layout is pinned by tests."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from advisor import checklist
from advisor.compare import PARTS, Option, break_even
from advisor.plot import text_plot
from advisor.prices import money
from advisor.signals import Score
from contracts.verdicts import BehaviourAdvice, Flip


def analysis(
    recommendation: str,
    reasoning: Iterable[str],
    warnings: Iterable[str],
    monthly: Mapping[str, float],
    one_time: float,
    flips: Sequence[Flip],
) -> str:
    """A recommendation with its reasons, its cost, and what would change it."""
    lines = [f"RECOMMENDATION: {recommendation}", "", "Reasoning:", *(f"- {reason}" for reason in reasoning), ""]
    for warning in warnings:
        lines += [warning, ""]
    lines.append(f"Estimated Monthly Cost: {money(sum(monthly.values()))}")
    lines += [f"- {line}: {money(dollars)}" for line, dollars in monthly.items()]
    if one_time:
        lines[-1] += f" (one-time: {money(one_time)})"
    lines += ["", "What would change this:"]
    lines += [f"- {flip.change} → {flip.to}" for flip in flips if flip.to]
    if rest := [flip.name for flip in flips if not flip.to]:
        lines.append(f"- not by themselves: {', '.join(rest)}")
    return "\n".join(lines) + "\n"


def project(each: BehaviourAdvice) -> str:
    """One behaviour of a project: the evidence, the analysis, and what becomes of training."""
    names = max(len(row.name) for row in each.evidence)
    values = max(len(row.value) for row in each.evidence)
    lines = [f"Evidence for {each.behaviour}:"]
    lines += [f"- {row.name:{names}}  {row.value:{values}}  {row.source}" for row in each.evidence]
    said = analysis(each.recommendation, each.reasoning, each.warnings, each.monthly, each.one_time, each.flips)
    return "\n".join(lines) + f"\n\n{said}\nTraining {each.training}\n"


def questions() -> str:
    """The nine questions and the ten points, for somebody who answers them later."""
    lines = ["Nine questions:"]
    for n, question in enumerate(checklist.QUESTIONS, start=1):
        lines.append(f"{n:>3}. {question.text:64} {'yes' if question.on else 'no ':3} → {question.tier}")
    lines += ["", "Ten points before fine-tuning:"]
    lines += [f"{n:>3}. {point}" for n, point in enumerate(checklist.POINTS, start=1)]
    return "\n".join(lines) + "\n"


def tier(found: checklist.Tier) -> str:
    """Where the nine answers lead."""
    lines = [f"RECOMMENDATION: {found.recommendation}", "", f"Decided by {found.reason}"]
    lines += [f"All that led somewhere: {', '.join(map(str, found.fired))}"] if found.fired else []
    lines += ["", f"CONFLICT: {found.warning}"] if found.warning else []
    return "\n".join(lines) + "\n"


def points(still: Sequence[int], recommendation: str) -> str:
    """What is open of the ten points."""
    spared = checklist.NOT_FOR_HYBRID if recommendation == checklist.HYBRID else ()
    asked = len(checklist.POINTS) - len(spared)
    lines = [f"Before fine-tuning: {asked - len(still)} of {asked} points stand{'' if still else ', go ahead'}"]
    lines += [f"- open: {n}. {checklist.POINTS[n - 1]}" for n in still]
    if spared:
        lines.append(f"- not asked of a hybrid, which retrieves what moves: {', '.join(map(str, spared))}")
    return "\n".join(lines) + "\n"


def signals(score: Score) -> str:
    """Six signals, side by side."""
    lines = [f"{'signal':18} {'for retrieval':26} {'for training':28} point"]
    lines += [f"{s.name:18} {s.retrieval:26} {s.training:28} {s.side}" for s in score.signals]
    lines += ["", f"retrieval {score.retrieval}, training {score.training} of {len(score.signals)}"]
    return "\n".join([*lines, f"RECOMMENDATION: {score.recommendation}"]) + "\n"


def comparison(options: Sequence[Option], months: int, queries: int, dated: str) -> str:
    """Totals, break-even points, and the costs over time."""
    lines = [f"Over {months} months at {queries:,} queries a month, list prices of {dated}:", ""]
    lines.append(f"{'':21}" + "".join(f"{name:>12}" for name in (*PARTS, "total")))
    for option in options:
        figures = [*option.parts(months, queries).values(), option.spent(months, queries)]
        lines.append(f"{option.name:21}" + "".join(f"{money(dollars):>12}" for dollars in figures))
    cheapest = min(options, key=lambda option: option.spent(months, queries))
    lines += ["", f"Cheapest here: {cheapest.name}", "", "Break-even points:"]
    lines += [f"- {a.name} and {b.name}: {_break_even(a, b, months, queries)}" for a, b in combinations(options, 2)]
    return "\n".join(lines) + "\n\n" + text_plot(options, months, queries)


def _break_even(first: Option, second: Option, months: int, queries: int) -> str:
    found = break_even(first, second, months, queries)
    parts = []
    if found.month is not None:
        parts.append(f"month {found.month:,.1f} at this volume, then {found.later} is cheaper")
    if found.queries is not None:
        parts.append(f"{found.queries:,.0f} queries a month over {months} months, above that {found.high} is cheaper")
    cheaper = min(first, second, key=lambda option: option.spent(months, queries))
    return "; ".join(parts) or f"none, {cheaper.name} is always cheaper"
