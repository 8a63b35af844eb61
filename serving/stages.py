"""The stage `package`: what was proved becomes a Bento, what was not becomes a receipt that says why."""

import tempfile
from pathlib import Path
from statistics import fmean

from contracts import paths
from contracts.files import read_json, read_jsonl, write_json
from contracts.params import Params
from contracts.verdicts import EvaluationVerdict, ReleasedEvaluation


def package(params: Params) -> None:
    """Build the Bento of the evaluated release, unless the same one stands in the BentoML store already.

    What the release measured is kept in .freshtune/released.json: the next run's advice reads it before it evaluates.

    A release that a gate blocks is not built; the receipt (reports/package.json) says which gate, and the stage
    still succeeds.

    Raises:
        ReleaseError: the parts do not fit together, or BentoML refused to build.
        BusyError: the disk has no room for it, or a reindex is writing to the store.
    """
    verdict = EvaluationVerdict.model_validate(read_json(paths.EVALUATION / "evaluation.json"))
    receipt = {"tag": "", "path": "", "release": "", "mode": verdict.mode, "blocked": "", "size_mib": 0.0}
    if verdict.passed:
        built = _build(params, verdict)
        write_json(paths.RELEASED, _measured(str(built["tag"]), verdict).model_dump())
        write_json(paths.RECEIPT, receipt | built)
    else:
        failed = [f"{gate.name}: {gate.detail}" for gate in verdict.gates if gate.passed is False]
        write_json(paths.RECEIPT, receipt | {"blocked": "; ".join(failed) or verdict.reason})


def _measured(tag: str, verdict: EvaluationVerdict) -> ReleasedEvaluation:
    rows = [row for _, row in read_jsonl(paths.EVALUATION / "answers.jsonl") if isinstance(row, dict)]
    answers = [row["answer"] for row in rows if row["arm"] == verdict.arm]
    latency = verdict.arms[verdict.arm].get("median_latency_seconds")
    return ReleasedEvaluation(
        release=tag,
        arm=verdict.arm,
        seconds=latency.mean if latency else None,
        tokens=fmean(a["prompt_tokens"] + a["answer_tokens"] for a in answers) if answers else None,
    )


def _build(params: Params, verdict: EvaluationVerdict) -> dict[str, object]:
    from serving import bento
    from serving.assemble import assemble

    # Outside the project: BentoML takes everything below the directory that it builds.
    with tempfile.TemporaryDirectory(prefix="freshtune-package-") as staging:
        root = Path(staging)
        release = assemble(params, verdict, root / "release", bento.program_hash())
        tag = f"{params.project}:{release.id}"
        built = bento.standing(tag) or bento.build(params.project, release.id, root)
    # The path is relative to the store: where that is differs between machines.
    return {
        "tag": tag,
        "path": f"bentos/{params.project}/{release.id}",
        "release": release.id,
        "size_mib": round(bento.size_bytes(Path(built.path)) / 2**20, 1),
    }
