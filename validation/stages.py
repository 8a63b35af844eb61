"""The stage `validate`: pairs in, the rows that may be taught out, and a verdict that says why."""

from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from contracts import paths
from contracts.errors import DataError
from contracts.files import read_json, read_jsonl, write_json, write_jsonl, write_text
from contracts.pairs import Pair, Question
from contracts.params import Params
from contracts.verdicts import AuditVerdict, ValidationVerdict, VolatileFact
from validation import docs, report
from validation.frame import normalise
from validation.gate import Against, Judged, judge_rows, questions
from validation.judge import scorer
from validation.read import read_pairs
from validation.tokens import load_tokenizer

QUARANTINE = paths.VALIDATION / "quarantine.jsonl"
EXPECTATIONS = paths.VALIDATION / "expectations.json"
SCORES = paths.STATE / "judge"
MOST_EXAMPLES = 8  # as many as assistant.few_shot takes


def validate(params: Params) -> ValidationVerdict:
    """Judge the pairs of every behaviour.

    Reads the pairs, reports/audit.json, the golden questions and the base model's tokenizer. Writes
    data/validated/<behaviour>/train.jsonl and eval.jsonl (canonical pairs in the order of their ids; both empty when
    the behaviour is refused, unless training.force), and below reports/validation/ verdict.json, quarantine.jsonl (one
    line per row, with the first rule it broke and every reason of that step), warnings.jsonl, rows.csv (both for a
    spreadsheet), expectations.json, the record of Great Expectations, docs/<behaviour>.html, the same as Data Docs, and
    examples/<behaviour>.jsonl, teachable pairs for a prompt; those are there when the behaviour is refused, too.
    The same input gives the same bytes.

    Raises:
        DataError: a file of pairs, the golden questions or the audit is missing or unreadable.
        ModelError: there is no base model, or the judge cannot be asked.
        ParamsError: validation.warn names what may not merely warn.
    """
    settings = params.validation
    against = Against(
        volatile=read_volatile_facts(paths.AUDIT),
        golden=read_golden(Path(params.evaluation.golden)),
        tokenizer=load_tokenizer(paths.BASE),
        system=params.assistant.system,
        max_length=params.training.max_length,
        scorer=scorer(settings.judge, paths.BASE, SCORES) if settings.judge else None,
    )
    read = {behaviour: read_pairs(params.pairs[behaviour], behaviour) for behaviour in params.behaviours}
    asked = {behaviour: questions(behaviour, rows) for behaviour, rows in read.items()} if len(read) > 1 else {}
    judged = [
        judge_rows(
            behaviour,
            rows,
            params.pairs[behaviour],
            settings,
            against,
            seed=params.seed,
            force=params.training.force,
            elsewhere={key: place for other in asked if other != behaviour for key, place in asked[other].items()},
        )
        for behaviour, rows in read.items()
    ]
    for each in judged:
        behaviour = each.verdict.behaviour
        for name, index in (("train", each.train), ("eval", each.held_out)):
            pairs = each.pairs(index)
            write_jsonl(paths.VALIDATED / behaviour / f"{name}.jsonl", (pair.model_dump() for pair in pairs))
        write_jsonl(paths.examples(behaviour), _examples(each))
    verdict = write_reports(judged, paths.VALIDATION)
    report.print_summary(verdict)
    return verdict


def write_reports(judged: list[Judged], folder: Path) -> ValidationVerdict:
    """Write what people and other rooms read of a verdict into `folder`, and return the verdict."""
    quarantine = [entry for each in judged for entry in report.quarantined(each.rows, each.findings)]
    warned = [entry for each in judged for entry in report.warned(each.rows, each.findings)]
    verdict = ValidationVerdict(behaviours=[each.verdict for each in judged], quarantined=len(quarantine))
    write_jsonl(folder / QUARANTINE.name, quarantine)
    write_jsonl(folder / "warnings.jsonl", warned)
    write_text(folder / "rows.csv", report.as_csv(quarantine, warned))
    for each in judged:
        write_text(folder / "docs" / f"{each.verdict.behaviour}.html", docs.page(each.record))
    write_json(folder / EXPECTATIONS.name, [each.record.as_json() for each in judged])
    # Not write_json, which sorts the keys: the funnel is read from top to bottom.
    write_text(folder / paths.VERDICT.name, verdict.model_dump_json(indent=2) + "\n")
    return verdict


def _examples(judged: Judged) -> list[dict[str, Any]]:
    """The shortest teachable pairs, grounded ones first: an example is read again with every question."""
    pairs: list[Pair] = judged.pairs(judged.teachable)
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
