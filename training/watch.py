"""A run that watches itself: its curves, and the points at which it must stop."""

import ctypes
import math
from typing import Any

from dvclive import Live
from transformers import TrainerCallback

from contracts.errors import ModelError
from contracts.params import Training

_METRICS = {
    "loss": "train/loss",
    "eval_loss": "eval/loss",
    "learning_rate": "train/learning_rate",
    "grad_norm": "train/grad_norm",
    "rewards/accuracies": "train/preference_accuracy",
    "eval_rewards/accuracies": "eval/preference_accuracy",
}


class Watch(TrainerCallback):
    """Tells where the run is, keeps its curves with DVCLive, and stops it when it goes wrong.

    A loss that is no number, or far above where it began, ends the run with ModelError. Held-out loss that leaves the
    training loss behind by more than `training.max_gap` ends it quietly: the best checkpoint is kept, `stopped` says why.
    """

    def __init__(self, live: Live, training: Training, first_step: int = 0) -> None:
        self.live = live
        self.training = training
        self.first_step = first_step  # of this phase, on the axis of the curves
        self.stopped = ""
        self._since_evaluation: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        logs = logs or {}
        self.live.step = self.first_step + state.global_step
        for name, metric in _METRICS.items():
            if name in logs:
                self.live.log_metric(metric, float(logs[name]))
        if "loss" in logs:
            _give_memory_back()
            first = next(entry["loss"] for entry in state.log_history if "loss" in entry)  # of a resumed run, too
            self._check(float(logs["loss"]), float(first), state.global_step)
            if args.disable_tqdm and state.is_world_process_zero:
                print(f"step {state.global_step}/{state.max_steps}  loss {float(logs['loss']):.3f}", flush=True)

    def _check(self, loss: float, first: float, step: int) -> None:
        if not math.isfinite(loss):
            raise ModelError(
                f"the training loss is {loss} at step {step}: lower training.learning_rate, or look for broken pairs"
            )
        self._since_evaluation.append(loss)
        if loss > self.training.max_loss_growth * first:
            raise ModelError(
                f"the training loss explodes: {loss:.2f} at step {step}, {first:.2f} at the start"
                f" (training.max_loss_growth is {self.training.max_loss_growth:g}): lower training.learning_rate"
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step >= state.max_steps and args.eval_strategy != "no":
            control.should_evaluate = True  # the record tells the held-out loss of the last step

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **_: Any
    ) -> None:
        if not self._since_evaluation or not metrics:
            return
        held_out, trained = metrics["eval_loss"], sum(self._since_evaluation) / len(self._since_evaluation)
        self._since_evaluation.clear()
        if args.disable_tqdm and state.is_world_process_zero:
            print(f"step {state.global_step}/{state.max_steps}  held-out loss {held_out:.3f}", flush=True)
        if held_out - trained > self.training.max_gap:
            self.stopped = (
                f"stopped at step {state.global_step} of {state.max_steps}: held-out loss {held_out:.2f} is over"
                f" training.max_gap ({self.training.max_gap:g}) above the training loss {trained:.2f}"
            )
            print(self.stopped, flush=True)
            control.should_training_stop = True


def _give_memory_back() -> None:
    """Batches of many lengths leave glibc's heap in pieces, which it keeps: a run would grow by half in a hundred steps."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
