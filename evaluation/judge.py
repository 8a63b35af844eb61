"""From the scores of single answers to figures with intervals: by arm, by category, and arm against arm."""

from collections.abc import Sequence

from contracts.pairs import Question
from contracts.verdicts import Estimate
from evaluation import intervals

# One answer's metrics by name, as evaluation.metrics.score gives them; below always by arm, in the questions' order.
Scores = dict[str, float | None]


def by_arm(
    scores: dict[str, list[Scores]], seconds: dict[str, list[float]], draws: int, seed: int
) -> dict[str, dict[str, Estimate]]:
    """Arm → metric → estimate. `seconds` are the timed answers of each arm; they give `median_latency_seconds`."""
    return {
        arm: {name: intervals.share([row[name] for row in rows], draws, seed) for name in rows[0]}
        | {"median_latency_seconds": intervals.median(seconds[arm], draws, seed)}
        for arm, rows in scores.items()
    }


def by_category(
    questions: Sequence[Question], scores: dict[str, list[Scores]], draws: int, seed: int
) -> dict[str, dict[str, Estimate]]:
    """Category → arm → task success."""
    table: dict[str, dict[str, Estimate]] = {}
    for category in dict.fromkeys(question.category for question in questions):
        members = [i for i, question in enumerate(questions) if question.category == category]
        table[category] = {
            arm: intervals.share([rows[i]["task_success"] for i in members], draws, seed)
            for arm, rows in scores.items()
        }
    return table


def differences(scores: dict[str, list[Scores]], draws: int, seed: int) -> dict[str, Estimate]:
    """Hybrid's task success minus that of each half which was asked, question by question."""
    if "hybrid" not in scores:
        return {}
    success = {arm: [row["task_success"] or 0.0 for row in rows] for arm, rows in scores.items()}
    return {
        f"hybrid-{half}": intervals.difference(success["hybrid"], success[half], draws, seed)
        for half in ("rag", "tuned")
        if half in success
    }
