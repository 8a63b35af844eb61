"""The stage `advise`: may stand between validation and training, and says so in two files of different temper."""

import shutil

from advisor.project import advise_project
from contracts import paths
from contracts.files import write_json, write_text
from contracts.params import Params
from contracts.verdicts import TrainingAdvice


def advise(params: Params) -> None:
    """Write reports/advice/advice.json, and for each behaviour reports/advice/train/<behaviour>.json.

    The second is all that `train` depends on. It holds no figure, so it changes when the decision to train does, and
    with nothing else.

    Raises:
        DataError, InputError: as `advise_project`.
    """
    verdict = advise_project(params)
    shutil.rmtree(paths.train_advice("").parent, ignore_errors=True)
    for each in verdict.behaviours:
        advice = TrainingAdvice(
            behaviour=each.behaviour, skip="" if each.train else each.training.removeprefix("skipped: ")
        )
        write_json(paths.train_advice(each.behaviour), advice.model_dump())
        print(f"{each.behaviour}: {each.recommendation}; training {each.training}")
    # Not write_json, which sorts the keys: costs are read from top to bottom.
    write_text(paths.ADVICE_VERDICT, verdict.model_dump_json(indent=2) + "\n")
