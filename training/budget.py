"""Will it fit? Memory and disk of a run, estimated before it starts, with the arithmetic shown.

The terms follow "Reducing Activation Recomputation in Large Transformer Models" (arXiv 2205.05198) for activations and QLoRA
(arXiv 2305.14314) for weights. They are rough: what libraries and the allocator take comes on top, and they were not
calibrated on a GPU.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import BusyError
from contracts.files import require_disk
from contracts.params import Training

_NF4_BYTES = 0.5 + 1 / 64 + 4 / 64 / 256  # four bits, and a scale of eight bits for 64 weights, itself quantised
_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Shape:
    """What the estimate needs to know of a model and its batches."""

    linear: int  # weights that become four-bit
    other: int  # embeddings, norms, the head: in the compute type
    adapter: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    batch_tokens: int  # the largest batch, padding included
    batch_supervised: int


def shape_of(base: Path, training: Training, batch_tokens: int, batch_supervised: int) -> Shape:
    """Read from the model's config alone: no weight is loaded."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config: Any = AutoConfig.from_pretrained(base, trust_remote_code=False)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    linear = sum(layer.weight.numel() for layer in layers)
    text = config.get_text_config()
    return Shape(
        linear=linear,
        other=sum(p.numel() for p in model.parameters()) - linear,
        adapter=sum(training.lora.rank * (layer.in_features + layer.out_features) for layer in layers),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=text.intermediate_size,
        vocabulary=text.vocab_size,
        batch_tokens=batch_tokens,
        batch_supervised=batch_supervised,
    )


def memory(shape: Shape, training: Training, dtype: str, gpu: bool) -> dict[str, int]:
    """Bytes of each part of the memory that a run needs."""
    width = _BYTES[dtype]
    one_layer = shape.batch_tokens * (14 * shape.hidden + 4 * shape.intermediate) * width
    kept = shape.batch_tokens * shape.hidden * width if training.gradient_checkpointing else one_layer
    return {
        "weights": int(shape.linear * _NF4_BYTES + shape.other * width),
        "adapter, gradients and optimizer": shape.adapter * (2 * width + (2 if gpu else 2 * width)),
        "activations": kept * shape.layers + 2 * one_layer,
        "logits": 4 * shape.batch_supervised * shape.vocabulary * 4,
        "one layer unpacked": int(4 * shape.hidden * shape.intermediate * width),
    }


def require_memory(shape: Shape, training: Training, dtype: str) -> None:
    """Say what the run will take, and raise BusyError if this machine cannot give it."""
    import psutil
    import torch

    gpu = torch.cuda.is_available()
    parts = memory(shape, training, dtype, gpu)
    needed = sum(parts.values())
    free = torch.cuda.mem_get_info()[0] if gpu else psutil.virtual_memory().available
    sums = " + ".join(f"{name} {size / 2**30:.2f}" for name, size in parts.items())
    print(f"memory: {sums} = about {needed / 2**30:.2f} GiB more; {free / 2**30:.1f} GiB are free", flush=True)
    if needed > free:
        raise BusyError(
            f"this run needs about {needed / 2**30:.1f} GiB ({sums}) and {free / 2**30:.1f} are free:"
            f" halve training.batch_size ({training.batch_size}) and double training.gradient_accumulation,"
            " lower training.max_length, or switch training.gradient_checkpointing on"
        )


def require_room(work: Path, shape: Shape) -> None:
    """Two checkpoints (the best and the last) hold an adapter and its two moments each, the output one more adapter.

    Raises:
        BusyError: the disk has no room for them.
    """
    require_disk(work, 4 * shape.adapter * (2 * 3 + 1))
