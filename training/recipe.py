"""The recipe: accepted pairs to a LoRA adapter. One function, read from top to bottom."""

import math
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from datasets import Dataset
from dvclive import Live
from scmrepo.exceptions import SCMError
from transformers import AutoTokenizer, PrinterCallback, TrainerCallback
from trl import SFTConfig

from contracts import paths
from contracts.devices import compute_dtype
from contracts.errors import BusyError, DataError, ModelError
from contracts.files import content_hash, file_hash
from contracts.pairs import Pair
from contracts.params import Params
from contracts.verdicts import TrainingRecord
from training.backends import choose_backend, load_for_training
from training.base import base_revision
from training.encode import Encoded, encode
from training.trainer import AssistantTrainer

_METRICS = {
    "loss": "train/loss",
    "eval_loss": "eval/loss",
    "learning_rate": "train/learning_rate",
    "grad_norm": "train/grad_norm",
}


def train_adapter(
    params: Params, behaviour: str, train_rows: list[Pair], eval_rows: list[Pair], out: Path, live: Path
) -> TrainingRecord:
    """Train one adapter with QLoRA and write it to `out`; dvclive's curves go to `live`.

    Checkpoints live in a work folder named by the hash of everything that decides the result, so a killed run goes on
    where it stopped, and a changed input never resumes from another run's state.

    Raises:
        ModelError: a row without a supervised token, a trainable share that is no LoRA's, or a loss that is not a number.
        BusyError: memory ran out.
    """
    training = params.training
    backend, reason = choose_backend(training.backend)
    dtype = compute_dtype(params.dtype)
    print(f"backend {backend} ({reason}), NF4 weights, {dtype} compute, {len(train_rows)} pairs", flush=True)

    tokenizer = AutoTokenizer.from_pretrained(paths.BASE)
    encoded, held_out = (
        [_checked(pair, encode(pair, tokenizer, params.assistant.system, training.max_length)) for pair in rows]
        for rows in (train_rows, eval_rows)
    )
    model = load_for_training(backend, paths.BASE, training, dtype, params.seed)
    share = _trainable_share(model, training.max_trainable_share)

    work = paths.CHECKPOINTS / f"{behaviour}-{_inputs_hash(params, encoded)}"
    on_cpu = next(model.parameters()).device.type == "cpu"
    curves = _live(live)
    trainer = AssistantTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(work),
            num_train_epochs=training.epochs,
            max_steps=training.max_steps or -1,
            per_device_train_batch_size=training.batch_size,
            per_device_eval_batch_size=training.batch_size,
            gradient_accumulation_steps=training.gradient_accumulation,
            learning_rate=training.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=training.warmup_share,
            optim="adamw_torch" if on_cpu else "paged_adamw_8bit",
            train_sampling_strategy="group_by_length",
            gradient_checkpointing=training.gradient_checkpointing,
            bf16=dtype == "bfloat16",
            use_cpu=on_cpu,
            seed=params.seed,
            save_steps=training.save_steps,
            save_total_limit=1,
            logging_steps=5,
            logging_first_step=True,
            logging_nan_inf_filter=False,
            disable_tqdm=not sys.stderr.isatty(),
            report_to="none",
            dataloader_pin_memory=not on_cpu,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        train_dataset=_dataset(encoded),
        eval_dataset=_dataset(held_out) if held_out else None,
        processing_class=tokenizer,
        callbacks=[_Watch(curves)],
    )
    trainer.remove_callback(PrinterCallback)  # _Watch says it
    if dtype == "float32":  # TRL casts a quantised model's adapter to bfloat16, which such a CPU emulates
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()

    # The adapter starts as zero: the first evaluation is the base model's.
    before = trainer.evaluate()["eval_loss"] if held_out else None
    started = time.perf_counter()
    try:
        result = trainer.train(resume_from_checkpoint=_last_checkpoint(work))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
            raise BusyError(
                f"memory ran out at training.batch_size {training.batch_size}: halve it and double"
                " training.gradient_accumulation, or lower training.max_length"
            ) from error
        raise
    seconds = time.perf_counter() - started
    after = trainer.evaluate()["eval_loss"] if held_out else None
    curves.end()
    trainer.save_model(str(out))
    _keep_only_adapter(out)
    shutil.rmtree(work, ignore_errors=True)

    tokens = sum(len(row.input_ids) for row in encoded)
    return TrainingRecord(
        behaviour=behaviour,
        backend=backend,
        reason=reason,
        base=f"{params.base_model}@{base_revision(paths.BASE)}",
        compute_dtype=dtype,
        rows=len(encoded),
        truncated_rows=sum(row.truncated for row in encoded),
        tokens=tokens,
        supervised_tokens=sum(row.supervised for row in encoded),
        trainable_share=share,
        steps=result.global_step,
        seconds=seconds,
        tokens_per_second=tokens * trainer.state.epoch / seconds if trainer.state.epoch else 0.0,
        peak_memory_gib=_peak_memory_gib(),
        loss=[(int(entry["step"]), float(entry["loss"])) for entry in trainer.state.log_history if "loss" in entry],
        eval_loss_base=before,
        eval_loss=after,
    )


def _live(folder: Path) -> Live:
    try:
        return Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None)
    except SCMError:
        raise DataError(
            "this git repository has no commit yet, and DVCLive records each run beside one: run `git commit` first"
        ) from None


def _checked(pair: Pair, row: Encoded) -> Encoded:
    if row.supervised == 0:
        raise ModelError(
            f"pair {pair.id} has no token of the assistant's within training.max_length: raise it, or shorten the pair"
        )
    return row


def _dataset(rows: list[Encoded]) -> Dataset:
    return Dataset.from_list([{"input_ids": row.input_ids, "labels": row.labels} for row in rows])


def _trainable_share(model: Any, bound: float) -> float:
    """Trainable parameters over all; four-bit weights count as the parameters they stand for."""
    trainable, total = model.get_nb_trainable_parameters()
    share = trainable / total
    if not 0 < share <= bound:
        raise ModelError(
            f"{share:.2%} of the parameters are trainable, which is no LoRA (above 0, at most {bound:.0%}):"
            " check training.lora.rank and targets, or raise training.max_trainable_share"
        )
    return float(share)


def _inputs_hash(params: Params, rows: list[Encoded]) -> str:
    recipe = params.training.model_dump(exclude={"save_steps", "force", "backend"})
    weights = sorted(file_hash(p) for p in paths.BASE.glob("*.safetensors"))
    return content_hash([recipe, params.seed, weights, [row.input_ids for row in rows]])[:16]


def _last_checkpoint(work: Path) -> str | None:
    """The newest checkpoint that was written whole (the trainer's state is its last file)."""
    whole = [p for p in work.glob("checkpoint-*") if (p / "trainer_state.json").is_file()]
    newest = max(whole, key=lambda p: int(p.name.rsplit("-", 1)[1]), default=None)
    if newest:
        print(f"resuming at step {newest.name.rsplit('-', 1)[1]}", flush=True)
    return str(newest) if newest else None


def _keep_only_adapter(out: Path) -> None:
    """Of what the trainer saves, the adapter's weights and config are the output; no pickles, no second tokenizer."""
    for path in out.iterdir():
        if path.name not in ("adapter_model.safetensors", "adapter_config.json"):
            path.unlink()


def _peak_memory_gib() -> float:
    """Of this process: GPU memory where there is one, else resident memory (Linux counts KiB, macOS bytes)."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated() / 2**30)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


class _Watch(TrainerCallback):
    """Says where the run is, keeps its curves with DVCLive, and stops it when the loss is no number."""

    def __init__(self, live: Live) -> None:
        self.live = live

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        logs = logs or {}
        self.live.step = state.global_step
        for name in ("loss", "eval_loss", "learning_rate", "grad_norm"):
            if name in logs:
                self.live.log_metric(_METRICS[name], float(logs[name]))
        if "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise ModelError(
                f"the training loss is {loss} at step {state.global_step}:"
                " lower training.learning_rate, or look for broken pairs"
            )
        if args.disable_tqdm:
            print(f"step {state.global_step}/{state.max_steps}  loss {loss:.3f}", flush=True)
