"""Train and merge on a tiny model: it learns, stops itself, resumes, and proves its merge (laws 3, 4 and 9)."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts import paths
from contracts.errors import BusyError, ModelError
from contracts.files import file_hash, write_json, write_jsonl
from contracts.params import Params, load_params
from contracts.verdicts import MergeRecord

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def write_params(**training: Any) -> Params:
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    values["dtype"] = "float32"
    values["training"] |= {"epochs": 4, "batch_size": 4, "gradient_accumulation": 1, "learning_rate": 5e-3} | training
    paths.PARAMS.write_text(yaml.safe_dump(values), encoding="utf-8")
    return load_params()


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
    verdict = {"behaviour": "support", "verdict": "ready", "advice": "24 pairs.", "funnel": {"read": 28, "teachable": 28},
               "rules": {}, "train_rows": 24, "eval_rows": 4, "grounded_rows": 0}  # fmt: skip
    write_json(paths.VERDICT, {"behaviours": [verdict], "quarantined": 0})
    return root


def test_it_learns_and_the_merge_is_proved(project: Path) -> None:
    from training.stages import merge, train

    params = write_params()
    record = train(params, "support")
    assert record.eval_loss is not None
    assert record.eval_loss_base is not None
    assert record.eval_loss < 0.95 * record.eval_loss_base
    assert 0 < record.trainable_share <= 0.10
    assert {p.name for p in paths.adapter("support").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "training.json",
    }
    assert not list(paths.CHECKPOINTS.glob("*"))
    assert (paths.REPORTS / "training/support/plots/metrics/train/loss.tsv").is_file()

    proof = merge(params, "support")
    assert proof.logit_difference < 1e-3
    assert proof.difference_from_base > 0.01
    assert proof.perplexity_merged < proof.perplexity_base
    assert (paths.merged("support") / "model.safetensors").is_file()
    card = (paths.merged("support") / "README.md").read_text(encoding="utf-8")
    assert f"| {record.loss[-1][0]} | {record.loss[-1][1]:.3f} |" in card
    assert f"`{file_hash(paths.VALIDATED / 'support' / 'train.jsonl')}`" in card
    assert "| `lora.rank` | 16 |" in card


def test_a_killed_run_resumes_and_ends_with_the_same_loss(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training import recipe
    from training.stages import train

    params = write_params(save_steps=5)
    whole = train(params, "support")

    class Killed(recipe._Watch):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 12:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "_Watch", Killed)
        with pytest.raises(KeyboardInterrupt):
            train(params, "support")
    assert [p.name for p in paths.CHECKPOINTS.glob("*/checkpoint-*")] == ["checkpoint-10"]
    resumed = train(params, "support")
    assert resumed.eval_loss == pytest.approx(whole.eval_loss, rel=1e-3)
    assert resumed.steps == whole.steps


def test_gradients_reach_the_first_layer_after_an_evaluation(project: Path) -> None:
    """bitsandbytes repacked the weights in evaluation for a kernel that has no backward pass."""
    import torch

    from training.backends import load_for_training
    from training.trainer import assistant_loss

    ids = torch.arange(40).reshape(2, 20)
    gradients = []
    for evaluate_first in (False, True):
        model = load_for_training("peft", paths.BASE, write_params().training, "bfloat16", seed=1)
        if evaluate_first:
            with torch.no_grad():
                model.eval()(input_ids=ids)
        total, _ = assistant_loss(model.train(), ids, torch.ones_like(ids), ids)
        total.backward()
        first = model.get_base_model().model.layers[0].mlp.down_proj
        gradients.append(first.lora_B["default"].weight.grad)
    assert float(gradients[0].abs().sum()) > 0
    assert torch.allclose(gradients[0], gradients[1], rtol=0.05, atol=1e-3)


def test_no_accepted_pairs_skip_training_and_say_so(project: Path) -> None:
    from training.stages import merge, train

    params = write_params()
    write_jsonl(paths.VALIDATED / "support" / "train.jsonl", [])
    assert "accepted no pairs" in train(params, "support").skipped
    assert merge(params, "support").skipped
    assert json.loads((paths.merged("support") / "merge.json").read_text())["skipped"]


def test_a_share_that_is_no_lora_stops_the_run(project: Path) -> None:
    from training.stages import train

    with pytest.raises(ModelError, match="which is no LoRA"):
        train(write_params(max_trainable_share=0.001), "support")


def test_a_row_without_a_supervised_token_stops_the_run(project: Path) -> None:
    from training.stages import train

    with pytest.raises(ModelError, match="train0 has no token of the assistant's"):
        train(write_params(max_length=16), "support")


def test_a_target_that_matches_no_layer_is_named(project: Path) -> None:
    from training.stages import train

    with pytest.raises(ModelError, match="no_such_proj"):
        train(write_params(lora={"rank": 8, "alpha": 16, "targets": ["no_such_proj"]}), "support")


def test_unsloth_without_a_gpu_names_the_way_out() -> None:
    import torch

    from training.backends import choose_backend

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ModelError, match="set it to auto or peft"):
        choose_backend("unsloth")
    assert choose_backend("auto") == ("peft", "no GPU is here")


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"logit_difference": 0.5, "difference_from_base": 9.0, "argmax_agreement": 1.0}, "differ from base"),
        ({"logit_difference": math.nan, "difference_from_base": 9.0, "argmax_agreement": 1.0}, "differ from base"),
        ({"logit_difference": 0.001, "difference_from_base": 9.0, "argmax_agreement": 0.9}, "picks another token"),
        ({"logit_difference": 0.0, "difference_from_base": 0.0, "argmax_agreement": 1.0}, "no different from the base"),
    ],
)
def test_a_merge_that_is_not_proved_gives_no_model(project: Path, figures: dict[str, float], message: str) -> None:
    from training.merge import prove

    with pytest.raises(ModelError, match=message):
        prove(MergeRecord.model_validate({"behaviour": "support", "dtype": "float32"} | figures), write_params())


def test_a_full_disk_is_told_before_anything_is_written(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    from contracts.files import require_disk

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 99, 1))
    with pytest.raises(BusyError, match="make room"):
        require_disk(paths.BASE, 2**30)


def test_the_loss_is_that_of_the_supervised_tokens(project: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from training.trainer import assistant_loss

    model = AutoModelForCausalLM.from_pretrained(paths.BASE)
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 2]])
    labels = torch.tensor([[-100, -100, 7, 8], [-100, 10, -100, -100]])
    total, count = assistant_loss(model, ids, torch.ones_like(ids), labels)
    reference = model(input_ids=ids, labels=labels).loss
    assert count == 3
    assert float(total / count) == pytest.approx(float(reference), rel=1e-5)
