"""What TRL's Triton kernel computes, in plain torch, so that its trainers also run where there is no GPU.

TRL 1.15 never builds all logits: its trainers give the model a *fused head*, a Triton kernel that projects the supervised
positions only and returns their log-probabilities. On a CPU that kernel does not run; this one does. The gradient is
computed in the forward pass, a few tokens at a time, as Liger's fused cross entropy does (arXiv 2410.10989): no more than
CHUNK × vocabulary logits exist at once.
"""

from typing import Any

import torch
from torch.nn.functional import linear

CHUNK = 64  # tokens: their logits over 50,000 words are 13 MB


class LogProbs(torch.autograd.Function):
    """Stands where TRL's autograd function stands. The head itself is frozen, as under any LoRA."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        temperature: float,
        _chunk_size: int,
        softcap: float | None,
        scale: float,
        outputs: tuple[str, ...],
    ) -> tuple[torch.Tensor | None, ...]:
        """Of `hidden` (tokens, width) through the head `weight` (vocabulary, width), each as (tokens,):

        the log-probability of `targets`, then entropy, log Σp², mean logit and whether the target is the likeliest;
        None for what `outputs` does not ask.
        """
        needs_gradient = ctx.needs_input_grad[0]
        gradient = torch.empty_like(hidden) if needs_gradient else hidden.new_empty(0)
        parts: list[tuple[torch.Tensor, ...]] = []
        for start in range(0, len(hidden), CHUNK):
            some, wanted = slice(start, start + CHUNK), targets[start : start + CHUNK, None]
            logits = linear(hidden[some], weight, bias).float().mul_(scale)
            slope = scale / temperature
            if softcap is not None:
                logits = torch.tanh(logits.div_(softcap))
                slope = slope * (1 - logits.square())
                logits = logits.mul_(softcap)
            logits = logits.div_(temperature)
            log_z = logits.logsumexp(-1, keepdim=True)
            target = logits.gather(-1, wanted)
            probs = torch.exp(logits - log_z)
            parts.append(
                (
                    target - log_z,
                    log_z - torch.linalg.vecdot(probs, logits)[:, None],
                    torch.linalg.vecdot(probs, probs)[:, None].log(),
                    logits.mean(-1, keepdim=True),
                    target >= logits.amax(-1, keepdim=True),
                )
            )
            if needs_gradient:  # of the log-probability: (one-hot - p) × slope, back through the head
                probs.neg_().scatter_add_(-1, wanted, torch.ones_like(target))
                gradient[some] = (probs.mul_(slope)).to(weight.dtype) @ weight
        ctx.save_for_backward(gradient)
        ctx.set_materialize_grads(False)
        empty = hidden.new_empty(0, dtype=torch.float32)
        log_probs, *extra = [torch.cat(column)[:, 0] for column in zip(*parts, strict=True)] or [empty] * 5
        names = ("entropy", "log_sum_sq_probs", "mean_logits", "is_top1")
        asked = [values if name in outputs else None for name, values in zip(names, extra, strict=True)]
        ctx.mark_non_differentiable(*(values for values in asked if values is not None))
        return log_probs, *asked

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        """From the gradient of the log-probabilities to that of `hidden`."""
        (gradient,) = ctx.saved_tensors
        of_log_probs = gradients[0]
        found = None if of_log_probs is None else (of_log_probs[:, None] * gradient).to(gradient.dtype)
        return (found, *[None] * 8)


def use_where_there_is_no_gpu() -> None:
    """Give TRL's trainers this kernel, if Triton's cannot run here.

    Raises:
        RuntimeError: this TRL keeps its kernel elsewhere.
    """
    from trl.trainer import utils

    if not torch.cuda.is_available():
        if not hasattr(utils, "_ChunkedLogProbFunction"):
            raise RuntimeError("this TRL has no _ChunkedLogProbFunction: training/kernel.py was written for TRL 1.15")
        utils._ChunkedLogProbFunction = LogProbs
