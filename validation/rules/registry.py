"""What a rule is, where it is registered, and how all of them are applied, step by step."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from contracts.errors import ParamsError
from contracts.facts import subject_words
from contracts.params import Validation
from contracts.verdicts import VolatileFact

STEPS = ("parsed", "clean", "unique", "consistent", "teachable")


def _no_pairs() -> pd.DataFrame:
    return pd.DataFrame({"left": [], "right": [], "similarity": []}, dtype=object)


@dataclass(frozen=True)
class Context:
    """What rows are judged against.

    `format`, `headings` and `json_schema` are the behaviour's declared form, `max_length` the training length in
    tokens. `golden` and `elsewhere` map the normalised questions of the golden set and of other behaviours to where
    they stand. `near` has the pairs of normalised questions that are alike (see similar.py). `score` gives each row the
    judge's 1 to 5.
    """

    behaviour: str
    settings: Validation = field(default_factory=Validation)
    format: str = ""
    headings: Sequence[str] = ()
    json_schema: Mapping[str, Any] | None = None
    max_length: int | None = None
    golden: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    near: pd.DataFrame = field(default_factory=_no_pairs)
    volatile: Iterable[VolatileFact] = ()
    score: Callable[[pd.DataFrame], pd.Series] | None = None

    @property
    def house_words(self) -> frozenset[str]:
        """The words that the format itself puts into every answer."""
        return subject_words(" ".join([self.format, *self.headings]))


Check = Callable[[pd.DataFrame, Context], pd.Series]


@dataclass(frozen=True)
class Rule:
    """`code` names it in verdicts and in the quarantine, `step` is the funnel step it guards.

    An `always` rule quarantines whatever validation.warn says. `advice` is what a person can do about a row it caught.
    """

    code: str
    step: str
    description: str
    check: Check
    advice: str = ""
    always: bool = False


RULES: dict[str, Rule] = {}


def rule(code: str, step: str, description: str, advice: str = "", *, always: bool = False) -> Callable[[Check], Check]:
    """Register a rule under its code."""

    def register(check: Check) -> Check:
        if step not in STEPS or code in RULES or code in STEPS:
            raise ValueError(
                f"rule {code!r} of step {step!r}: the code must be new, the step one of {', '.join(STEPS)}"
            )
        RULES[code] = Rule(code, step, description, check, advice, always)
        return check

    return register


def check_warn(warn: Iterable[str]) -> None:
    """Every code of validation.warn names a rule that may merely warn.

    Raises:
        ParamsError: a code is unknown, or belongs to a rule that always quarantines.
    """
    for code in warn:
        if code not in RULES:
            nearest = difflib.get_close_matches(code, RULES, n=1, cutoff=0)[0]
            raise ParamsError(f"`validation.warn` names {code}, which is no rule: did you mean `{nearest}`?")
        if RULES[code].always:
            raise ParamsError(f"`validation.warn` names {code}, which always quarantines: take it out of that list")


class Findings(NamedTuple):
    """`ok` has one boolean column per rule and per step (is the row left after it?); `reasons` one Series per rule.

    `warn` are the rules whose finds are told and taught all the same.
    """

    ok: pd.DataFrame
    reasons: dict[str, pd.Series]
    warn: frozenset[str] = frozenset()


def judge(rows: pd.DataFrame, context: Context) -> Findings:
    """Apply every rule, step by step. A row that an earlier step has taken out counts as ok for the rules after it.

    Raises:
        ParamsError: as check_warn.
    """
    warn = frozenset(context.settings.warn)
    check_warn(warn)
    columns: dict[str, Any] = {}
    reasons: dict[str, pd.Series] = {}
    left = pd.Series(True, index=rows.index)
    for step in STEPS:
        seen = rows[left]
        for code, each in RULES.items():
            if each.step == step:
                reasons[code] = each.check(seen, context)
                columns[code] = ~rows.index.isin(reasons[code].index)
                if code not in warn:
                    left = left & columns[code]
        columns[step] = left
    return Findings(pd.DataFrame(columns, index=rows.index), reasons, warn)
