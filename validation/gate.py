"""The gate itself: rows of one behaviour in; findings, record, verdict and the two sides of the split out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

import pandas as pd

from contracts.pairs import Pair
from contracts.params import PairFiles, Validation
from contracts.verdicts import BehaviourVerdict, VolatileFact
from validation.frame import to_frame
from validation.read import Row
from validation.rules import STEPS, Context, Findings, judge
from validation.similar import groups, near_pairs
from validation.split import held_out
from validation.suite import Record, run_suite
from validation.tokens import ChatTokenizer, count_tokens
from validation.verdict import behaviour_verdict, thresholds

if TYPE_CHECKING:
    from validation.judge import Scorer


@dataclass(frozen=True)
class Against:
    """What the pairs of every behaviour are judged against.

    `golden` maps normalised golden questions to their ids. Without a `tokenizer` no length is judged, without a
    `scorer` the judge is not asked.
    """

    volatile: Sequence[VolatileFact] = ()
    golden: Mapping[str, str] = field(default_factory=dict)
    tokenizer: ChatTokenizer | None = None
    system: str = ""
    max_length: int | None = None
    scorer: "Scorer | None" = None


@dataclass(frozen=True)
class Judged:
    """One behaviour, judged. `teachable`, `train` and `held_out` are indices of `rows`, ordered by id."""

    rows: Sequence[Row]
    findings: Findings
    record: Record
    verdict: BehaviourVerdict
    teachable: pd.Index
    train: pd.Index
    held_out: pd.Index

    def pairs(self, index: pd.Index) -> list[Pair]:
        """The pairs of these rows."""
        return [pair for place in index if (pair := self.rows[place].pair)]


def judge_rows(
    behaviour: str,
    rows: Sequence[Row],
    files: PairFiles,
    settings: Validation,
    against: Against,
    *,
    seed: int,
    force: bool = False,
    elsewhere: Mapping[str, str] | None = None,
) -> Judged:
    """Judge the rows of one behaviour; `elsewhere` are the normalised questions of the others, with their places.

    Raises:
        ParamsError: validation.warn names what is no rule, or one that always quarantines.
        StageError: Great Expectations could not evaluate an expectation.
    """
    frame = to_frame(rows)
    if against.tokenizer is not None:
        frame = count_tokens(frame, rows, against.tokenizer, against.system)
    elsewhere = elsewhere or {}
    asked = [*frame["prompt_key"][frame["error"] == ""], *chain.from_iterable(frame["asked_before"])]
    least = min(settings.near_duplicate, settings.near_leakage)
    near = near_pairs(list(dict.fromkeys([*against.golden, *elsewhere, *asked])), least)
    alike = near[near["similarity"] >= settings.near_duplicate]
    scorer = against.scorer
    context = Context(
        behaviour=behaviour,
        settings=settings,
        format=files.format,
        headings=files.headings,
        json_schema=files.json_schema,
        max_length=against.max_length,
        golden=against.golden,
        elsewhere=elsewhere,
        near=near,
        volatile=against.volatile,
        score=scorer and (lambda seen: scorer(pd.Series([rows[i].pair for i in seen.index], index=seen.index))),
    )
    findings = judge(frame, context)
    record = run_suite(behaviour, findings.ok, thresholds(settings), findings.warn)

    teachable = frame[findings.ok[STEPS[-1]]].sort_values("id")
    taught = teachable if record.passed["refuse_below"] or force else teachable.iloc[:0]
    group = groups(taught["prompt_key"], alike)
    out = held_out(taught["prompt_key"].map(group), settings.eval_share, seed)
    verdict = behaviour_verdict(
        record,
        settings,
        train=int((~out).sum()),
        held_out=int(out.sum()),
        grounded=int((taught["passages"] > 0).sum()),
        forced=force,
    )
    return Judged(rows, findings, record, verdict, teachable.index, taught.index[~out], taught.index[out])


def questions(behaviour: str, rows: Sequence[Row]) -> dict[str, str]:
    """{normalised question: its place} of the rows that are pairs; the first place of each."""
    frame = to_frame([replace(row, id=f"{behaviour}/{row.id}") for row in rows if not row.error])
    return dict(zip(frame["prompt_key"][::-1], frame["id"][::-1], strict=True))
