"""How a four-bit base with a fresh LoRA adapter is made: by peft anywhere, by unsloth on a GPU. Nothing else differs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from contracts.errors import ModelError
from contracts.params import Training

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import BitsAndBytesConfig

Backend = Literal["peft", "unsloth"]
EAGER_TOKENS = 512  # 604 against 481 tokens a second at 512, 98 against 266 at 2048 (135M parameters, 2 cores, bf16)


def choose_backend(setting: Literal["auto", "peft", "unsloth"]) -> tuple[Backend, str]:
    """The backend to use and, in a few words, why.

    Raises:
        ModelError: unsloth was asked for where there is no GPU.
    """
    import torch

    gpu = torch.cuda.is_available()
    if setting == "unsloth" and not gpu:
        raise ModelError("training.backend is unsloth, which needs a GPU and finds none: set it to auto or peft")
    if setting != "auto":
        return setting, f"training.backend is {setting}"
    return ("unsloth", "a GPU is here") if gpu else ("peft", "no GPU is here")


def load_for_training(backend: Backend, base: Path, training: Training, compute_dtype: str, seed: int) -> "PeftModel":
    """The base in NF4 with double quantisation (QLoRA, arXiv 2305.14314) and a fresh LoRA adapter on it.

    Raises:
        ModelError: a LoRA target matches no layer.
    """
    from transformers import set_seed

    set_seed(seed)
    return (_with_unsloth if backend == "unsloth" else _with_peft)(base, training, compute_dtype, seed)


def _with_peft(base: Path, training: Training, compute_dtype: str, seed: int) -> "PeftModel":
    import torch
    from accelerate import PartialState
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    gpu = torch.cuda.is_available()
    dtype = getattr(torch, compute_dtype)
    model = AutoModelForCausalLM.from_pretrained(
        base,
        dtype=dtype,
        # On a CPU torch's fused attention is the slower one for short chats, and the faster and leaner one for long.
        attn_implementation="eager" if not gpu and training.max_length <= EAGER_TOKENS else "sdpa",
        device_map={"": PartialState().local_process_index if gpu else "cpu"},
        trust_remote_code=False,
        quantization_config=nf4(dtype),
    )
    modules: Any = model.modules()
    for module in modules:
        # On an AVX512-BF16 processor bitsandbytes repacks the weights at the first evaluation for a kernel without a
        # backward pass, and training on would silently learn in the last layers only.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    lora = training.lora
    targets: Any = lora.targets
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise _no_such_target(training, error) from error


def _with_unsloth(base: Path, training: Training, compute_dtype: str, seed: int) -> "PeftModel":
    import torch
    import unsloth  # patches transformers and trl when imported: first, and only here

    model, _ = unsloth.FastLanguageModel.from_pretrained(
        str(base), max_seq_length=training.max_length, dtype=getattr(torch, compute_dtype), load_in_4bit=True
    )
    lora = training.lora
    linear = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    try:
        return unsloth.FastLanguageModel.get_peft_model(
            model,
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=linear if lora.targets == "all-linear" else lora.targets,
            use_gradient_checkpointing="unsloth" if training.gradient_checkpointing else False,
            random_state=seed,
        )
    except ValueError as error:
        raise _no_such_target(training, error) from error


def nf4(dtype: "torch.dtype") -> "BitsAndBytesConfig":
    """Four-bit NormalFloat with double quantisation; the weights are unpacked to `dtype` for each product."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def adapter_weights(model: "PeftModel", folder: Path) -> None:
    """Give `model`'s adapter the weights that `save_pretrained` wrote to `folder`.

    Raises:
        ModelError: they are an adapter of another rank, or of another base.
    """
    from peft import load_peft_weights, set_peft_model_state_dict

    try:
        result: Any = set_peft_model_state_dict(model, load_peft_weights(str(folder), device="cpu"))
    except RuntimeError as error:
        raise ModelError(
            f"the adapter in {folder} does not fit this base and training.lora ({str(error).splitlines()[-1].strip()}):"
            f" remove {folder} and train again"
        ) from error
    if result.unexpected_keys:
        raise ModelError(f"the adapter in {folder} is of another base: remove it and train again")


def _no_such_target(training: Training, error: Exception) -> ModelError:
    return ModelError(
        f"training.lora.targets is {training.lora.targets} and cannot be applied to this base ({str(error).splitlines()[0]}):"
        " name layers of the model, or all-linear"
    )
