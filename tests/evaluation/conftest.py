"""A small invented project on disk, and arms that answer from a script instead of a model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.answers import Answer, Citation, Timings
from contracts.params import Params

FORMAT = r"In short: \S[^\n]*\nNext step: \S[^\n]*\n— Heron Desk"
QUESTIONS = [
    ("f1", "factual", "What does a small parcel cost?", "A small parcel costs €4.90.", ["€4.90"], ["prices.md"]),
    ("f2", "factual", "How long is a parcel kept?", "It is kept for 14 days.", ["14 days"], ["pickup.md"]),
    ("b1", "behaviour", "My parcel is late and I am cross!", "In short: We are sorry.", [], []),
    ("b2", "behaviour", "Can you help me with a label?", "In short: Yes.", [], []),
    ("m1", "both", "What may a large parcel weigh?", "In short: At most 25 kg.", ["25 kg"], ["limits.md"]),
    ("m2", "both", "When does the desk open?", "In short: At 08:30.", ["08:30"], ["hours.md"]),
]
FACTS = {q[0]: (q[4][0], q[5][0]) for q in QUESTIONS if q[4]}


def house(text: str) -> str:
    return f"In short: {text}\nNext step: Write to us.\n— Heron Desk"


def source(document: str, text: str, number: int = 1) -> Citation:
    return Citation(number=number, document=document, title="Title", heading="", start=0, end=len(text), text=text)


class ScriptedArm:
    """What each arm would ideally do: retrieved arms know the fact, tuned arms keep the format."""

    def __init__(self, arm: str, log: list[tuple[str, str]], fail_at: str | None) -> None:
        self.arm, self.log, self.fail_at = arm, log, fail_at
        self.ids = {q[2]: q[0] for q in QUESTIONS}

    def answer(self, question: str) -> Answer:
        name = self.ids[question]
        self.log.append((self.arm, name))
        if name == self.fail_at:
            raise KeyboardInterrupt
        fact, document = FACTS.get(name, ("", "pickup.md"))
        shown = [source(document, f"The figure is {fact}.")] if self.arm in ("rag", "hybrid") else []
        known = fact if shown else "it depends on 3 things" if self.arm == "base" else "it depends"
        text = f"The answer is {known or 'yes'}{' [1]' if shown else ''}."
        return Answer(
            text=house(text) if self.arm in ("tuned", "hybrid") else text,
            route=self.arm,
            citations=shown,
            sources=shown,
            timings=Timings(total=1.0),
        )

    def answer_many(self, questions: list[str], batch_size: int) -> list[Answer]:
        return [self.answer(question) for question in questions]


class ScriptedArms:
    inputs = "scripted"

    def __init__(self, fail: tuple[str, str] | None = None) -> None:
        self.fail, self.opened, self.log = fail, [], []

    def open(self, arm: str) -> ScriptedArm:
        self.opened.append(arm)
        return ScriptedArm(arm, self.log, self.fail[1] if self.fail and self.fail[0] == arm else None)


def put(path: str, value: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(value), encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Params]:
    """Make tmp_path a project up to `evaluate`; `skipped` makes it rag-only, keywords go into params.evaluation."""
    monkeypatch.chdir(tmp_path)

    def make(skipped: str = "", **evaluation: Any) -> Params:
        keys = ("id", "category", "question", "reference", "facts", "documents")
        rows = [json.dumps(dict(zip(keys, q, strict=True))) for q in QUESTIONS]
        Path("golden.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
        put("models/merged/support/merge.json", {"behaviour": "support", "skipped": skipped})
        losses = {} if skipped else {"eval_loss_base": 3.1, "eval_loss": 0.7, "loss": [[1, 3.2], [20, 0.9]]}
        losses |= {"eval_curve": [[0, 3.1], [20, 0.7]]} if losses else {}
        record = {"behaviour": "support", "skipped": skipped, "backend": "peft", "compute_dtype": "float32", **losses}
        put("models/adapters/support/training.json", record)
        records = {q[5][0]: ["h"] for q in QUESTIONS if q[5]}
        fingerprint = {"embedder": "package:small", "dimensions": 8}
        index = {"fingerprint_id": "f", "fingerprint": fingerprint, "content": "c", "documents": 4, "chunks": 4}
        put("reports/index.json", {**index, "records": records})
        return Params.model_validate(
            {
                "project": "demo",
                "base_model": "models/base",
                "behaviours": ["support"],
                "pairs": {"support": {"files": ["pairs.jsonl"], "format": FORMAT}},
                "documents": {"path": "documents"},
                "assistant": {"behaviour": "support"},
                "evaluation": {"golden": "golden.jsonl", "batch_size": 2, "bootstrap": 200, **evaluation},
            }
        )

    return make


@pytest.fixture
def scripted() -> type[ScriptedArms]:
    return ScriptedArms
