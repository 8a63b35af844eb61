"""The rules: a table of what asks for retrieval and what for training, and the verdict that follows. Pure functions."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from advisor.inputs import STYLES, Inputs, duration, pace
from contracts.verdicts import Flip

MONTH = 31.0  # days: what changes at least this often is retrieved
TOO_FAST = 0.1  # seconds: an answer due sooner leaves no time for retrieval, which adds 35 to 500 ms
FULL_FINE_TUNING = 1000  # examples above which it becomes possible

HYBRID = "Hybrid (RAG + LoRA Fine-tuning)"
RAG = "RAG Only"
TUNED = "Fine-Tuning Only (LoRA)"
DEFAULT = "RAG (Default Safe Choice)"
_VERDICTS = {(True, True): HYBRID, (True, False): RAG, (False, True): TUNED, (False, False): DEFAULT}


@dataclass(frozen=True)
class Thresholds:
    """Examples that a LoRA needs at least, and those that are preferred."""

    least: int = 100
    preferred: int = 500


@dataclass(frozen=True)
class Words:
    """What the inputs are called: as the guides say it, or as what they are in a project."""

    knowledge: str = "knowledge"
    examples: str = "examples"


PUBLISHED = Thresholds()
PLAIN = Words()


@dataclass(frozen=True)
class Rule:
    """One reason for retrieval or for training: when it fires, what it found, and what follows."""

    name: str
    asks_for: Literal["retrieval", "training"]
    fires: Callable[[Inputs], bool]
    found: Callable[[Inputs], str]
    follows: str


RULES = (
    Rule(
        "knowledge changes",
        "retrieval",
        fires=lambda i: i.changes is None or i.changes <= MONTH,
        found=lambda i: f"Knowledge changes {'at an unknown pace' if i.changes is None else pace(i.changes)}",
        follows="RAG for dynamic content",
    ),
    Rule(
        "citations",
        "retrieval",
        fires=lambda i: i.citations,
        found=lambda _: "Citations required",
        follows="RAG provides source attribution",
    ),
    Rule(
        "style requirements",
        "training",
        fires=lambda i: i.style == "high",
        found=lambda _: "High style requirements",
        follows="Fine-tune for consistent voice",
    ),
    Rule(
        "latency requirement",
        "training",
        fires=lambda i: i.latency is not None and i.latency < TOO_FAST,
        found=lambda _: "Answers due in under 100 ms",
        follows="Fine-tune, retrieval alone adds 35 ms or more",
    ),
)


@dataclass(frozen=True)
class Advice:
    """What to do, and why. `retrieve` and `train` are the two halves of the verdict."""

    recommendation: str
    retrieve: bool
    train: bool
    reasoning: tuple[str, ...]
    warnings: tuple[str, ...]


def advise(inputs: Inputs, thresholds: Thresholds = PUBLISHED) -> Advice:
    """Apply the rules.

    Training needs a reason and enough examples. Retrieval needs a reason; a latency requirement that leaves no time for
    it overrules that reason, but only where training can take its place.
    """
    fired = [rule for rule in RULES if rule.fires(inputs)]
    for_retrieval = [rule for rule in fired if rule.asks_for == "retrieval"]
    for_training = [rule for rule in fired if rule.asks_for == "training"]
    train = bool(for_training) and inputs.examples >= thresholds.least
    no_time = _no_time(inputs)
    retrieve = bool(for_retrieval) and not (no_time and train)

    reasoning = [f"{rule.found(inputs)} → {rule.follows}" for rule in fired]
    if train:
        reasoning.append(_sufficient(inputs.examples, thresholds))
    elif for_training:
        missing = thresholds.least - inputs.examples
        reasoning.append(f"Too few examples to fine-tune → few-shot examples in the prompt; {missing:,} more for LoRA")
    else:
        reasoning.append(f"Style requirements are {inputs.style} → a prompt is enough, nothing to fine-tune for")
    if not (retrieve or train):
        nothing = "Nothing else decisive" if fired else "Nothing decisive"
        reasoning.append(f"{nothing} → RAG is the safe start; fine-tune when measured failures ask for it")

    warnings = []
    if inputs.examples < thresholds.least and (for_training or inputs.examples):
        warnings.append(
            f"WARNING: {inputs.examples} examples is INSUFFICIENT for LoRA. Gathering more data recommended."
        )
    if no_time and for_retrieval:
        needs = ", ".join(rule.found(inputs).lower() for rule in for_retrieval)
        left = (
            "a fine-tuned model alone knows no fact that changes and names no source" if train else "RAG will be late"
        )
        warnings.append(
            f"CONFLICT: retrieval is needed ({needs}) and does not fit into the latency requirement:"
            f" {left}. Allow 100 ms or more to keep it."
        )
    elif no_time and not train:
        warnings.append(
            "CONFLICT: RAG does not fit into the latency requirement, and there are too few examples to fine-tune"
            " instead. Allow 100 ms or more, or gather examples."
        )
    return Advice(_VERDICTS[retrieve, train], retrieve, train, tuple(reasoning), tuple(warnings))


def _no_time(inputs: Inputs) -> bool:
    """Under 100 ms retrieval is held not to fit, unless a release has measured that it does."""
    if inputs.latency is None or inputs.latency >= TOO_FAST:
        return False
    return inputs.measured_latency is None or inputs.measured_latency > inputs.latency


def _sufficient(examples: int, thresholds: Thresholds) -> str:
    if examples > FULL_FINE_TUNING:
        return f"{examples:,} examples sufficient for LoRA; over {FULL_FINE_TUNING:,} full fine-tuning is possible"
    if examples >= thresholds.preferred:
        return (
            f"{examples:,} examples sufficient for LoRA, and at least the {thresholds.preferred:,} that are preferred"
        )
    return f"{examples:,} examples sufficient for LoRA"


def flips(inputs: Inputs, thresholds: Thresholds = PUBLISHED, words: Words = PLAIN) -> list[Flip]:
    """For each input the nearest change that, alone, leads to another recommendation."""
    now = advise(inputs, thresholds).recommendation
    found = []
    for name, changes in _changes(inputs, thresholds, words):
        for text, changed in changes:
            to = advise(changed, thresholds).recommendation
            if to != now:
                found.append(Flip(name=name, change=text, to=to))
                break
        else:
            found.append(Flip(name=name, change="", to=""))
    return found


# The other side of each threshold, nearest first: (how it reads, the inputs with it).
_Changes = list[tuple[str, Inputs]]


def _changes(inputs: Inputs, thresholds: Thresholds, words: Words) -> Iterator[tuple[str, _Changes]]:
    seldom = (
        f"if {words.knowledge} changed less than monthly",
        replace(inputs, changes=math.nextafter(MONTH, math.inf)),
    )
    often = (f"if {words.knowledge} changed monthly or more often", replace(inputs, changes=MONTH))
    yield RULES[0].name, [seldom if RULES[0].fires(inputs) else often]
    yield (
        RULES[1].name,
        [
            (
                f"if citations were {'not ' if inputs.citations else ''}required",
                replace(inputs, citations=not inputs.citations),
            )
        ],
    )
    here = STYLES.index(inputs.style)
    others = sorted(
        (style for style in STYLES if style != inputs.style), key=lambda style: abs(STYLES.index(style) - here)
    )
    yield RULES[2].name, [(f"if style requirements were {style}", replace(inputs, style=style)) for style in others]
    yield RULES[3].name, _latencies(inputs)
    yield "training data", _examples(inputs, thresholds, words)
    yield "monthly queries", []


def _latencies(inputs: Inputs) -> _Changes:
    if not RULES[3].fires(inputs):
        return [("if answers were due in under 100 ms", replace(inputs, latency=math.nextafter(TOO_FAST, 0)))]
    longer: _Changes = [("if 100 ms or more were allowed", replace(inputs, latency=TOO_FAST))]
    measured = inputs.measured_latency
    if measured is not None and (inputs.latency or 0) < measured < TOO_FAST:
        longer.insert(0, (f"if {duration(measured)} were allowed", replace(inputs, latency=measured)))
    return longer


def _examples(inputs: Inputs, thresholds: Thresholds, words: Words) -> _Changes:
    missing = thresholds.least - inputs.examples
    if missing > 0:
        return [(f"with {missing:,} more {words.examples}", replace(inputs, examples=thresholds.least))]
    return [(f"with fewer than {thresholds.least:,} {words.examples}", replace(inputs, examples=thresholds.least - 1))]
