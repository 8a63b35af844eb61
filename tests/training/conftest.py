"""A project with a tiny base and a few accepted pairs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts import paths
from contracts.files import write_json, write_jsonl
from contracts.params import Params, load_params

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def write_params() -> Any:
    """A function that writes params.yaml: the repository's, made for a tiny model, with the given training knobs."""

    def write(merge: dict[str, Any] | None = None, **training: Any) -> Params:
        values = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
        values["dtype"] = "float32"
        small = {"epochs": 4, "batch_size": 4, "gradient_accumulation": 1, "learning_rate": 5e-3}
        values["training"] |= small | training
        values["merge"] |= merge or {}
        paths.PARAMS.write_text(yaml.safe_dump(values), encoding="utf-8")
        return load_params()

    return write


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Any) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    tiny_model(paths.BASE)
    for name, count in (("train", 24), ("eval", 4)):
        rows = [
            {
                "id": f"{name}{n}",
                "behaviour": "support",
                "messages": [
                    {"role": "user", "content": f"Question {n} of {name}?"},
                    {"role": "assistant", "content": "In short: it is so.\nNext step: Look.\n— Heron Desk"},
                ],
            }
            for n in range(count)
        ]
        write_jsonl(paths.VALIDATED / "support" / f"{name}.jsonl", rows)
    verdict = {"behaviour": "support", "verdict": "ready", "advice": "28 pairs.", "funnel": {"read": 28, "teachable": 28},
               "rules": {}, "train_rows": 24, "eval_rows": 4, "grounded_rows": 0}  # fmt: skip
    write_json(paths.VERDICT, {"behaviours": [verdict], "quarantined": 0})
    return root
