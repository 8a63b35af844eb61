"""The recipe: accepted pairs to a LoRA adapter. Read from top to bottom; `train_adapter` tells the whole story."""

import os
import resource
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dvclive import Live
from scmrepo.exceptions import SCMError
from transformers import AutoTokenizer

from contracts import paths
from contracts.devices import compute_dtype
from contracts.errors import DataError, ModelError
from contracts.files import content_hash, file_hash
from contracts.pairs import Pair
from contracts.params import Params
from contracts.verdicts import Preferences, TrainingRecord
from training import budget, kernel
from training.backends import choose_backend, load_for_training
from training.base import base_revision
from training.encode import Encoded, encode, preference
from training.phases import Fitted, fit, preferences, supervised
from training.processes import is_first_process
from training.watch import Watch

Phase = Literal["sft", "dpo"]
_ADAPTER = "adapter_model.safetensors"


def train_adapter(
    params: Params, behaviour: str, train_rows: list[Pair], eval_rows: list[Pair], out: Path, live: Path
) -> TrainingRecord:
    """Train one adapter with QLoRA (arXiv 2305.14314) and write it to `out`; dvclive's curves go to `live`.

    `training.recipe` says on what: chats (sft), preferences (dpo, arXiv 2305.18290), or both, one after the other.
    Checkpoints live in a work folder named by the hash of everything that decides the result, so a killed run goes on
    where it stopped, and a changed input never resumes from another run's state.

    Raises:
        DataError: the recipe asks for preferences and no accepted pair has a `rejected` answer.
        ModelError: a row without a supervised token, a trainable share that is no LoRA's, a checkpoint of another model,
            or a loss that is not a number or explodes.
        BusyError: memory or disk will not suffice, or did not.
    """
    training = params.training
    phases: list[Phase] = training.recipe.split("+")  # type: ignore[assignment]
    backend, reason = choose_backend(training.backend)
    dtype = compute_dtype(params.dtype)
    print(f"backend {backend} ({reason}), NF4 weights, {dtype} compute, {len(train_rows)} pairs", flush=True)
    kernel.use_where_there_is_no_gpu()

    tokenizer = AutoTokenizer.from_pretrained(paths.BASE)
    encoded, held_out = (
        [_checked(pair, encode(pair, tokenizer, params.assistant.system, training.max_length)) for pair in rows]
        for rows in (train_rows, eval_rows)
    )
    preferred, preferred_held_out = (
        [preference(pair, params.assistant.system) for pair in rows if pair.rejected]
        for rows in (train_rows, eval_rows)
    )
    if "dpo" in phases and not preferred:
        raise DataError(
            f"training.recipe is {training.recipe}, and none of the {len(train_rows)} accepted pairs of {behaviour} has a"
            " `rejected` answer: add preferences (docs/pairs.md), or set it to sft"
        )
    longest = sorted(encoded, key=lambda row: len(row.input_ids))[-training.batch_size :]
    times = 2 if "dpo" in phases else 1  # a preference is two chats
    shape = budget.shape_of(
        paths.BASE,
        training,
        batch_tokens=times
        * training.batch_size
        * (training.max_length if training.packing else len(longest[-1].input_ids)),
        batch_supervised=times * sum(row.supervised for row in longest),
    )
    budget.require_memory(shape, training, dtype)
    work = paths.CHECKPOINTS / f"{behaviour}-{_inputs_hash(params, encoded, preferred)}"
    budget.require_room(work, shape)

    model = load_for_training(backend, paths.BASE, training, dtype, params.seed)
    share = _trainable_share(model, training.max_trainable_share)
    curves = _live(live if is_first_process() else work / f"live-{os.getpid()}")
    sft = dpo = None
    if "sft" in phases:
        chats = partial(supervised, model, tokenizer, params, dtype, encoded, held_out, work / "sft")
        sft = fit(model, chats, training, work / "sft", Watch(curves, training))
    if "dpo" in phases:
        choices = partial(preferences, model, tokenizer, params, dtype, preferred, preferred_held_out, work / "dpo")
        dpo = fit(model, choices, training, work / "dpo", Watch(curves, training, first_step=sft.steps if sft else 0))
    curves.end()
    if is_first_process():
        for name in (_ADAPTER, "adapter_config.json"):
            shutil.copyfile(work / phases[-1] / name, out / name)
        shutil.rmtree(work)

    first = sft or dpo
    assert first is not None
    tokens = sum(len(row.input_ids) for row in encoded)
    return TrainingRecord(
        behaviour=behaviour,
        recipe=training.recipe,
        backend=backend,
        reason=reason,
        base=f"{params.base_model}@{base_revision(paths.BASE)}",
        compute_dtype=dtype,
        rows=len(encoded),
        truncated_rows=sum(row.truncated for row in encoded),
        tokens=tokens,
        supervised_tokens=sum(row.supervised for row in encoded),
        trainable_share=share,
        steps=first.steps,
        seconds=first.seconds,
        tokens_per_second=tokens * first.epochs / first.seconds if sft and first.seconds else 0.0,
        peak_memory_gib=peak_memory_gib(),
        loss=first.loss,
        eval_loss_base=first.eval_loss_before,
        eval_loss=first.eval_loss,
        eval_curve=first.eval_curve,
        kept_step=first.kept_step,
        stopped=first.stopped,
        preferences=_preferences(dpo, len(preferred)) if dpo else None,
    )


def _preferences(dpo: Fitted, rows: int) -> Preferences:
    return Preferences(
        rows=rows,
        steps=dpo.steps,
        seconds=dpo.seconds,
        loss=dpo.loss,
        accuracy=dpo.accuracy,
        kept_step=dpo.kept_step,
        stopped=dpo.stopped,
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


def _inputs_hash(params: Params, rows: list[Encoded], preferred: list[dict[str, Any]]) -> str:
    recipe = params.training.model_dump(exclude={"force", "backend"})
    weights = sorted(file_hash(p) for p in paths.BASE.glob("*.safetensors"))
    return content_hash([recipe, params.seed, weights, [row.input_ids for row in rows], preferred])[:16]


def peak_memory_gib() -> float:
    """Of this process: GPU memory where there is one, else resident memory (Linux counts KiB, macOS bytes)."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated() / 2**30)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
