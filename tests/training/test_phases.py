"""What the trainers are given and what they do with it: the kernel on a CPU, packing, DPO, and when a run stops itself."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contracts import paths
from contracts.errors import BusyError, DataError, ModelError
from contracts.files import read_json, read_jsonl, write_jsonl
from contracts.params import Params, Training
from training.watch import Watch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def with_rejected(name: str) -> None:
    """Give every pair of a split a worse answer."""
    path = paths.VALIDATED / "support" / f"{name}.jsonl"
    rows: list[Any] = [row for _, row in read_jsonl(path)]
    write_jsonl(path, [row | {"rejected": "I do not know, maybe ask somebody else about that?"} for row in rows])


def test_the_kernel_gives_the_loss_of_the_supervised_tokens(project: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    from training import kernel

    kernel.use_where_there_is_no_gpu()
    model = AutoModelForCausalLM.from_pretrained(paths.BASE)
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 2]])
    labels = torch.tensor([[-100, -100, 7, 8], [-100, 10, -100, -100]])
    plain = model(input_ids=ids, labels=labels)
    plain.loss.backward()
    weight = model.model.layers[0].mlp.up_proj.weight
    gradient = weight.grad.clone()
    model.zero_grad()

    add_fused_lm_head(model, outputs=("log_probs", "entropy", "mean_logits", "is_top1", "log_sum_sq_probs"))
    fused = model(input_ids=ids, labels=labels, fused_lm_head=True)
    fused.loss.backward()
    assert float(fused.loss) == pytest.approx(float(plain.loss), rel=1e-5)
    assert torch.allclose(weight.grad, gradient, atol=1e-6)
    probs = plain.logits[0, 1].softmax(-1)  # predicts the first supervised token
    assert float(fused.entropy[0, 1]) == pytest.approx(float(-(probs * probs.log()).sum()), rel=1e-4)
    assert float(fused.log_sum_sq_probs[0, 1]) == pytest.approx(float(probs.square().sum().log()), rel=1e-4)
    assert float(fused.mean_logits[0, 1]) == pytest.approx(float(plain.logits[0, 1].mean()), abs=1e-5)
    assert bool(fused.is_top1[0, 1]) == (int(probs.argmax()) == 7)


def encoded(project_params: Params, count: int) -> tuple[Any, list[Any]]:
    from transformers import AutoTokenizer

    from training.encode import encode, read_pairs

    tokenizer = AutoTokenizer.from_pretrained(paths.BASE)
    pairs = read_pairs(paths.VALIDATED / "support" / "train.jsonl", 1)[:count]
    return tokenizer, [encode(pair, tokenizer, "", 512) for pair in pairs]


def test_packed_chats_are_blind_to_each_other(project: Path, write_params: Any) -> None:
    """The loss of a packed batch is that of its chats apart."""
    import torch

    from training import kernel
    from training.backends import load_for_training
    from training.phases import supervised

    kernel.use_where_there_is_no_gpu()
    losses = {}
    for packing in (False, True):
        params = write_params(packing=packing, max_length=256, batch_size=8, gradient_checkpointing=False)
        tokenizer, rows = encoded(params, 8)
        model: Any = load_for_training("peft", paths.BASE, params.training, "float32", seed=1)
        torch.manual_seed(3)
        for name, weight in sorted(model.named_parameters()):
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.2)  # a fresh adapter is zero, and hides what attention sees
        trainer = supervised(model, tokenizer, params, "float32", rows, [], paths.CHECKPOINTS / "packing")
        batches = list(trainer.get_train_dataloader())
        assert len(batches) == 1
        assert batches[0]["input_ids"].shape[0] == (1 if packing else 8)
        with torch.no_grad():
            losses[packing] = float(trainer.compute_loss(trainer.model.eval(), batches[0]))
    assert losses[True] == pytest.approx(losses[False], rel=1e-4)


@pytest.mark.slow
def test_preferences_are_learnt(project: Path, write_params: Any) -> None:
    from training.stages import merge, train

    with_rejected("train")
    with_rejected("eval")
    record = train(write_params(recipe="dpo", dpo={"beta": 0.1, "learning_rate": 1e-2, "epochs": 4}), "support")
    assert record.preferences is not None
    assert record.preferences.rows == 24
    assert record.preferences.accuracy == 1.0
    assert record.preferences.loss[-1][1] < 0.5 < record.preferences.loss[0][1]
    assert {p.name for p in paths.adapter("support").iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    assert merge(write_params(recipe="dpo"), "support").difference_from_base > 0.01


@pytest.mark.slow
def test_preferences_follow_chats_on_the_same_adapter(
    project: Path, write_params: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run killed between the two phases does not train the first one again, and ends as an uninterrupted one."""
    from training import recipe
    from training.stages import train

    with_rejected("train")
    with_rejected("eval")
    params = write_params(recipe="sft+dpo", epochs=2, dpo={"beta": 0.1, "learning_rate": 1e-3, "epochs": 1})
    whole = train(params, "support")
    assert whole.eval_loss is not None
    assert whole.preferences is not None

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "preferences", killed)
        with pytest.raises(KeyboardInterrupt):
            train(params, "support")
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "supervised", killed)
        resumed = train(params, "support")
    assert resumed.eval_loss == whole.eval_loss
    assert resumed.preferences is not None
    assert resumed.preferences.loss[-1][1] == pytest.approx(whole.preferences.loss[-1][1], rel=1e-3)


def test_a_recipe_for_preferences_needs_some(project: Path, write_params: Any) -> None:
    from training.stages import train

    with pytest.raises(DataError, match="none of the 24 accepted pairs of support has a `rejected` answer"):
        train(write_params(recipe="dpo"), "support")


def test_the_best_adapter_is_kept_when_held_out_loss_runs_away(project: Path, write_params: Any) -> None:
    from training.stages import train

    rows = [
        {"id": f"e{n}", "behaviour": "support", "messages": [
            {"role": "user", "content": f"Question {n}?"},
            {"role": "assistant", "content": f"Quite another answer, number {n * 7919}, in other words entirely."},
        ]}
        for n in range(4)
    ]  # fmt: skip
    write_jsonl(paths.VALIDATED / "support" / "eval.jsonl", rows)
    record = train(write_params(epochs=40, learning_rate=2e-2, save_steps=5, max_gap=0.5), "support")
    assert "training.max_gap (0.5)" in record.stopped
    assert record.steps < 240
    curve = dict(record.eval_curve)
    assert record.eval_loss == min(loss for step, loss in curve.items() if step)
    assert curve[record.kept_step] == record.eval_loss


class State:
    """What a trainer tells its callbacks, as far as Watch reads it."""

    global_step, max_steps, is_world_process_zero = 10, 20, True

    def __init__(self, first: float) -> None:
        self.log_history = [{"step": 1, "loss": first}]


class Curves:
    step = 0

    def log_metric(self, name: str, value: float) -> None:
        """Kept nowhere."""


class Arguments:
    disable_tqdm, eval_strategy = False, "steps"


@pytest.mark.parametrize(
    ("loss", "message"),
    [(float("nan"), "loss is nan at step 10"), (9.0, "explodes: 9.00 at step 10, 4.00 at the start")],
)
def test_a_loss_that_goes_wrong_stops_the_run(loss: float, message: str) -> None:
    watch = Watch(Curves(), Training(max_loss_growth=2.0))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=message):
        watch.on_log(Arguments(), State(4.0), None, {"loss": loss})
    watch.on_log(Arguments(), State(4.0), None, {"loss": 7.9})


def test_memory_that_will_not_suffice_is_told_before_the_start(
    project: Path, write_params: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    from training.stages import train

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 2**20}))
    with pytest.raises(BusyError, match=r"weights .* halve training.batch_size \(4\)"):
        train(write_params(), "support")


def test_the_estimate_grows_with_what_it_should(project: Path, write_params: Any) -> None:
    from training import budget

    def needed(batch_tokens: int, **knobs: Any) -> dict[str, int]:
        training = write_params(**knobs).training
        return budget.memory(budget.shape_of(paths.BASE, training, batch_tokens, 50), training, "float32", gpu=False)

    small, large = needed(100), needed(1000)
    assert large["activations"] == 10 * small["activations"]
    assert large["weights"] == small["weights"]
    assert needed(100, gradient_checkpointing=True)["activations"] < small["activations"]
    adapter = "adapter, gradients and optimizer"
    doubled = needed(100, lora={"rank": 32, "alpha": 64, "dropout": 0.0, "targets": "all-linear"})
    assert doubled[adapter] == 2 * small[adapter]


@pytest.mark.slow
def test_several_processes_train_one_adapter(project: Path, write_params: Any) -> None:
    """As `accelerate launch` would on several GPUs: here, two processes of torch's own launcher on a CPU."""
    write_params()
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "cli"]
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x", "--allow-empty"], check=True
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "stage", "train", "--behaviour", "support"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = read_json(paths.adapter("support") / "training.json")
    assert record["steps"] == 12  # 24 pairs, 4 epochs, 4 chats on each of two processes
    assert done.stdout.count("step 12/12") == 1
    assert (paths.adapter("support") / "adapter_model.safetensors").is_file()
