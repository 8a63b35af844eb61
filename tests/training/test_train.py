"""Train and merge on a tiny model: it learns, stops itself, resumes, and proves its merge (laws 3, 4 and 9)."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from contracts import paths
from contracts.errors import BusyError, ModelError
from contracts.files import file_hash, read_json, write_json, write_jsonl
from contracts.verdicts import MergeRecord

GOLDEN = (10.848, 10.113)  # held-out loss before and after
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def test_it_learns_and_the_merge_is_proved(project: Path, write_params: Any) -> None:
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


@pytest.mark.slow
def test_a_killed_run_resumes_and_ends_with_the_same_loss(
    project: Path, monkeypatch: pytest.MonkeyPatch, write_params: Any
) -> None:
    from training import recipe
    from training.stages import train

    params = write_params(save_steps=5)
    whole = train(params, "support")

    class Killed(recipe.Watch):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 12:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "Watch", Killed)
        with pytest.raises(KeyboardInterrupt):
            train(params, "support")
    assert [p.name for p in paths.CHECKPOINTS.glob("*/sft/checkpoint-*")] == ["checkpoint-10"]
    resumed = train(params, "support")
    assert resumed.eval_loss == pytest.approx(whole.eval_loss, rel=1e-3)
    assert resumed.steps == whole.steps


def test_gradients_reach_the_first_layer_after_an_evaluation(project: Path, write_params: Any) -> None:
    """bitsandbytes repacked the weights in evaluation for a kernel that has no backward pass."""
    import torch

    from training.backends import load_for_training

    ids = torch.arange(40).reshape(2, 20)
    gradients = []
    for evaluate_first in (False, True):
        model: Any = load_for_training("peft", paths.BASE, write_params().training, "bfloat16", seed=1)
        if evaluate_first:
            with torch.no_grad():
                model.eval()(input_ids=ids)
        model.train()(input_ids=ids, labels=ids).loss.backward()
        first = model.get_base_model().model.layers[0].mlp.down_proj
        gradients.append(first.lora_B["default"].weight.grad)
    assert float(gradients[0].abs().sum()) > 0
    assert torch.allclose(gradients[0], gradients[1], rtol=0.05, atol=1e-3)


def test_no_accepted_pairs_skip_training_and_say_so(project: Path, write_params: Any) -> None:
    from training.stages import merge, train

    params = write_params()
    write_jsonl(paths.VALIDATED / "support" / "train.jsonl", [])
    assert "accepted no pairs" in train(params, "support").skipped
    assert merge(params, "support").skipped
    assert json.loads((paths.merged("support") / "merge.json").read_text())["skipped"]


def test_a_share_that_is_no_lora_stops_the_run(project: Path, write_params: Any) -> None:
    from training.stages import train

    with pytest.raises(ModelError, match="which is no LoRA"):
        train(write_params(max_trainable_share=0.001), "support")


def test_a_row_without_a_supervised_token_stops_the_run(project: Path, write_params: Any) -> None:
    from training.stages import train

    with pytest.raises(ModelError, match="train0 has no token of the assistant's"):
        train(write_params(max_length=16), "support")


def test_a_target_that_matches_no_layer_is_named(project: Path, write_params: Any) -> None:
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
def test_a_merge_that_is_not_proved_gives_no_model(
    project: Path, figures: dict[str, float], message: str, write_params: Any
) -> None:
    from training.merge import prove

    with pytest.raises(ModelError, match=message):
        prove(MergeRecord.model_validate({"behaviour": "support", "dtype": "float32"} | figures), write_params())


def test_a_full_disk_is_told_before_anything_is_written(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    from contracts.files import require_disk

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 99, 1))
    with pytest.raises(BusyError, match="make room"):
        require_disk(paths.BASE, 2**30)


def test_the_same_pairs_give_the_same_loss(project: Path, write_params: Any) -> None:
    """A golden run: a change to encoding, loss, sampling, schedule or optimizer moves these figures."""
    from training.stages import train

    record = train(write_params(epochs=2), "support")
    assert record.eval_loss_base == pytest.approx(GOLDEN[0], abs=0.005)
    assert record.eval_loss == pytest.approx(GOLDEN[1], abs=0.02)


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def of_another_rank(path: Path) -> None:
    config = path.with_name("adapter_config.json")
    write_json(config, read_json(config) | {"r": 3})


def of_another_base(path: Path) -> None:
    record = path.with_name("training.json")
    write_json(record, read_json(record) | {"base": "package:other@1"})


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damaged, "cannot be put on this base"),
        (of_another_rank, "its rank is not that of its adapter_config.json"),
        (of_another_base, "was trained on package:other@1, and models/base holds"),
    ],
)
def test_an_adapter_that_is_not_this_bases_is_not_merged(
    project: Path, write_params: Any, harm: Any, message: str
) -> None:
    from training.stages import merge, train

    params = write_params(max_steps=2)
    train(params, "support")
    harm(paths.adapter("support") / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=message):
        merge(params, "support")


@pytest.mark.slow
def test_exports_are_read_back_and_compared(project: Path, write_params: Any) -> None:
    from training.stages import export, merge, train

    params = write_params(merge={"exports": {"bfloat16": 0.8, "nf4": 0.3, "gguf": 0.9}}, max_steps=6)
    with pytest.raises(ModelError, match="train and merge one first"):
        export(params, "support", "nf4", None)
    train(params, "support")
    merge(params, "support")
    whole = (paths.merged("support") / "model.safetensors").stat().st_size
    half = export(params, "support", "bfloat16", None)
    assert half.argmax_agreement >= 0.8
    assert (paths.EXPORTS / "support/bfloat16/model.safetensors").stat().st_size < 0.6 * whole
    quarter = export(params, "support", "nf4", project / "elsewhere")
    assert quarter.perplexity == pytest.approx(quarter.perplexity_merged, rel=0.3)
    assert (project / "elsewhere/export.json").is_file()


def test_an_export_that_says_something_else_is_not_written(
    project: Path, write_params: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    import training.export
    from training.stages import export, merge, train

    def another_model(merged: Path, out: Path) -> None:
        model = AutoModelForCausalLM.from_pretrained(merged)
        model.model.norm.weight.data.neg_()  # every logit changes its sign
        model.save_pretrained(out)

    params = write_params(max_steps=2)
    train(params, "support")
    merge(params, "support")
    monkeypatch.setattr(training.export, "_bfloat16", another_model)
    with pytest.raises(ModelError, match=r"merge.exports.bfloat16 is 0.95\), so .* was not written"):
        export(params, "support", "bfloat16", None)
    assert not list((paths.EXPORTS / "support").iterdir())


@pytest.mark.slow
def test_gguf_without_its_converter_names_the_way_out(
    project: Path, write_params: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.stages import export, merge, train

    params = write_params(max_steps=2)
    train(params, "support")
    merge(params, "support")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    with pytest.raises(ModelError, match="set LLAMA_CPP to its folder"):
        export(params, "support", "gguf", None)
