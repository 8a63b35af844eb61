"""The two phases a recipe can have: supervised fine-tuning on chats, and DPO on preferences. Both are TRL's trainers."""

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer, pack_dataset
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from contracts.errors import BusyError, ModelError
from contracts.files import read_json, write_json
from contracts.params import Params, Training
from training.backends import adapter_weights
from training.encode import Encoded
from training.processes import is_first_process
from training.watch import Watch

_FITTED = "fitted.json"


@dataclass(frozen=True)
class Fitted:
    """What a phase was. `seconds` and `epochs` are of the process that ended it; a resumed run's first part is not in them."""

    steps: int
    epochs: float
    seconds: float
    loss: list[tuple[int, float]]
    eval_loss_before: float | None
    eval_loss: float | None
    eval_curve: list[tuple[int, float]]
    kept_step: int
    stopped: str
    accuracy: float | None


def supervised(
    model: Any,
    tokenizer: Any,
    params: Params,
    dtype: str,
    rows: list[Encoded],
    held_out: list[Encoded],
    work: Path,
) -> SFTTrainer:
    """TRL's trainer for the assistant's tokens of `rows`."""
    training = params.training
    collator = None
    train = _dataset(rows)
    if training.packing:
        # Positions that start anew let attention tell the chats of a row apart.
        train = pack_dataset(train, training.max_length)
        collator = DataCollatorForLanguageModeling(tokenizer.pad_token_id, padding_free=True)
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            **_arguments(params, dtype, work, bool(held_out)),
            num_train_epochs=training.epochs,
            learning_rate=training.learning_rate,
            train_sampling_strategy="random" if training.packing else "group_by_length",
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        train_dataset=train,
        eval_dataset=_dataset(held_out) if held_out else None,
        processing_class=tokenizer,
        data_collator=collator,
    )
    return _adapted(trainer, dtype)


def preferences(
    model: Any,
    tokenizer: Any,
    params: Params,
    dtype: str,
    rows: list[dict[str, Any]],
    held_out: list[dict[str, Any]],
    work: Path,
) -> DPOTrainer:
    """TRL's trainer for direct preference optimisation of the adapter as it stands, which is also what it is held to."""
    training = params.training
    trainer = DPOTrainer(
        model=model,
        args=DPOConfig(
            **_arguments(params, dtype, work, bool(held_out)),
            num_train_epochs=training.dpo.epochs,
            learning_rate=training.dpo.learning_rate,
            beta=training.dpo.beta,
            max_length=training.max_length,
        ),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(held_out) if held_out else None,
        processing_class=tokenizer,
    )
    return _adapted(trainer, dtype)


def _adapted(trainer: Any, dtype: str) -> Any:
    trainer.remove_callback(PrinterCallback)  # Watch says it
    if dtype == "float32":  # TRL casts a quantised model's adapter to bfloat16, which such a CPU emulates
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    return trainer


def _arguments(params: Params, dtype: str, work: Path, evaluated: bool) -> dict[str, Any]:
    """What both of TRL's trainers are told."""
    import torch

    training, gpu = params.training, torch.cuda.is_available()
    return {
        "output_dir": str(work),
        "max_steps": training.max_steps or -1,
        "per_device_train_batch_size": training.batch_size,
        "per_device_eval_batch_size": training.batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation,
        "lr_scheduler_type": "cosine",
        "warmup_steps": training.warmup_share,
        "optim": "paged_adamw_8bit" if gpu else "adamw_torch",
        "gradient_checkpointing": training.gradient_checkpointing,
        "bf16": dtype == "bfloat16",
        "use_cpu": not gpu,
        "seed": params.seed,
        "save_steps": training.save_steps,
        "save_total_limit": 1,
        "eval_strategy": "steps" if evaluated else "no",
        "eval_steps": training.save_steps,
        "metric_for_best_model": "eval_loss" if evaluated else None,
        "logging_steps": 5,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "disable_tqdm": not sys.stderr.isatty(),
        "report_to": "none",
        "dataloader_pin_memory": gpu,
    }


def fit(model: Any, build: Callable[[], Any], training: Training, work: Path, watch: Watch) -> Fitted:
    """Run the trainer that `build` makes from the last checkpoint, or from the start, and leave its adapter in `work`:

    the last one, or that of the lowest held-out loss where the run was stopped for leaving it behind.

    A phase that an interrupted run had ended is not run again: its adapter is loaded into `model`.

    Raises:
        ModelError: the loss went wrong (see Watch), or the checkpoint is of another model.
        BusyError: memory ran out.
    """
    if done := _done_before(model, work):
        return done
    trainer = build()
    trainer.add_callback(watch)
    evaluated = trainer.eval_dataset is not None
    # A fresh adapter is zero: this is the base model's.
    before = trainer.evaluate()["eval_loss"] if evaluated else None
    checkpoint = _last_checkpoint(work)
    started = time.perf_counter()
    try:
        result = trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
            raise BusyError(
                f"memory ran out at training.batch_size {training.batch_size}: halve it and double"
                " training.gradient_accumulation, or lower training.max_length"
            ) from error
        if checkpoint and "size mismatch" in str(error):
            raise ModelError(
                f"{checkpoint} is of another base or another training.lora.rank: remove {work.parent} and run again"
            ) from error
        raise
    seconds = time.perf_counter() - started
    state = trainer.state
    resumed = _step(checkpoint) / state.global_step if checkpoint else 0.0
    kept = state.global_step
    if watch.stopped:
        kept = state.best_global_step
        print(f"the adapter of step {kept} is kept: its held-out loss was the lowest", flush=True)
        adapter_weights(model, Path(state.best_model_checkpoint))
    held_out = dict(_curve(state.log_history, "eval_loss"))
    fitted = Fitted(
        steps=result.global_step,
        epochs=(state.epoch or 0.0) * (1 - resumed),
        seconds=seconds,
        loss=_curve(state.log_history, "loss"),
        eval_loss_before=before,
        eval_loss=held_out.get(kept),
        eval_curve=[(0, before), *held_out.items()] if before is not None else [],
        kept_step=kept,
        stopped=watch.stopped,
        accuracy=dict(_curve(state.log_history, "eval_rewards/accuracies")).get(kept),
    )
    if is_first_process():
        trainer.accelerator.unwrap_model(trainer.model).save_pretrained(work, selected_adapters=["default"])
        write_json(work / _FITTED, asdict(fitted))
        for old in work.glob("checkpoint-*"):
            shutil.rmtree(old)
    return fitted


def _curve(history: list[dict[str, float]], name: str) -> list[tuple[int, float]]:
    return [(int(entry["step"]), float(entry[name])) for entry in history if name in entry]


def _done_before(model: Any, work: Path) -> Fitted | None:
    """The result of a phase that an interrupted run had ended, its adapter loaded into `model`."""
    if not (work / _FITTED).is_file():
        return None
    print(f"{work.name} was done before the interruption", flush=True)
    adapter_weights(model, work)
    return Fitted(**read_json(work / _FITTED))


def _last_checkpoint(work: Path) -> Path | None:
    """The newest checkpoint that was written whole (the trainer's state is its last file)."""
    whole = [p for p in work.glob("checkpoint-*") if (p / "trainer_state.json").is_file()]
    newest = max(whole, key=_step, default=None)
    if newest:
        print(f"resuming at step {_step(newest)}", flush=True)
    return newest


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _dataset(rows: list[Encoded]) -> Dataset:
    return Dataset.from_list([{"input_ids": row.input_ids, "labels": row.labels} for row in rows])
