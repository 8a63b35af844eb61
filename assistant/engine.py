"""Text generation with transformers: batches for evaluation, a stream for people."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, StoppingCriteriaList, TextIteratorStreamer

from contracts.devices import compute_dtype, device
from contracts.errors import ModelError
from contracts.params import Assistant as Settings


@dataclass(frozen=True)
class Generation:
    """One generated text. `confidence` is the mean probability of its tokens, between 0 and 1."""

    text: str
    prompt_tokens: int
    answer_tokens: int
    confidence: float


class Engine:
    """A causal language model that answers chats."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.tokenizer.padding_side = "left"
        self.tokenizer.clean_up_tokenization_spaces = False  # a byte-level tokenizer's text is exact as it is

    @classmethod
    def load(cls, path: Path, dtype: str = "auto") -> "Engine":
        """Read a checkpoint directory; `dtype` as in params.yaml.

        Raises:
            ModelError: the directory holds no readable model.
        """
        try:
            tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
            model = AutoModelForCausalLM.from_pretrained(
                path,
                dtype=getattr(torch, compute_dtype(dtype)),
                device_map={"": device()},
                trust_remote_code=False,
                use_safetensors=True,
            )
        except (OSError, ValueError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"{path} holds no readable model ({reason}): run `freshtune retrain`") from error
        return cls(model, tokenizer)

    def count_tokens(self, text: str) -> int:
        """Tokens of a plain text."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @torch.inference_mode()
    def generate(self, conversations: list[list[dict[str, str]]], settings: Settings) -> list[Generation]:
        """Answer each conversation, all in one left-padded batch."""
        inputs = self._inputs(conversations)
        out = self.model.generate(
            **inputs, **self._sampling(settings), return_dict_in_generate=True, output_logits=True
        )
        generated = out.sequences[:, inputs["input_ids"].shape[1] :]
        log_probs = torch.stack(
            [
                step.float().log_softmax(-1).gather(-1, generated[:, i : i + 1]).squeeze(-1)
                for i, step in enumerate(out.logits)
            ],
            dim=1,
        )
        prompt_lengths = inputs["attention_mask"].sum(dim=1).tolist()
        return [
            self._generation(ids, scores, length)
            for ids, scores, length in zip(generated, log_probs, prompt_lengths, strict=True)
        ]

    def stream(self, conversation: list[dict[str, str]], settings: Settings) -> Generator[str | Generation, None, None]:
        """Yield pieces of text as they are generated, then the finished Generation. Closing it ends the generation."""
        inputs = self._inputs([conversation])
        streamer = TextIteratorStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
        outcome: dict[str, Any] = {}
        left = Event()

        def stop(ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
            return torch.full((ids.shape[0],), left.is_set(), device=ids.device)

        @torch.inference_mode()
        def work() -> None:
            try:
                outcome["ids"] = self.model.generate(
                    **inputs,
                    **self._sampling(settings),
                    streamer=streamer,
                    stopping_criteria=StoppingCriteriaList([stop]),
                )
            except BaseException as error:
                outcome["error"] = error
                streamer.end()

        thread = Thread(target=work, daemon=True)
        thread.start()
        try:
            yield from (piece for piece in streamer if piece)
        finally:
            left.set()
            thread.join()
        if error := outcome.get("error"):
            raise error
        prompt_length = inputs["input_ids"].shape[1]
        ids = outcome["ids"][0, prompt_length:]
        yield self._generation(ids, self._log_probs(outcome["ids"], prompt_length), prompt_length)

    @torch.inference_mode()
    def _log_probs(self, sequence: torch.Tensor, prompt_length: int) -> torch.Tensor:
        """Log-probabilities of what follows the prompt: streaming keeps no logits, one more forward pass does."""
        logits = self.model(input_ids=sequence).logits[0, prompt_length - 1 : -1].float()
        return logits.log_softmax(-1).gather(-1, sequence[0, prompt_length:, None]).squeeze(-1)

    def _inputs(self, conversations: list[list[dict[str, str]]]) -> Any:
        texts = [
            self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            for messages in conversations
        ]
        encoded = self.tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
        return {name: encoded[name].to(self.model.device) for name in ("input_ids", "attention_mask")}

    def _sampling(self, settings: Settings) -> dict[str, Any]:
        chosen: dict[str, Any] = {
            "max_new_tokens": settings.max_new_tokens,
            "repetition_penalty": settings.repetition_penalty,
            "pad_token_id": self.tokenizer.pad_token_id,
            "eos_token_id": self.tokenizer.eos_token_id,
            "do_sample": settings.temperature > 0,
        }
        return chosen | ({"temperature": settings.temperature} if settings.temperature > 0 else {})

    def _generation(self, ids: torch.Tensor, log_probs: torch.Tensor, prompt_tokens: int) -> Generation:
        ended = (ids == self.tokenizer.eos_token_id).nonzero()
        length = int(ended[0]) + 1 if len(ended) else len(ids)
        confidence = float(log_probs[:length].exp().mean()) if length else 0.0
        text = self.tokenizer.decode(ids[:length], skip_special_tokens=True).strip()
        return Generation(text, prompt_tokens, length, confidence)
