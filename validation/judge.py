"""The optional judge: a model scores each pair from 1 to 5 against the rubric of params.

Any endpoint that speaks OpenAI's chat completions will do, or the project's own base model, offline. A score is kept
under the hash of model, rubric and pair, so that the same pair is never paid for twice.
"""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from contracts.errors import ModelError
from contracts.files import content_hash, read_json, write_json
from contracts.pairs import Pair
from contracts.params import Judge, secret

Scorer = Callable[[pd.Series], pd.Series]
Ask = Callable[[str], int]

_SCORE = re.compile(r"\b[1-5]\b")


def scorer(settings: Judge, base: Path, cache: Path) -> Scorer:
    """A function that scores a Series of Pair, 1 to 5 each; `base` is the base model's directory, `cache` a folder.

    Raises:
        ParamsError: the key's environment variable is not set.
        ModelError: there is no base model to ask; later, of the function: the endpoint gives no score.
    """
    ask = _base_model(base) if settings.endpoint == "base" else _endpoint(settings)
    model = [settings.endpoint, settings.model, settings.rubric]
    if settings.endpoint == "base" and (base / "source.json").is_file():
        model.append(read_json(base / "source.json").get("revision", ""))

    def score(pair: Pair) -> int:
        prompt = question(pair, settings.rubric)
        kept = cache / f"{content_hash([*model, prompt])}.json"
        if not kept.is_file():
            write_json(kept, {"score": ask(prompt)})
        return int(read_json(kept)["score"])

    def scores(pairs: pd.Series) -> pd.Series:
        workers = 1 if settings.endpoint == "base" else settings.parallel
        with ThreadPoolExecutor(workers) as pool:
            return pd.Series(list(pool.map(score, pairs)), index=pairs.index, dtype=int)

    return scores


def question(pair: Pair, rubric: str) -> str:
    """What the judge reads. The pair is data: it stands between fences, after the rubric."""
    passages = "".join(f"[{n}] {passage.text}\n" for n, passage in enumerate(pair.passages, start=1))
    turns = "\n".join(f"{message.role}: {message.content}" for message in pair.messages)
    shown = re.sub(r"</?\s*pair\s*>", " ", passages + turns, flags=re.IGNORECASE)
    return (
        f"{rubric.strip()}\n\n<pair>\n{shown}\n</pair>\n\n"
        "Score the assistant's answers in the pair from 1 (unusable) to 5 (exemplary). Reply with the digit alone."
    )


def _endpoint(settings: Judge) -> Ask:
    import httpx

    key = secret(settings.api_key_env)
    client = httpx.Client(
        timeout=settings.timeout_seconds,
        headers={"Authorization": f"Bearer {key}"} if key else {},
        transport=httpx.HTTPTransport(retries=2),
    )
    url = settings.endpoint.rstrip("/") + "/chat/completions"

    def ask(prompt: str) -> int:
        body = {"model": settings.model, "messages": [{"role": "user", "content": prompt}], "temperature": 0}
        try:
            response = client.post(url, json=body | {"max_tokens": 8})
            response.raise_for_status()
            text = response.json()["choices"][0]["message"]["content"]
        except httpx.HTTPStatusError as error:
            raise ModelError(
                f"the judge at {url} answered {error.response.status_code}: check validation.judge's endpoint, model"
                " and key"
            ) from None
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            raise ModelError(
                f"the judge at {url} cannot be asked ({type(error).__name__}: {error}): start it, or correct"
                " validation.judge.endpoint; scores so far are kept"
            ) from None
        if match := _SCORE.search(str(text)):
            return int(match.group())
        raise ModelError(f"the judge at {url} gave no score from 1 to 5 but {str(text)[:60]!r}: name another model")

    return ask


def _base_model(base: Path) -> Ask:
    """The digit that the base model finds likeliest, by its logits: nothing is sampled."""
    if not (base / "config.json").is_file():
        raise ModelError(f"{base} holds no base model to judge with: run `dvc repro base` first")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    model: Any = AutoModelForCausalLM.from_pretrained(base, trust_remote_code=False).eval()
    digits = [tokenizer.encode(str(score), add_special_tokens=False)[-1] for score in range(1, 6)]

    def ask(prompt: str) -> int:
        chat = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        encoded = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        with torch.inference_mode():
            logits = model(**encoded).logits[0, -1]
        return 1 + int(logits[digits].argmax())

    return ask
