"""`freshtune validate`: the gate on any files, without a project."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import DataError, ParamsError
from contracts.files import write_jsonl
from contracts.params import PairFiles, Validation
from contracts.verdicts import ValidationVerdict
from validation.fix import repaired, write_fixed
from validation.gate import Against, Judged, judge_rows
from validation.read import ANY, read_pairs
from validation.report import quarantined, warned
from validation.stages import write_reports


def check(
    files: Sequence[str], columns: Mapping[str, str], settings: Validation, against: Against, seed: int
) -> Judged:
    """Judge all rows of `files` (paths, globs, hub data sets) as one behaviour; writes nothing.

    Raises:
        DataError, ParamsError: as `read_pairs` and `judge_rows`.
    """
    read = PairFiles(files=list(files), columns=dict(columns))
    return judge_rows(ANY, read_pairs(read, ANY), read, settings, against, seed=seed)


def parse_columns(text: str) -> dict[str, str]:
    """`prompt=instruction,response=response` as a mapping.

    Raises:
        ParamsError: a part has no `=`.
    """
    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    if wrong := next((name for name, equals, _ in parts if not equals), None):
        raise ParamsError(f"--columns has {wrong!r} without `=`: write prompt=NAME,response=NAME")
    return {name.strip(): column.strip() for name, _, column in parts}


def write_out(judged: Judged, out: Path) -> None:
    """Write train.jsonl, eval.jsonl and every report into the folder `out`.

    Raises:
        DataError: nothing can be written there.
    """
    try:
        for name, index in (("train", judged.train), ("eval", judged.held_out)):
            write_jsonl(out / f"{name}.jsonl", (pair.model_dump() for pair in judged.pairs(index)))
        write_reports([judged], out)
    except OSError as error:
        raise DataError(f"{out} cannot be written to ({error.strerror}): name another folder with --out") from None


def write_repaired(judged: Judged, settings: Validation, against: Against, seed: int) -> dict[str, int]:
    """Write, beside each file, the rows that may be taught as they are or once repaired: {file written: rows}.

    Originals are never touched. What the gate still refuses after the repair is left out.

    Raises:
        DataError: a repaired file is there already and differs or cannot be written, or the rows are not of files.
    """
    fine = set(judged.teachable)
    rows = [row if place in fine else repaired(row) for place, row in enumerate(judged.rows)]
    again = judge_rows(
        ANY, [row for row in rows if row], PairFiles(files=["-"]), settings, against, seed=seed, force=True
    )
    written: dict[str, int] = {}
    for file in dict.fromkeys(row.file for row in judged.rows):
        if not Path(file).is_file():
            raise DataError(f"{file} is no file that --fix could write beside: save the data set to a file first")
        pairs = again.pairs(
            again.teachable[[again.rows[place].file == file for place in again.teachable]].sort_values()
        )
        written[str(write_fixed(Path(file), pairs))] = len(pairs)
    return written


def as_json(judged: Judged, fixed: Mapping[str, int]) -> dict[str, Any]:
    """Everything a machine may ask: the verdict, its funnel and counts, and each row that was told, with reasons."""

    def entries(told: Any) -> list[dict[str, Any]]:
        return [{key: entry[key] for key in entry if key != "row"} for entry in told]

    return judged.verdict.model_dump() | {
        "quarantined": entries(quarantined(judged.rows, judged.findings)),
        "warned": entries(warned(judged.rows, judged.findings)),
        "fixed": dict(fixed),
    }


def as_verdict(judged: Judged) -> ValidationVerdict:
    """The verdict in the form that reports print."""
    return ValidationVerdict(behaviours=[judged.verdict], quarantined=len(judged.rows) - len(judged.teachable))
