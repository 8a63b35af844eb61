"""The base model as a normal checkpoint: safetensors, tokenizer and chat template in one directory."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import ModelError
from contracts.files import read_json, require_disk, write_json
from contracts.models import ModelSource, resolve_model
from training.license import base_license

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SOURCE = "source.json"


def write_base(reference: str, out: Path) -> ModelSource:
    """Write the model that `reference` names to `out` as float32 (GGUF) or in its own precision (anything else).

    Raises:
        ModelError: the reference leads nowhere, or has no chat template.
        BusyError: the disk has no room for it.
    """
    source = resolve_model(reference)
    model, tokenizer = _load(source)
    if not tokenizer.chat_template:
        raise ModelError(
            f"base_model `{reference}` has no chat template: pick an instruct model, or add chat_template.jinja beside it"
        )
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    require_disk(out, size)
    shutil.rmtree(out, ignore_errors=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    write_json(
        out / SOURCE,
        {
            "reference": reference,
            "kind": source.kind,
            "revision": source.revision,
            "parameters": model.num_parameters(),
            **base_license(source),
        },
    )
    return source


def base_revision(base: Path) -> str:
    """The revision that `write_base` recorded."""
    return str(read_json(base / SOURCE)["revision"])


def load_tokenizer(source: ModelSource) -> "PreTrainedTokenizerBase":
    """The tokenizer that a reference leads to."""
    from transformers import AutoConfig, AutoTokenizer

    where, extra = _arguments(source)
    tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False, **extra)
    if source.kind == "gguf":
        # A GGUF's tokenizer loses which token ends a turn; the config has it.
        config = AutoConfig.from_pretrained(where, trust_remote_code=False, **extra)
        tokenizer.eos_token = tokenizer.pad_token = tokenizer.convert_ids_to_tokens(config.eos_token_id)
        tokenizer.model_max_length = config.max_position_embeddings
    return tokenizer


def _load(source: ModelSource) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    where, extra = _arguments(source)
    dtype = torch.float32 if source.kind == "gguf" else "auto"
    try:
        tokenizer = load_tokenizer(source)
        model: Any = AutoModelForCausalLM.from_pretrained(
            where, dtype=dtype, trust_remote_code=False, use_safetensors=True, **extra
        )
    except (OSError, ValueError, SafetensorError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise ModelError(
            f"base_model `{source.reference}` cannot be read ({first_line}): correct it in params.yaml"
        ) from error
    if source.kind == "gguf":
        model = _without_gguf(model)
    return model, tokenizer


def _arguments(source: ModelSource) -> tuple[str, dict[str, str]]:
    """Where, and with which further arguments, transformers finds what a reference names."""
    if source.kind == "gguf":
        path = Path(source.location)
        return str(path.parent), {"gguf_file": path.name}
    return source.location, {"revision": source.revision} if source.kind == "hub" else {}


def _without_gguf(model: "PreTrainedModel") -> "PreTrainedModel":
    """transformers refuses to save what it read from a GGUF: rebuild the same model as a plain one."""
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    config.pop("_name_or_path", None)
    plain = type(model)(type(model.config).from_dict(config))
    plain.load_state_dict(model.state_dict())
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain
