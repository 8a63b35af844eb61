"""Forgetting is measured on the same text and questions for both models, and a model that forgot fails the check."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import forgetting
from contracts import paths


@pytest.fixture
def project(tmp_path: Path, tiny_model: Callable[[Path], None]) -> list[str]:
    """A project whose merged model is its base, and data of the wanted form; returns the arguments."""
    for path in (paths.BASE, paths.merged("support")):
        tiny_model(tmp_path / "project" / path)
    data = tmp_path / "data"
    for name in (forgetting.TEXT, forgetting.QUESTIONS):
        (data / name).parent.mkdir(parents=True)
    words = [f"The {n} herons of the marsh stood in the reeds and waited for the {n % 7} boats." for n in range(120)]
    (data / forgetting.TEXT).write_text(" ".join(words), encoding="utf-8")
    rows = [
        {
            "question": f"What is {n} and {n}?",
            "mc1_targets": {f"It is {2 * n}, by adding.": 1, "No.": 0, "Nobody can say it": 0},
        }
        for n in range(40)
    ]
    (data / forgetting.QUESTIONS).write_text(json.dumps(rows), encoding="utf-8")
    return [str(tmp_path / "project"), "--data", str(data)]


def spoil(arguments: list[str]) -> None:
    from transformers import AutoModelForCausalLM

    merged = Path(arguments[0]) / paths.merged("support")
    model = AutoModelForCausalLM.from_pretrained(merged)
    model.get_input_embeddings().weight.data *= 30
    model.save_pretrained(merged)


@pytest.mark.slow
def test_a_model_that_forgot_nothing_passes(project: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert forgetting.main([*project, "--limit", "20"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["base"] == found["merged"]
    assert found["perplexity_change"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert found["questions"] == 20
    assert found["windows"] > 2


@pytest.mark.slow
def test_a_model_that_forgot_fails_the_check(project: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    spoil(project)
    assert forgetting.main([*project, "--limit", "5"]) == 0
    assert forgetting.main([*project, "--limit", "5", "--check"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["perplexity_change"]["mean"] > 0.02
    assert "check failed: perplexity changed by +" in captured.err


def test_batches_give_what_one_row_alone_gives(tiny_base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_base).eval()
    rows = [([5, 6, 7], [8, 9]), ([11], [12, 13, 14, 15, 16]), ([3, 4], [5]), ([9] * 40, [10, 11])]
    together = forgetting.log_likelihoods(model, rows)
    for (context, continuation), found in zip(rows, together, strict=True):
        labels = torch.tensor([[-100] * len(context) + continuation])
        alone = model(input_ids=torch.tensor([context + continuation]), labels=labels).loss.item()
        assert found == pytest.approx(-alone * len(continuation), rel=1e-4)


def test_batches_hold_every_row_once_and_no_more_than_fits() -> None:
    lengths = [3, 4096, 17, 5000, 1, 900, 900, 900, 900, 900]
    found = list(forgetting._batches(lengths))
    assert sorted(i for batch in found for i in batch) == list(range(10))
    assert all(
        len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= forgetting.BATCH_TOKENS for batch in found
    )


@pytest.mark.parametrize(
    ("change", "accuracy", "missed"),
    [
        (0.02, -0.02, 0),
        (0.021, 0.0, 1),
        (-0.5, -0.021, 1),
        (float("nan"), 0.0, 1),
        (0.0, None, 1),
    ],
)
def test_the_check_wants_both_within_two_percent(change: float, accuracy: float | None, missed: int) -> None:
    found = {"perplexity_change": {"mean": change}, "accuracy_change": {"mean": accuracy}}
    assert len(forgetting.failures(found)) == missed


def test_the_best_answer_must_stand_alone() -> None:
    assert forgetting._is_best([-1.0, -2.0], 0) == 1.0
    assert forgetting._is_best([-1.0, -1.0], 0) == 0.0
    assert forgetting._is_best([float("nan"), float("nan")], 0) == 0.0


def test_what_is_missing_is_named(project: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert forgetting.main([str(tmp_path / "nowhere"), *project[1:]]) == 2
    assert "nowhere/models/base holds no model: run `freshtune retrain`" in capsys.readouterr().err
    assert forgetting.main([project[0], "--data", str(tmp_path / "none")]) == 2
    assert "wikitexts.md is missing: name the folder" in capsys.readouterr().err
    (Path(project[2]) / forgetting.QUESTIONS).write_text("[{}]", encoding="utf-8")
    assert forgetting.main(project) == 2
    assert "is not TruthfulQA's multiple-choice file (KeyError" in capsys.readouterr().err


def test_the_public_questions_are_read(shared_data: Path) -> None:
    questions = forgetting.read_questions(shared_data / forgetting.QUESTIONS)
    assert len(questions) == 817
    assert all(len(set(question.answers)) == len(question.answers) > 1 for question in questions)
