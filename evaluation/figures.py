"""How figures are put into words, the same on the terminal, in Markdown and in HTML."""

from collections.abc import Mapping
from typing import Any

ARMS = ("base", "rag", "tuned", "hybrid")
ARM_MEANING = {
    "base": "base model alone",
    "rag": "base model + passages",
    "tuned": "tuned model alone",
    "hybrid": "tuned model + passages",
}
METRICS = {
    "task_success": "task success",
    "fact_recall": "facts stated",
    "format": "house format",
    "grounded_numbers": "numbers grounded",
    "citation_correct": "citations correct",
    "retrieval_recall": "retrieval recall",
    "overlap": "overlap with reference",
    "median_latency_seconds": "latency, median s",
}
LATENCY = METRICS["median_latency_seconds"]  # the only row where less is better
MISSING = "\u2013"

# One estimate as it stands in a report: the dump of contracts.verdicts.Estimate.
Estimate = Mapping[str, Any]
_SPARKS = "▁▂▃▄▅▆▇█"


def arms_of(evaluation: Mapping[str, Any]) -> list[str]:
    """The arms that were asked, in the usual order."""
    return [arm for arm in ARMS if arm in evaluation["arms"]]


def metric_rows(evaluation: Mapping[str, Any]) -> dict[str, dict[str, Estimate]]:
    """Label → arm → estimate, of the metrics that some arm has a figure for, in the usual order."""
    rows = {label: {arm: evaluation["arms"][arm][m] for arm in arms_of(evaluation)} for m, label in METRICS.items()}
    return {label: row for label, row in rows.items() if any(e["mean"] is not None for e in row.values())}


def mean(estimate: Estimate | None) -> str:
    """The figure alone, two decimals."""
    return MISSING if not estimate or estimate["mean"] is None else f"{estimate['mean']:.2f}"


def interval(estimate: Estimate | None) -> str:
    """Its 95% interval, or an empty string."""
    return "" if not estimate or estimate["low"] is None else f"{estimate['low']:.2f}\u2013{estimate['high']:.2f}"


def best(label: str, row: Mapping[str, Estimate]) -> set[str]:
    """The arms with the best mean as printed; none when all print the same."""
    printed = {arm: round(e["mean"], 2) for arm, e in row.items() if e["mean"] is not None}
    if len(set(printed.values())) < 2:
        return set()
    top = min(printed.values()) if label == LATENCY else max(printed.values())
    return {arm for arm, value in printed.items() if value == top}


def funnel(behaviour: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Steps and the rows left after each, in order, as they are read."""
    return [(step.replace("_", " "), rows) for step, rows in behaviour["funnel"].items()]


def sparkline(values: list[float], width: int = 32) -> str:
    """A curve as a row of blocks; a long one is averaged down to `width` of them."""
    if not values:
        return ""
    size = max(1, -(-len(values) // width))
    means = [sum(part) / len(part) for part in (values[i : i + size] for i in range(0, len(values), size))]
    low, high = min(means), max(means)
    return "".join(_SPARKS[round((v - low) / (high - low) * 7) if high > low else 0] for v in means)


def duration(seconds: float) -> str:
    """ "0.4 s", "12 s", "3 min 05 s"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def plural(count: int, noun: str) -> str:
    """ "1 pair", "2,400 pairs"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def training_line(record: Mapping[str, Any]) -> str:
    """What one training run was, in one line."""
    if record["skipped"]:
        return f"skipped: {record['skipped']}"
    parts = [
        f"{record['backend']}, {record['compute_dtype']}",
        plural(record["rows"], "pair"),
        plural(record["steps"], "step"),
    ]
    parts += [
        plural(record["tokens"], "token"),
        f"{record['trainable_share']:.1%} of the weights",
        duration(record["seconds"]),
    ]
    if preferences := record["preferences"]:
        parts.append(f"DPO on {plural(preferences['rows'], 'preference')}")
    parts += [record["stopped"]] if record["stopped"] else []
    return " · ".join(parts)


def merge_line(record: Mapping[str, Any]) -> str:
    """The proof of the merge, in one line."""
    if record["skipped"]:
        return f"skipped: {record['skipped']}"
    return (
        f"merged ≈ adapter (largest logit difference {record['logit_difference']:.2g}, argmax equal on"
        f" {record['argmax_agreement']:.1%}), ≠ base ({record['difference_from_base']:.2g})"
    )


def perplexity_line(record: Mapping[str, Any]) -> str:
    """Perplexity of the three models on the held-out pairs."""
    three = ("base", "adapter", "merged")
    return "perplexity " + " · ".join(f"{name} {record[f'perplexity_{name}']:.2f}" for name in three)


def index_line(index: Mapping[str, Any]) -> str:
    """What the index holds, in one line."""
    embedder = index["fingerprint"].get("embedder", "")
    return f"{plural(index['documents'], 'document')}, {plural(index['chunks'], 'chunk')} · {embedder}"


def gate_values(gate: Mapping[str, Any]) -> tuple[str, str]:
    """A gate's value and its bound, with the sign that must hold between them."""
    value = MISSING if gate["value"] is None else f"{gate['value']:.2f}"
    if gate["bound"] is None:
        return value, MISSING
    sign = "≤" if gate["name"] == "max_latency_seconds" else "≥"
    return value, f"{sign} {gate['bound']:g}"


def gate_state(gate: Mapping[str, Any]) -> str:
    """pass, FAIL or n/a."""
    return {True: "pass", False: "FAIL", None: "n/a"}[gate["passed"]]
