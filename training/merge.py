"""The adapter merged into the full-precision base, and the proof that nothing was lost on the way."""

import gc
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from contracts.errors import ModelError
from contracts.files import require_disk
from contracts.pairs import Pair
from contracts.params import Params
from contracts.verdicts import MergeRecord
from training.encode import IGNORED, Encoded, encode

PROOF_ROWS = 16
PROOF_TOKENS = 64  # of each row: three times 16 × 64 places × vocabulary in float32 stay well under a gigabyte


def merge_adapter(
    params: Params, behaviour: str, base: Path, adapter: Path, proof_rows: list[Pair], out: Path
) -> MergeRecord:
    """Merge at full precision, cast last, compare with base + adapter on held-out chats, and write only what passed.

    The comparison is with the *full-precision* base + adapter: the four-bit one that was trained differs from both by
    its own rounding.

    Raises:
        ModelError: the merged model differs from base + adapter, or does not differ from the base.
    """
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = [
        encode(pair, tokenizer, params.assistant.system, params.training.max_length) for pair in proof_rows[:PROOF_ROWS]
    ]
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, trust_remote_code=False)
    plain = _supervised_logits(model, rows)
    peft_model = PeftModel.from_pretrained(model, adapter)
    adapted = _supervised_logits(peft_model, rows)
    merged = peft_model.merge_and_unload(safe_merge=True).to(getattr(torch, params.merge.dtype))
    written = _supervised_logits(merged, rows)

    wanted = torch.tensor(
        [token for row in rows for token in [t for t in row.labels[1:] if t != IGNORED][:PROOF_TOKENS]]
    )
    record = MergeRecord(
        behaviour=behaviour,
        dtype=params.merge.dtype,
        rows=len(rows),
        logit_difference=float((written - adapted).abs().max()),
        argmax_agreement=float((written.argmax(-1) == adapted.argmax(-1)).float().mean()),
        perplexity_adapter=_perplexity(adapted, wanted),
        perplexity_merged=_perplexity(written, wanted),
        perplexity_base=_perplexity(plain, wanted),
        difference_from_base=float((written - plain).abs().max()),
    )
    prove(record, params)
    del plain, adapted, written
    gc.collect()

    require_disk(out, sum(p.numel() * p.element_size() for p in merged.parameters()))
    shutil.rmtree(out, ignore_errors=True)
    merged.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return record


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


@torch.inference_mode()
def _supervised_logits(model: Any, rows: list[Encoded]) -> torch.Tensor:
    """Logits at the places whose next token is the assistant's: (supervised tokens, vocabulary), float32."""
    model.eval()
    found = []
    for row in rows:
        logits = model(input_ids=torch.tensor([row.input_ids])).logits[0, :-1]
        found.append(logits[torch.tensor(row.labels[1:]) != IGNORED][:PROOF_TOKENS].float())
    return torch.cat(found)


def _perplexity(logits: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(torch.nn.functional.cross_entropy(logits, wanted).exp())
