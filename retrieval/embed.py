"""Texts to vectors, by a sentence-transformers model that lies on this machine.

What an index must know of its embedder (revision, dimensions, word pieces) is read from the model's small files. The
weights are loaded by the first `encode`, so a run that has nothing to embed never loads them.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tokenizers import Tokenizer

from contracts.devices import compute_dtype, device
from contracts.errors import ModelError
from contracts.models import ModelSource, resolve_model

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class Embedder(Protocol):
    """What turns text into vectors. `max_tokens` are word pieces of text, the model's own special tokens taken off."""

    revision: str
    dimensions: int
    max_tokens: int

    def count_tokens(self, text: str) -> int:
        """Word pieces of `text`, without special tokens."""

    def encode(self, texts: list[str]) -> np.ndarray:
        """One unit vector per text: float32, (len(texts), dimensions)."""


class SentenceEmbedder:
    """A sentence-transformers checkpoint in a folder. No remote code, no download."""

    def __init__(self, folder: Path, revision: str, dtype: str) -> None:
        self.folder, self.revision, self.dtype = folder, revision, dtype
        config = _json(folder / "config.json")
        limits = [
            _json(folder / "sentence_bert_config.json").get("max_seq_length"),
            _json(folder / "tokenizer_config.json").get("model_max_length"),
            config.get("max_position_embeddings"),
        ]
        tokenizer = folder / "tokenizer.json"
        if not tokenizer.is_file() or not any(limits) or "hidden_size" not in config:
            raise ModelError(
                f"{folder} is no embedder that can be read: expected a sentence-transformers folder with"
                " config.json and tokenizer.json"
            )
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._reads = int(min(limit for limit in limits if limit))
        self.max_tokens = self._reads - self._tokenizer.num_special_tokens_to_add(False)
        self.dimensions = int(config["hidden_size"])
        for module in sorted(folder.glob("*_Dense/config.json")):
            self.dimensions = int(_json(module)["out_features"])

    def count_tokens(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode(self, texts: list[str]) -> np.ndarray:
        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        vectors = np.asarray(
            self._model.encode(texts, batch_size=32, convert_to_numpy=True, show_progress_bar=False), dtype=np.float32
        )
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if vectors.shape[1] != self.dimensions or not np.isfinite(lengths).all() or not lengths.all():
            raise ModelError(
                f"{self.folder} gives no usable vectors of {self.dimensions} dimensions: choose another embedder"
            )
        return vectors / lengths

    @cached_property
    def _model(self) -> "SentenceTransformer":
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        kwargs = {"dtype": getattr(torch, compute_dtype(self.dtype)), "use_safetensors": True}
        try:
            model = SentenceTransformer(str(self.folder), device=device(), local_files_only=True, model_kwargs=kwargs)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{self.folder} cannot be loaded as an embedder: {error}") from error
        model.max_seq_length = self._reads
        return model


def load_embedder(reference: str, dtype: str) -> SentenceEmbedder:
    """Find the embedder that `reference` names; its weights are loaded when they are first needed.

    Raises:
        ModelError: nothing is there, it is no embedder, or a hub id is not in the local hub cache.
    """
    source = resolve_model(reference)
    if source.kind == "gguf":
        raise ModelError(
            f"retrieval.embedder `{reference}` is a GGUF file: name a sentence-transformers folder or package"
        )
    if source.kind == "hub":
        folder = _cached_snapshot(source)
        return SentenceEmbedder(folder, folder.name, dtype)  # a snapshot's folder is named by its commit
    return SentenceEmbedder(Path(source.location), source.revision, dtype)


def _cached_snapshot(source: ModelSource) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source.location, revision=source.revision, local_files_only=True))
    except LocalEntryNotFoundError:
        raise ModelError(
            f"retrieval.embedder `{source.reference}` is not in the local hub cache:"
            f" fetch it once with `hf download {source.location} --revision {source.revision}`"
        ) from None


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
