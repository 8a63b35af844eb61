"""The whole line on data nobody here wrote: public support pairs, and a company's policies with their real history.

    python -m benchmarks.real [--data DIR] [--rows N] [--steps N] [--questions N] [--check]

The knobs are those of real.yaml beside this file, the golden questions those of real_questions.jsonl. The policies, as
they stand after the last commit of their history, are written to data/real/policies; the project of this run lies in
.freshtune/projects/real. Prints the report card, then one line of JSON with the figures of the run.
"""

import argparse
import contextlib
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from contracts import paths
from contracts.errors import DataError, FreshtuneError
from contracts.files import write_text
from flows.project import project
from retrieval.history import replay

HERE = Path(__file__).resolve().parent
PARAMS = HERE / "real.yaml"
QUESTIONS = HERE / "real_questions.jsonl"
DATA = HERE.parents[1] / "shared" / "data"
PAIRS = Path("support_pairs/bitext_support.csv")
HISTORY = Path("policy_history/site_policy_history.jsonl.xz")

MADE = Path("data/real")  # below the current directory; git ignores it
PROJECT = paths.STATE / "projects" / "real"
LIMIT_SECONDS = 15 * 60


def main(arguments: list[str] | None = None) -> int:
    """Run the line; returns the exit code: 2 for what the user can mend, 1 when --check does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with the public data")
    parser.add_argument("--rows", type=int, help="read at most this many pairs")
    parser.add_argument("--steps", type=int, help="train at most this many steps")
    parser.add_argument("--questions", type=int, help="ask at most this many golden questions")
    parser.add_argument("--check", action="store_true", help="fail without a verdict, or after more than 15 minutes")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    try:
        require_data(options.data)
        write_policies(options.data / HISTORY, MADE / "policies")
        params = write_params(options.data, MADE, options.rows, options.steps, options.questions)
        with contextlib.chdir(project(PROJECT, params)):
            report = retrain()
    except FreshtuneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130
    found = figures(report, time.perf_counter() - start)
    print(f"These commands are for {PROJECT}: go there first.")
    print(json.dumps(found, ensure_ascii=False))
    if options.check and (reason := failure(found)):
        print(f"check failed: {reason}", file=sys.stderr)
        return 1
    return 0


def require_data(data: Path) -> None:
    """Raises:
    DataError: a file is missing; says where it comes from.
    """
    if missing := [str(name) for name in (PAIRS, HISTORY) if not (data / name).is_file()]:
        raise DataError(
            f"{data} lacks {' and '.join(missing)}: name the folder that holds them with --data. {PAIRS} is of the"
            " Bitext customer-support dataset (CDLA-Sharing-1.0), a CSV with the columns instruction and response;"
            f" {HISTORY} is the history of github/site-policy (CC0) in the form that retrieval/history.py reads"
        )


def write_policies(history: Path, into: Path) -> None:
    """Write the files as they stand after the last commit of `history` to `into`, in place of what was there.

    Raises:
        DataError: the history is broken or empty, or names a file outside its own tree.
    """
    revisions = list(replay(history))
    if not revisions:
        raise DataError(f"{history} holds no commit: fetch it again")
    files = {into / name: text for name, text in revisions[-1].files.items()}
    if outside := [path for path in files if not path.resolve().is_relative_to(into.resolve())]:
        raise DataError(f"{history} names {outside[0]}, outside its own tree: do not use that file")
    shutil.rmtree(into, ignore_errors=True)
    for path, text in files.items():
        write_text(path, text)


def write_params(data: Path, into: Path, rows: int | None, steps: int | None, questions: int | None) -> Path:
    """Write real.yaml with its data paths filled in, and with the caps that are given; returns the written file."""
    params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    params["pairs"]["support"]["files"] = [str((data / PAIRS).resolve())]
    params["documents"] |= {"path": str((into / "policies").resolve()), "history": str((data / HISTORY).resolve())}
    evaluation = params["evaluation"] | {"golden": str(QUESTIONS)}
    if rows is not None:
        params["pairs"]["support"]["max_rows"] = rows
    if steps is not None:
        params["training"]["max_steps"] = steps
    if questions is not None:
        evaluation |= {
            "max_questions": questions,
            "latency_questions": min(questions, evaluation["latency_questions"]),
        }
    written = into / PARAMS.name
    head = f"# Written from {PARAMS}: edit that file, not this one.\n"
    write_text(written, head + yaml.safe_dump(params | {"evaluation": evaluation}, sort_keys=False))
    return written


def retrain() -> dict[str, Any]:
    """Run the flow on the project in the current directory and print its report card; returns the report.

    Raises:
        FreshtuneError: as flows.retrain.run.
    """
    from rich.console import Console

    from evaluation.report import print_card
    from flows.retrain import run

    report = run()
    print_card(report, Console())
    return report


def figures(report: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The report in one line; `seconds` is what this run took, those of a stage what it took when it last ran."""
    [pairs] = report["pairs"]["behaviours"]
    evaluation = report["evaluation"]
    return {
        "status": report["status"],
        "headline": report["headline"],
        "mode": evaluation["mode"],
        "seconds": round(seconds, 1),
        "ran": report["ran"],
        "stages": {stage["name"]: stage["seconds"] and round(stage["seconds"], 1) for stage in report["stages"]},
        "funnel": pairs["funnel"],
        "train_rows": pairs["train_rows"],
        "eval_rows": pairs["eval_rows"],
        "documents": report["index"]["documents"],
        "chunks": report["index"]["chunks"],
        "eval_loss": evaluation["eval_loss"],
        "task_success": {arm: metrics["task_success"]["mean"] for arm, metrics in evaluation["arms"].items()},
    }


def failure(found: dict[str, Any]) -> str:
    """Why --check does not hold; empty when it does. A gate that blocks the release is a verdict, and no failure."""
    if found["status"] not in ("released", "blocked"):
        return f"the line ended without a verdict on the release ({found['status']})"
    if found["seconds"] > LIMIT_SECONDS:
        return f"it took {found['seconds']:.0f} s, more than {LIMIT_SECONDS}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
