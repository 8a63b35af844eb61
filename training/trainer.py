"""TRL's SFTTrainer, with a loss that also runs where there is no GPU.

TRL 1.15 computes the loss in Triton kernels, which need a GPU driver. On a CPU the same loss is computed in plain torch: like
TRL's, it projects only the supervised positions through the LM head, which is a fifth of a small model's work.
"""

from typing import Any

import torch
from torch.nn.functional import cross_entropy
from trl import SFTTrainer

from training.encode import IGNORED


def assistant_loss(
    model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, int]:
    """Summed cross entropy over the supervised tokens, and how many they are.

    `model` is a causal LM, with or without a PEFT adapter; the three tensors are (batch, length).
    """
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    backbone = getattr(causal, causal.base_model_prefix)
    hidden = backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state[:, :-1]
    wanted = labels[:, 1:]
    mask = wanted != IGNORED
    logits = causal.get_output_embeddings()(hidden[mask])
    return cross_entropy(logits.float(), wanted[mask], reduction="sum"), int(mask.sum())


class AssistantTrainer(SFTTrainer):
    """SFTTrainer whose loss is `assistant_loss` on a CPU and TRL's own on a GPU."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if inputs["input_ids"].device.type != "cpu":
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        unwrapped = self.accelerator.unwrap_model(model)
        total, count = assistant_loss(unwrapped, inputs["input_ids"], inputs["attention_mask"], inputs["labels"])
        loss = total / (count if num_items_in_batch is None else num_items_in_batch)
        return (loss, {}) if return_outputs else loss
