"""The stages of dvc.yaml that this room runs."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from contracts import paths
from contracts.errors import ModelError
from contracts.files import file_hash, read_json, write_json
from contracts.pairs import Pair
from contracts.params import Params
from contracts.verdicts import ExportRecord, MergeRecord, TrainingAdvice, TrainingRecord
from training.encode import read_pairs
from training.processes import is_first_process

if TYPE_CHECKING:
    from training.export import Kind

TRAINING_RECORD = "training.json"
MERGE_RECORD = "merge.json"


def base(params: Params) -> None:
    """Write the base model to models/base."""
    from training.base import write_base

    source = write_base(params.base_model, paths.BASE)
    print(f"{params.base_model} ({source.kind}, revision {source.revision}) is in {paths.BASE}")


def train(params: Params, behaviour: str) -> TrainingRecord:
    """Train the adapter of one behaviour on its accepted pairs, or record why there is none.

    It follows reports/advice/train/; run by hand before any advice was given, it trains what validation accepted.
    """
    out, live = paths.adapter(behaviour), paths.REPORTS / "training" / behaviour
    folder, top_k = paths.VALIDATED / behaviour, params.retrieval.top_k
    rows = read_pairs(folder / "train.jsonl", top_k)
    if is_first_process():
        for made in (out, live):
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(parents=True)
    skip = _advice_against(behaviour) if rows else f"validation accepted no pairs for {behaviour}"
    if not skip:
        from training.card import knobs
        from training.machine import EnergyMeter, hardware
        from training.recipe import train_adapter

        held_out = read_pairs(folder / "eval.jsonl", top_k)
        with EnergyMeter() as meter:
            record = train_adapter(params, behaviour, rows, held_out, out, live)
        record.knobs, record.data_hash, record.hardware = knobs(params), file_hash(folder / "train.jsonl"), hardware()
        record.energy_joules, record.energy_meter = meter.joules, meter.name
        speed = f", {record.tokens_per_second:.0f} tokens/s" if record.tokens_per_second else ""
        print(f"{record.steps} steps in {record.seconds:.0f} s{speed}")
        if record.eval_loss is not None and record.eval_loss_base is not None:
            print(f"held-out loss {record.eval_loss_base:.3f} → {record.eval_loss:.3f}")
        if record.preferences and record.preferences.accuracy is not None:
            print(f"the chosen answer is preferred in {record.preferences.accuracy:.0%} of the held-out preferences")
    else:
        record = TrainingRecord(behaviour=behaviour, skipped=skip)
        write_json(live / "metrics.json", {"skipped": 1})
        print(f"nothing to train: {skip}; {paths.ADVICE_VERDICT if rows else paths.VERDICT} says why")
    if is_first_process():
        write_json(out / TRAINING_RECORD, record.model_dump())
    return record


def _advice_against(behaviour: str) -> str:
    path = paths.train_advice(behaviour)
    return TrainingAdvice.model_validate(read_json(path)).skip if path.is_file() else ""


def merge(params: Params, behaviour: str) -> MergeRecord:
    """Merge one behaviour's adapter into the base and prove it, or record why there is none."""
    out, adapter = paths.merged(behaviour), paths.adapter(behaviour)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    trained = TrainingRecord.model_validate(read_json(adapter / TRAINING_RECORD))
    if not trained.skipped:
        from training.merge import merge_adapter

        record = merge_adapter(params, trained, paths.BASE, adapter, held_out_pairs(params, behaviour), out)
        print(
            f"merged: largest logit difference {record.logit_difference:.2g}, argmax agreement {record.argmax_agreement:.1%}"
        )
    else:
        record = MergeRecord(behaviour=behaviour, skipped=trained.skipped)
        print(f"nothing to merge: {record.skipped}")
    write_json(out / MERGE_RECORD, record.model_dump())
    if not record.skipped:
        from training.card import write_card

        write_card(params, behaviour)
    return record


def export(params: Params, behaviour: str, kind: "Kind", out: Path | None) -> ExportRecord:
    """Write one behaviour's merged model in another format, to models/exports/ unless `out` is given.

    Raises:
        ModelError: there is no merged model, or the export does not say the same.
    """
    merged = paths.merged(behaviour)
    if not (merged / "config.json").is_file():
        raise ModelError(f"{merged} holds no model: train and merge one first (`freshtune retrain`)")
    from training.export import export as written

    return written(params, merged, kind, held_out_pairs(params, behaviour), out or paths.EXPORTS / behaviour / kind)


def held_out_pairs(params: Params, behaviour: str) -> list[Pair]:
    """What a behaviour's model is proved on: its held-out pairs, or those of training where none were held out."""
    folder, top_k = paths.VALIDATED / behaviour, params.retrieval.top_k
    return read_pairs(folder / "eval.jsonl", top_k) or read_pairs(folder / "train.jsonl", top_k)
