"""How two models are compared: on the same held-out chats, at the places where the assistant speaks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from contracts.errors import ModelError
from contracts.pairs import Pair
from contracts.params import Params
from contracts.prompts import training_messages
from training.encode import IGNORED, Encoded, encode, render

ROWS = 16
TOKENS = 64  # of each row: three times 16 × 64 places × vocabulary in float32 stay well under a gigabyte


@dataclass(frozen=True)
class Comparison:
    """Logits of one model against another's, on the same places."""

    logit_difference: float  # the largest
    argmax_agreement: float  # share of places where both would pick the same token


def proof_rows(pairs: list[Pair], tokenizer: Any, params: Params) -> list[Encoded]:
    """The first ROWS of `pairs`, encoded as in training."""
    return [encode(pair, tokenizer, params.assistant.system, params.training.max_length) for pair in pairs[:ROWS]]


@torch.inference_mode()
def supervised_logits(model: Any, rows: list[Encoded]) -> torch.Tensor:
    """Logits at the places whose next token is the assistant's: (supervised tokens, vocabulary), float32."""
    model.eval()
    found = []
    for row in rows:
        logits = model(input_ids=torch.tensor([row.input_ids], device=model.device)).logits[0, :-1]
        found.append(logits[torch.tensor(row.labels[1:]) != IGNORED][:TOKENS].float().cpu())
    return torch.cat(found)


def compare(logits: torch.Tensor, reference: torch.Tensor) -> Comparison:
    """Both (supervised tokens, vocabulary)."""
    return Comparison(
        logit_difference=float((logits - reference).abs().max()),
        argmax_agreement=float((logits.argmax(-1) == reference.argmax(-1)).float().mean()),
    )


def perplexity(logits: torch.Tensor, rows: list[Encoded]) -> float:
    """Of the assistant's tokens in `rows`, from `supervised_logits` of them."""
    wanted = [token for row in rows for token in [t for t in row.labels[1:] if t != IGNORED][:TOKENS]]
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(wanted)).exp())


def require_same_template(folder: Path, tokenizer: Any, pairs: list[Pair], params: Params) -> None:
    """Raise ModelError unless the tokenizer written to `folder` renders `pairs` as training rendered them."""
    from transformers import AutoTokenizer

    written = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    for pair in pairs[:ROWS]:
        messages = training_messages(pair.messages, pair.passages, params.assistant.system)
        if render(written, messages, False) != render(tokenizer, messages, False):
            raise ModelError(
                f"the chat template in {folder} renders pair {pair.id} otherwise than in training:"
                " the tokenizer of models/base lost it when it was saved; write the base again (`freshtune stage base`)"
            )
