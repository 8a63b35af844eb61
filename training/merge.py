"""The adapter merged into the full-precision base, and the proof that nothing was lost on the way."""

import gc
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from contracts.errors import ModelError
from contracts.files import require_disk
from contracts.pairs import Pair
from contracts.params import Params
from contracts.verdicts import MergeRecord, TrainingRecord
from training import proof
from training.base import base_revision


def merge_adapter(
    params: Params, trained: TrainingRecord, base: Path, adapter: Path, proof_pairs: list[Pair], out: Path
) -> MergeRecord:
    """Merge `merge.share` of the adapter at full precision, cast last, compare with base + adapter on held-out chats, and
    write only what passed.

    The comparison is with the *full-precision* base + adapter: the four-bit one that was trained differs from both by
    its own rounding. `trained` is the record beside the adapter.

    Raises:
        ModelError: the adapter is of another base or cannot be read, or the merged model differs from base + adapter, or
            does not differ from the base, or its tokenizer does not render a chat as in training.
    """
    now = f"{params.base_model}@{base_revision(base)}"
    if trained.base != now:
        raise ModelError(
            f"{adapter} was trained on {trained.base}, and {base} holds {now}: train again (`dvc repro train`)"
        )
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = proof.proof_rows(proof_pairs, tokenizer, params)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, trust_remote_code=False)
    plain = proof.supervised_logits(model, rows)
    peft_model = _with_adapter(model, adapter)
    _scale(peft_model, params.merge.share)
    adapted = proof.supervised_logits(peft_model, rows)
    merged = peft_model.merge_and_unload(safe_merge=True).to(getattr(torch, params.merge.dtype))
    written = proof.supervised_logits(merged, rows)
    same, other = proof.compare(written, adapted), proof.compare(written, plain)
    record = MergeRecord(
        behaviour=trained.behaviour,
        dtype=params.merge.dtype,
        share=params.merge.share,
        rows=len(rows),
        logit_difference=same.logit_difference,
        argmax_agreement=same.argmax_agreement,
        perplexity_adapter=proof.perplexity(adapted, rows),
        perplexity_merged=proof.perplexity(written, rows),
        perplexity_base=proof.perplexity(plain, rows),
        difference_from_base=other.logit_difference,
    )
    prove(record, params)
    del plain, adapted, written
    gc.collect()

    require_disk(out, sum(p.numel() * p.element_size() for p in merged.parameters()))
    shutil.rmtree(out, ignore_errors=True)
    merged.save_pretrained(out)
    tokenizer.save_pretrained(out)
    proof.require_same_template(out, tokenizer, proof_pairs, params)
    return record


def _with_adapter(model: Any, adapter: Path) -> Any:
    try:
        return PeftModel.from_pretrained(model, adapter)
    except (SafetensorError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ModelError(
            f"the adapter in {adapter} cannot be put on this base ({reason}): it is damaged, or its rank is not that of"
            " its adapter_config.json; train again (`dvc repro train`)"
        ) from error


def _scale(model: Any, share: float) -> None:
    """Keep `share` of what was learnt: a point on the line from the base to the tuned weights (arXiv 2109.01903)."""
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.scale_layer(share)


def prove(record: MergeRecord, params: Params) -> None:
    """Raise ModelError unless merged ≈ base + adapter and merged ≠ base (law 4)."""
    bounds = params.merge
    if not math.isfinite(record.logit_difference) or record.logit_difference > bounds.max_logit_difference:
        raise ModelError(
            f"the merged model's logits differ from base + adapter by up to {record.logit_difference:.3g}"
            f" (merge.max_logit_difference is {bounds.max_logit_difference}): merge in float32, or raise the bound for {record.dtype}"
        )
    if record.argmax_agreement < bounds.min_argmax_agreement:
        raise ModelError(
            f"the merged model picks another token than base + adapter in {1 - record.argmax_agreement:.1%} of the places"
            f" (merge.min_argmax_agreement is {bounds.min_argmax_agreement}): merge in float32"
        )
    if record.difference_from_base <= record.logit_difference:
        raise ModelError(
            "the merged model is no different from the base: the adapter was not applied or learnt nothing;"
            " look at the loss curve (`dvc plots show`) and at training.learning_rate"
        )
