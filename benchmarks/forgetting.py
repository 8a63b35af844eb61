"""What training cost the model's general ability: base and merged model on general text and on questions, in one run.

    python -m benchmarks.forgetting [PROJECT] [--behaviour NAME] [--data DIR] [--limit N] [--check]

General text: perplexity over the English Wikipedia articles of WikiText (Merity et al., arXiv 1609.07843) in
chunk_spans/corpora/wikitexts.md, in windows of 512 tokens side by side. Questions: TruthfulQA (Lin et al., arXiv
2109.07958), multiple choice with one true answer (MC1), no examples in the prompt. The model chooses the answer with
the highest log-likelihood after "Q: …\nA:", per byte of the answer as lm-evaluation-harness' acc_norm does; MC1's own
choice, by the sum, is told too. Changes are relative to the base and paired, with 95% bootstrap intervals over windows
and questions. Prints one line of JSON; --check fails where perplexity or accuracy is more than 2% worse.
"""

import argparse
import gc
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts import paths
from contracts.devices import compute_dtype, device
from contracts.errors import DataError, FreshtuneError, ModelError
from contracts.verdicts import Estimate
from evaluation.intervals import difference, share

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TEXT = Path("chunk_spans/corpora/wikitexts.md")
QUESTIONS = Path("capability/truthfulqa/mc_task.json")
WINDOW = 512  # tokens
BATCH_TOKENS = 4096  # padded; × 49,152 logits × 4 bytes = 0.8 GB
MAX_CHANGE = 0.02
RESAMPLES, SEED = 2000, 17


@dataclass(frozen=True)
class Question:
    """A question with its answers; `right` is the place of the true one."""

    question: str
    answers: list[str]
    right: int


@dataclass(frozen=True)
class Scores:
    """What one model does. Nats per token of each window; whether each question was answered right, both ways."""

    windows: list[float]
    by_byte: list[float]
    by_sum: list[float]


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit code: 1 when --check does not hold, 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forgetting", description=__doc__.split("\n")[0])
    parser.add_argument(
        "project", type=Path, nargs="?", default=Path(), help="a project with models/base and models/merged"
    )
    parser.add_argument("--behaviour", default="support")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with the public data")
    parser.add_argument("--limit", type=int, help="at most this many questions, and as many windows")
    parser.add_argument("--check", action="store_true", help="fail when it is more than 2%% worse")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    try:
        text, questions = read_text(options.data / TEXT), read_questions(options.data / QUESTIONS)
        models = [options.project / path for path in (paths.BASE, paths.merged(options.behaviour))]
        before, after = (score(model, text, questions, options.limit) for model in require_models(models))
    except FreshtuneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    found = result(before, after) | {"seconds": round(time.perf_counter() - start)}
    print(json.dumps(found))
    if options.check and (missed := failures(found)):
        print(f"check failed: {'; '.join(missed)}", file=sys.stderr)
        return 1
    return 0


def read_text(path: Path) -> str:
    """Raises:
    DataError: there is no such file; says what it is.
    """
    if not path.is_file():
        raise DataError(
            f"{path} is missing: name the folder that holds {TEXT} (or another plain text there) with --data"
        )
    return path.read_text(encoding="utf-8")


def read_questions(path: Path) -> list[Question]:
    """Raises:
    DataError: the file is missing, or not TruthfulQA's mc_task.json.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [
            Question(row["question"], list(row["mc1_targets"]), list(row["mc1_targets"].values()).index(1))
            for row in rows
        ]
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing: name the folder that holds {QUESTIONS} (TruthfulQA's multiple-choice file) with --data"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not TruthfulQA's multiple-choice file ({type(error).__name__}: {error})") from None


def require_models(models: list[Path]) -> list[Path]:
    """Raises:
    ModelError: one is not there; checked before the first is read.
    """
    if missing := [model for model in models if not (model / "config.json").is_file()]:
        raise ModelError(f"{missing[0]} holds no model: run `freshtune retrain` in its project first")
    return models


def score(path: Path, text: str, questions: list[Question], limit: int | None) -> Scores:
    """One model on the first `limit` windows and questions."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = getattr(torch, compute_dtype("auto"))
    tokenizer: Any = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, trust_remote_code=False)
    model.to(device()).eval()
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    windows = [ids[start : start + WINDOW] for start in range(0, len(ids) - WINDOW + 1, WINDOW)][:limit]
    questions = questions[:limit]
    if not windows or not questions:
        raise DataError(
            f"there are {len(windows)} windows of {WINDOW} tokens and {len(questions)} questions: give more text"
        )
    chosen = _choose(model, tokenizer, questions)
    summed = log_likelihoods(model, [(window[:1], window[1:]) for window in windows])
    del model
    gc.collect()
    print(f"{path}: {len(windows)} windows, {len(questions)} questions", file=sys.stderr)
    return Scores([-total / (WINDOW - 1) for total in summed], *chosen)


def _choose(model: Any, tokenizer: Any, questions: list[Question]) -> tuple[list[float], list[float]]:
    """1.0 where the model picks the true answer, else 0.0: by log-likelihood per byte, and by its sum."""

    def tokens(words: str) -> list[int]:
        return list(tokenizer(words, add_special_tokens=False)["input_ids"])

    asked = [
        (tokens(f"Q: {question.question}\nA:"), tokens(f" {answer}"))
        for question in questions
        for answer in question.answers
    ]
    found = iter(log_likelihoods(model, asked))
    by_byte, by_sum = [], []
    for question in questions:
        sums = [next(found) for _ in question.answers]
        rates = [total / len(answer.encode()) for total, answer in zip(sums, question.answers, strict=True)]
        by_sum.append(_is_best(sums, question.right))
        by_byte.append(_is_best(rates, question.right))
    return by_byte, by_sum


def _is_best(values: list[float], right: int) -> float:
    """1.0 where the right one is above every other; a tie, and what is no number, is wrong."""
    return float(all(values[right] > value for i, value in enumerate(values) if i != right))


def log_likelihoods(model: Any, rows: Sequence[tuple[list[int], list[int]]]) -> list[float]:
    """Log-likelihood in nats of each continuation after its context, both as token ids, neither empty.

    Rows of similar length share a forward pass; padding on the right cannot be seen by the causal tokens before it.
    """
    import torch

    found = [0.0] * len(rows)
    with torch.inference_mode():
        for batch in _batches([len(context) + len(continuation) for context, continuation in rows]):
            joined = [torch.tensor(rows[i][0] + rows[i][1]) for i in batch]
            ids = torch.nn.utils.rnn.pad_sequence(joined, batch_first=True).to(model.device)
            mask = torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in joined])
            logits = model(input_ids=ids, attention_mask=mask.to(ids), use_cache=False).logits
            for place, i in enumerate(batch):
                start, end = len(rows[i][0]), len(joined[place])
                scores = torch.log_softmax(logits[place, start - 1 : end - 1].float(), dim=-1)
                found[i] = float(scores.gather(1, ids[place, start:end, None]).sum())
    return found


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of rows, the longest first, so many together as BATCH_TOKENS hold."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while order:
        size = max(1, BATCH_TOKENS // lengths[order[0]])
        yield order[:size]
        order = order[size:]


def result(before: Scores, after: Scores) -> dict[str, Any]:
    """The figures of both models and the relative changes; a positive change of perplexity is worse, of accuracy better."""
    nats = difference(after.windows, before.windows, RESAMPLES, SEED)
    return {
        "base": _figures(before),
        "merged": _figures(after),
        "perplexity_change": _mapped(nats, math.expm1),
        "accuracy_change": _relative(before.by_byte, after.by_byte),
        "mc1_change": _relative(before.by_sum, after.by_sum),
        "windows": len(before.windows),
        "window_tokens": WINDOW,
        "questions": len(before.by_byte),
        "dtype": compute_dtype("auto"),
        "device": device(),
    }


def _figures(scores: Scores) -> dict[str, Any]:
    return {
        "perplexity": round(math.exp(sum(scores.windows) / len(scores.windows)), 3),
        "accuracy": share(scores.by_byte, RESAMPLES, SEED).model_dump(exclude={"n"}),
        "mc1": share(scores.by_sum, RESAMPLES, SEED).model_dump(exclude={"n"}),
    }


def _relative(before: list[float], after: list[float]) -> dict[str, float | None]:
    """The paired change over the base's own accuracy, which counts as known."""
    base = sum(before) / len(before)
    if not base:
        return {"mean": None, "low": None, "high": None}
    return _mapped(difference(after, before, RESAMPLES, SEED), lambda points: points / base)


def _mapped(estimate: Estimate, change: Callable[[float], float]) -> dict[str, float | None]:
    return {
        name: None if value is None else round(change(value), 4)
        for name, value in estimate.model_dump(exclude={"n"}).items()
    }


def failures(found: dict[str, Any]) -> list[str]:
    """What is worse by more than MAX_CHANGE; what is no number fails."""
    missed = []
    perplexity, accuracy = found["perplexity_change"]["mean"], found["accuracy_change"]["mean"]
    if not perplexity <= MAX_CHANGE:
        missed.append(f"perplexity changed by {perplexity:+.1%}, over {MAX_CHANGE:.0%}")
    if accuracy is None:
        missed.append("the base answers no question right, so no change can be told")
    elif not accuracy >= -MAX_CHANGE:
        missed.append(f"accuracy changed by {accuracy:+.1%}, below -{MAX_CHANGE:.0%}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
