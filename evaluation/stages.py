"""The stage `evaluate`: every arm on the golden questions, judged, with intervals and gates."""

import csv
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from contracts import paths
from contracts.answers import Answer, Route
from contracts.errors import ParamsError, StoreError
from contracts.files import content_hash, read_json, write_json, write_jsonl, write_text
from contracts.pairs import Question
from contracts.params import Params
from contracts.verdicts import Estimate, EvaluationVerdict, IndexRecord, MergeRecord, TrainingRecord
from evaluation import judge
from evaluation.arms import Arms, ProjectArms, ask
from evaluation.gates import apply_gates
from evaluation.metrics import score
from evaluation.questions import read_questions, spread

VERDICT = paths.EVALUATION / "evaluation.json"
ANSWERS = paths.EVALUATION / "answers.jsonl"
ARMS_CSV = paths.EVALUATION / "arms.csv"
CATEGORIES_CSV = paths.EVALUATION / "categories.csv"
WORK = paths.STATE / "evaluation"

_ORDER: tuple[Route, ...] = ("base", "rag", "tuned", "hybrid")  # each model is loaded once


def evaluate(params: Params, arms: Arms | None = None) -> EvaluationVerdict:
    """Ask, judge, gate; write reports/evaluation/. A failed gate is in the verdict, it is no error.

    `arms` are opened from the project's models and index unless given. Without a merged model the mode is rag-only.

    Raises:
        DataError: golden questions are broken, or a stage before this one has not run.
        ParamsError: the arm that would ship is not among evaluation.arms.
        StoreError: the documents no longer are those of reports/index.json.
    """
    settings, console = params.evaluation, Console()
    questions = spread(read_questions(Path(settings.golden)), settings.max_questions)
    merge = MergeRecord.model_validate(read_json(paths.merged(params.assistant.behaviour) / "merge.json"))
    shipped: Literal["rag", "hybrid"] = "rag" if merge.skipped else "hybrid"
    names: list[Route] = [a for a in _ORDER if a in settings.arms and (a in ("base", "rag") or not merge.skipped)]
    if shipped not in names:
        raise ParamsError(f"evaluation.arms in params.yaml lacks `{shipped}`, the arm that would ship: add it")
    record = IndexRecord.model_validate(read_json(paths.INDEX))
    _warn_of_lost_documents(questions, record, Path(settings.golden), console)

    arms = arms or _project_arms(params, record)
    asked = params.evaluation.model_dump(exclude={"gates", "bootstrap"})
    work = WORK / content_hash([arms.inputs, asked, [q.model_dump() for q in questions]])[:16]
    journal = ask(arms, names, questions, settings, work, console)

    pattern = params.pairs[params.assistant.behaviour].format
    scores: dict[str, list[judge.Scores]] = {
        arm: [score(q, journal.answers[arm, q.id], pattern) for q in questions] for arm in names
    }
    seconds: dict[str, list[float]] = {
        arm: [value for (timed, _), value in journal.seconds.items() if timed == arm] for arm in names
    }
    draws, seed = settings.bootstrap, params.seed
    metrics, differences = judge.by_arm(scores, seconds, draws, seed), judge.differences(scores, draws, seed)
    gates = apply_gates(settings.gates, shipped, metrics[shipped], differences, bool(pattern))
    verdict = EvaluationVerdict(
        mode="rag-only" if merge.skipped else "hybrid",
        arm=shipped,
        reason=merge.skipped or "the merged model passed its proof",
        arms=metrics,
        by_category=judge.by_category(questions, scores, draws, seed),
        differences=differences,
        gates=gates,
        passed=all(gate.passed is not False for gate in gates),
        index_content=record.content,
        eval_loss=_held_out_loss(params.assistant.behaviour),
    )
    _write(verdict, questions, scores, journal.answers)
    shutil.rmtree(WORK)
    return verdict


def live_retriever(params: Params, record: IndexRecord) -> Any:
    """The live store, opened; reconciled first when it does not hold what `record` (reports/index.json) says.

    Raises:
        StoreError: the documents changed since `record` was made, so that no store can hold its content.
    """
    from retrieval.index import reindex

    retriever = _opened(params)
    if retriever is None or retriever.content != record.content:
        reindex(params)
        retriever = _opened(params)
    if retriever is None or retriever.content != record.content:
        raise StoreError(
            f"the live index holds other documents than {paths.INDEX}: run `freshtune retrain` to index them"
        )
    return retriever


def _opened(params: Params) -> Any:
    from retrieval.search import Retriever

    try:
        return Retriever.open(params.retrieval, paths.STORE, params.dtype)
    except StoreError:
        return None  # there is no store yet, or one of other settings


def _project_arms(params: Params, record: IndexRecord) -> Arms:
    from assistant.release import pick_examples

    return ProjectArms(params, live_retriever(params, record), record.content, pick_examples(params))


def _warn_of_lost_documents(questions: Sequence[Question], record: IndexRecord, golden: Path, console: Console) -> None:
    for question in questions:
        if lost := [d for d in question.documents if d not in record.records]:
            message = (
                f"warning: question {question.id} of {golden} is supported by {', '.join(lost)}, which the index"
                " does not hold, so no citation of it can be correct: name the document that holds its facts now"
            )
            console.print(message, style="yellow", highlight=False, markup=False, soft_wrap=True)


def _held_out_loss(behaviour: str) -> dict[str, float]:
    """Loss per token on the held-out pairs as training measured it, without and with the adapter."""
    record = TrainingRecord.model_validate(read_json(paths.adapter(behaviour) / "training.json"))
    losses = {"base": record.eval_loss_base, "tuned": record.eval_loss}
    return {name: loss for name, loss in losses.items() if loss is not None}


def _write(
    verdict: EvaluationVerdict,
    questions: Sequence[Question],
    scores: dict[str, list[judge.Scores]],
    answers: dict[tuple[str, str], Answer],
) -> None:
    """The verdict last: a reader that sees it sees the rest. Timings of batched answers mean nothing and stay out."""
    rows = []
    for i, question in enumerate(questions):
        for arm in scores:
            answer = answers[arm, question.id].model_dump(exclude={"timings"})
            rows.append({**question.model_dump(), "arm": arm, "answer": answer, "scores": scores[arm][i]})
    write_jsonl(ANSWERS, rows)
    _write_csv(ARMS_CSV, ("arm", "metric"), verdict.arms)
    _write_csv(CATEGORIES_CSV, ("category", "arm"), verdict.by_category)
    write_json(VERDICT, verdict.model_dump())


def _write_csv(path: Path, keys: tuple[str, str], table: dict[str, dict[str, Estimate]]) -> None:
    """For `dvc plots`; what was not measured is left out."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*keys, "mean", "low", "high"])
    for first, row in table.items():
        writer.writerows([first, second, e.mean, e.low, e.high] for second, e in row.items() if e.mean is not None)
    write_text(path, text.getvalue())
