"""From what Great Expectations found to what may be trained, with the way out in words."""

from contracts.params import Validation
from contracts.verdicts import BehaviourVerdict
from validation.rules import RULES, STEPS
from validation.suite import Record

# Above this, the field holds full fine-tuning possible.
FULL_FINE_TUNING = 1000


def thresholds(settings: Validation) -> dict[str, int]:
    """The least teachable rows, by the name their expectation has in a Record."""
    return {"refuse_below": settings.refuse_below, "ready_from": settings.ready_from}


def behaviour_verdict(
    record: Record, settings: Validation, *, train: int, held_out: int, grounded: int, forced: bool = False
) -> BehaviourVerdict:
    """The verdict of one behaviour, read from `record`; `train`, `held_out` and `grounded` count rows."""
    rows = record.left(STEPS[-1])
    if not record.passed["refuse_below"]:
        missing = settings.refuse_below - rows
        verdict, advice = (
            "refused",
            (
                f"{rows} teachable pairs are too few to train on ({settings.refuse_below} at least)."
                " Answer by retrieval with few-shot examples, which is what the release will do,"
                f" or gather {missing} more {'pair' if missing == 1 else 'pairs'};"
                " 200 preference pairs (prompt, chosen, rejected) and DPO do more than thousands of raw ones."
            ),
        )
        if forced:
            advice = f"{rows} teachable pairs are too few, and are trained on because training.force is true."
    elif not record.passed["ready_from"]:
        verdict, advice = (
            "limited",
            (
                f"{rows} teachable pairs can be trained on with care: LoRA, few epochs, an eye on the eval loss."
                f" {settings.ready_from - rows} more reach {settings.ready_from}; vary the phrasing first."
            ),
        )
    else:
        verdict, advice = "ready", f"{rows} teachable pairs are enough for LoRA or QLoRA."
        if rows > FULL_FINE_TUNING:
            advice += f" Over {FULL_FINE_TUNING:,}, full fine-tuning becomes possible."
    if rows < record.read:
        worst = max((code for code in RULES if code not in settings.warn), key=record.failing)
        advice += f" {record.read - rows} rows are in quarantine, most of them for {worst}."
    return BehaviourVerdict(
        behaviour=record.behaviour,
        verdict=verdict,  # type: ignore[arg-type]
        advice=advice,
        funnel={"read": record.read} | {step: record.left(step) for step in STEPS},
        rules={code: record.failing(code) for code in RULES if code not in settings.warn},
        warnings={code: record.failing(code) for code in RULES if code in settings.warn},
        train_rows=train,
        eval_rows=held_out,
        grounded_rows=grounded,
    )
