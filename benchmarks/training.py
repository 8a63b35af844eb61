"""Tokens a second and peak memory of this project's recipe, against the loop a TRL user would write.

Both train the same base in NF4 with the same LoRA on the same accepted pairs of this project (`freshtune stage validate`
makes them), one epoch of `--rows` of them, each in a process of its own. The plain loop is TRL's SFTTrainer as it comes:
shuffled batches padded to their longest chat, and transformers' own loss over every position (TRL's own is a GPU kernel).

    python -m benchmarks.training [--rows 120] [--check]
"""

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from contracts import paths
from contracts.params import Params, load_params

TARGET = 1.5
_ARMS = ("plain", "ours", "packed")


def measure(arm: str, rows: int) -> dict[str, float]:
    """Train one epoch in this process. Tokens are the pairs' own, without padding."""
    import torch
    from transformers import AutoTokenizer, Trainer, set_seed

    from contracts.devices import compute_dtype
    from training import kernel, recipe
    from training.backends import choose_backend, load_for_training
    from training.encode import encode, read_pairs
    from training.phases import supervised

    params = _params(packing=arm == "packed")
    dtype = compute_dtype(params.dtype)
    tokenizer = AutoTokenizer.from_pretrained(paths.BASE)
    pairs = read_pairs(paths.VALIDATED / params.assistant.behaviour / "train.jsonl", params.retrieval.top_k)
    pairs = random.Random(params.seed).sample(pairs, min(rows, len(pairs)))
    encoded = [encode(pair, tokenizer, params.assistant.system, params.training.max_length) for pair in pairs]
    backend, _ = choose_backend(params.training.backend)
    model: Any = load_for_training(backend, paths.BASE, params.training, dtype, params.seed)
    work = paths.CHECKPOINTS / f"benchmark-{arm}"
    if arm == "plain":
        trainer: Any = _plain(model, tokenizer, params, dtype, encoded, work)
        if not torch.cuda.is_available():
            trainer.compute_loss = Trainer.compute_loss.__get__(trainer)
    else:
        kernel.use_where_there_is_no_gpu()
        trainer = supervised(model, tokenizer, params, dtype, encoded, [], work)
    set_seed(params.seed)
    started = time.perf_counter()
    result = trainer.train()
    seconds = time.perf_counter() - started
    tokens = sum(len(row.input_ids) for row in encoded)
    return {
        "rows": len(encoded),
        "tokens": tokens,
        "steps": result.global_step,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens / seconds, 1),
        "peak_memory_gib": round(recipe.peak_memory_gib(), 2),
        "loss": round(result.training_loss, 3),
    }


def _params(packing: bool) -> Params:
    params = load_params()
    quiet = {"epochs": 1, "max_steps": None, "save_steps": 10**6, "packing": packing, "recipe": "sft"}
    if packing:
        quiet["batch_size"] = 1  # a row of max_length tokens holds several chats
    return params.model_copy(update={"training": params.training.model_copy(update=quiet)})


def _plain(model: Any, tokenizer: Any, params: Params, dtype: str, rows: list[Any], work: Path) -> Any:
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    training, gpu = params.training, torch.cuda.is_available()
    return SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(work),
            num_train_epochs=1,
            per_device_train_batch_size=training.batch_size * training.gradient_accumulation,
            learning_rate=training.learning_rate,
            bf16=dtype == "bfloat16",
            use_cpu=not gpu,
            seed=params.seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        train_dataset=Dataset.from_list([{"input_ids": row.input_ids, "labels": row.labels} for row in rows]),
        processing_class=tokenizer,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=120)
    parser.add_argument("--arm", choices=_ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=f"exit 1 unless ours is {TARGET} times the plain loop")
    options = parser.parse_args()
    if options.arm:
        print(json.dumps(measure(options.arm, options.rows)))
        return
    figures: dict[str, Any] = {}
    for arm in _ARMS:
        command = [sys.executable, "-m", "benchmarks.training", "--arm", arm, "--rows", str(options.rows)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        figures[arm] = json.loads(done.stdout.splitlines()[-1])
        print(arm, figures[arm], flush=True)
    ratio = figures["ours"]["tokens_per_second"] / figures["plain"]["tokens_per_second"]
    print(json.dumps({"benchmark": "training", "ratio": round(ratio, 2), "target": TARGET, **figures}))
    if options.check and ratio < TARGET:
        sys.exit(1)


if __name__ == "__main__":
    main()
