"""The stage `validate`: pairs in, the rows that may be taught out, and a verdict that says why."""

import json
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from contracts import paths
from contracts.errors import DataError
from contracts.files import read_json, read_jsonl, write_json, write_jsonl, write_text
from contracts.pairs import Question
from contracts.params import Params
from contracts.verdicts import AuditVerdict, BehaviourVerdict, ValidationVerdict, VolatileFact
from validation.frame import normalise, to_frame
from validation.read import Row, read_pairs
from validation.rules import STEPS, Context, Findings, judge
from validation.split import held_out
from validation.suite import Record, run_suite
from validation.verdict import behaviour_verdict, thresholds

QUARANTINE = paths.VALIDATION / "quarantine.jsonl"
EXPECTATIONS = paths.VALIDATION / "expectations.json"
MOST_EXAMPLES = 8  # as many as assistant.few_shot takes


def validate(params: Params) -> ValidationVerdict:
    """Judge the pairs of every behaviour.

    Reads the pairs, reports/audit.json and the golden questions. Writes data/validated/<behaviour>/train.jsonl and
    eval.jsonl (canonical pairs in the order of their ids; both empty when the behaviour is refused, unless
    training.force), and below reports/validation/ verdict.json, quarantine.jsonl (one line per row, with the first
    rule it broke and every reason of that step), expectations.json, the record of Great Expectations, and
    examples/<behaviour>.jsonl, teachable pairs for a prompt; those are there when the behaviour is refused, too.
    The same input gives the same bytes.

    Raises:
        DataError: a file of pairs, the golden questions or the audit is missing or unreadable.
    """
    volatile = read_volatile_facts(paths.AUDIT)
    golden = read_golden(Path(params.evaluation.golden))
    judged = [_behaviour(params, behaviour, golden, volatile) for behaviour in params.behaviours]
    quarantine = [entry for _, _, entries in judged for entry in entries]
    verdict = ValidationVerdict(behaviours=[each for each, _, _ in judged], quarantined=len(quarantine))
    write_jsonl(QUARANTINE, quarantine)
    write_json(EXPECTATIONS, [record.as_json() for _, record, _ in judged])
    # Not write_json, which sorts the keys: the funnel is read from top to bottom.
    write_text(paths.VERDICT, verdict.model_dump_json(indent=2) + "\n")
    print_summary(verdict)
    return verdict


def _behaviour(
    params: Params, behaviour: str, golden: dict[str, str], volatile: list[VolatileFact]
) -> tuple[BehaviourVerdict, Record, list[dict[str, Any]]]:
    """Judge one behaviour and write its train.jsonl and eval.jsonl."""
    files, settings = params.pairs[behaviour], params.validation
    rows = read_pairs(files, behaviour)
    frame = to_frame(rows)
    context = Context(
        behaviour=behaviour,
        format=files.format,
        min_answer_characters=settings.min_answer_characters,
        shared_subject_words=settings.shared_subject_words,
        golden=golden,
        volatile=volatile,
    )
    findings = judge(frame, context)
    record = run_suite(behaviour, findings.ok, thresholds(settings))

    teachable = frame[findings.ok[STEPS[-1]]].sort_values("id")
    write_jsonl(paths.examples(behaviour), _examples(rows, teachable))
    if not record.passed["refuse_below"] and not params.training.force:
        teachable = teachable.iloc[:0]
    out = held_out(teachable["prompt_key"], settings.eval_share, params.seed)
    for name, part in (("train", teachable[~out]), ("eval", teachable[out])):
        pairs = (row.pair for row in map(rows.__getitem__, part.index) if row.pair)
        write_jsonl(paths.VALIDATED / behaviour / f"{name}.jsonl", (pair.model_dump() for pair in pairs))
    verdict = behaviour_verdict(
        record,
        settings,
        train=int((~out).sum()),
        held_out=int(out.sum()),
        grounded=int((teachable["passages"] > 0).sum()),
        forced=params.training.force,
    )
    return verdict, record, list(_quarantined(rows, findings))


def _examples(rows: list[Row], teachable: pd.DataFrame) -> list[dict[str, Any]]:
    """The shortest teachable pairs, grounded ones first: an example is read again with every question."""
    pairs = [pair for row in map(rows.__getitem__, teachable.index) if (pair := row.pair)]
    pairs.sort(key=lambda pair: (not pair.passages, len(pair.model_dump_json()), pair.id))
    return [pair.model_dump() for pair in pairs[:MOST_EXAMPLES]]


def read_volatile_facts(path: Path) -> list[VolatileFact]:
    """The facts that the audit found in documents that change.

    Raises:
        DataError: there is no audit, or it is none.
    """
    try:
        return AuditVerdict.model_validate(read_json(path)).facts
    except ValidationError as error:
        raise DataError(
            f"{path} is no audit ({error.error_count()} problems): run `freshtune stage audit` again"
        ) from None


def read_golden(path: Path) -> dict[str, str]:
    """{normalised golden question: its id}.

    Raises:
        DataError: the file is missing, or a line of it is no golden question.
    """
    questions: list[Question] = []
    for line, raw in read_jsonl(path):
        if isinstance(raw, DataError):
            raise raw
        try:
            questions.append(Question.model_validate(raw))
        except ValidationError as error:
            detail = error.errors()[0]
            where = ".".join(map(str, detail["loc"]))
            raise DataError(
                f"{path}:{line} is no golden question ({where}: {detail['msg']}): correct that line"
            ) from None
    keys = normalise(pd.Series([q.question for q in questions], dtype=object))
    return dict(zip(keys, (q.id for q in questions), strict=True))


def _quarantined(rows: list[Row], findings: Findings) -> Iterator[dict[str, Any]]:
    """One entry for each row that is not teachable, in reading order."""
    told: dict[int, list[tuple[str, str]]] = {}
    for code, reasons in findings.reasons.items():
        for index, reason in reasons.items():
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
            "row": _writable(row.raw),
        }


def _writable(raw: dict[str, Any] | None) -> Any:
    """The row as it was read, as far as UTF-8 JSON can say it: half characters and other types become text."""
    text = json.dumps(raw, ensure_ascii=False, default=str)
    return json.loads(text.encode("utf-8", "replace"))


def print_summary(verdict: ValidationVerdict) -> None:
    """One screen: funnel, rules and advice of each behaviour; a table on a terminal, plain lines elsewhere."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for each in verdict.behaviours:
        title = f"pairs of {each.behaviour}: {each.verdict}"
        caught = {code: count for code, count in each.rules.items() if count}
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
    console.print(f"  quarantined rows with their reasons: {QUARANTINE}")
