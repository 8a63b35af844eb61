"""The model card (Mitchell et al., arXiv 1810.03993) of a merged model, from what its stages recorded. No text is invented."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts import paths
from contracts.files import read_json, write_text
from contracts.params import Params
from contracts.verdicts import BehaviourVerdict, MergeRecord, TrainingRecord, ValidationVerdict

CARD = "README.md"
TEMPLATE = Path(__file__).with_name("card.md")
_CURVE_POINTS = 12
_BARS = "▁▂▃▄▅▆▇█"

Knob = str | int | float | bool | None


@dataclass(frozen=True)
class Facts:
    """All that a card tells. `source` is models/base/source.json; sizes are of the weights, in bytes."""

    project: str
    behaviour: str
    language: str | None
    system: str
    watts: float | None
    source: dict[str, Any]
    training: TrainingRecord
    merge: MergeRecord
    validation: BehaviourVerdict
    adapter_parameters: int
    adapter_bytes: int
    merged_bytes: int


def write_card(params: Params, behaviour: str) -> None:
    """Write README.md beside the merged model, whose weights and records are there already.

    Raises:
        DataError: a record is missing.
    """
    adapter, merged = paths.adapter(behaviour), paths.merged(behaviour)
    verdict = ValidationVerdict.model_validate(read_json(paths.VERDICT))
    weights = adapter / "adapter_model.safetensors"
    facts = Facts(
        project=params.project,
        behaviour=behaviour,
        language=params.validation.language,
        system=params.assistant.system,
        watts=params.merge.watts,
        source=read_json(paths.BASE / "source.json"),
        training=TrainingRecord.model_validate(read_json(adapter / "training.json")),
        merge=MergeRecord.model_validate(read_json(merged / "merge.json")),
        validation=next(each for each in verdict.behaviours if each.behaviour == behaviour),
        adapter_parameters=_parameters(weights),
        adapter_bytes=weights.stat().st_size,
        merged_bytes=sum(path.stat().st_size for path in merged.glob("*.safetensors")),
    )
    write_text(merged / CARD, render(facts))


def knobs(params: Params) -> dict[str, Knob]:
    """The params that decide the weights, by dotted name below `training`; `seed` and `dtype` with them."""
    values = params.training.model_dump(mode="json")
    return {"seed": params.seed, "dtype": params.dtype} | dict(_flat(values))


def _flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Knob]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield above + key, ", ".join(map(str, value)) if isinstance(value, list) else value


def render(facts: Facts) -> str:
    """The card as Markdown with the hub's metadata on top; the same facts give the same text."""
    from huggingface_hub import ModelCard, ModelCardData

    reference = str(facts.source["reference"])
    license_ = facts.source.get("license")
    data = ModelCardData(
        base_model=reference.partition("@")[0] if facts.source["kind"] == "hub" else None,
        language=facts.language,
        library_name="transformers",
        license=license_,
        pipeline_tag="text-generation",
        tags=["freshtune", "qlora", "trl"],
    )
    card = ModelCard.from_template(
        data,
        template_str=TEMPLATE.read_text(encoding="utf-8"),
        project=facts.project,
        behaviour=facts.behaviour,
        base=f"`{reference}`",
        revision=facts.source["revision"],
        licence=f"{license_}, as {facts.source['license_from']} says"
        if license_
        else f"as the base: see `{reference}`",
        reading=_reading(facts.validation),
        limits=_limits(facts),
        data=_data(facts),
        training=_training(facts.training),
        curves="\n\n".join(
            [_curve("Training loss", facts.training.loss), _curve("Held-out loss", facts.training.eval_curve)]
        ),
        knobs=_table(("knob", "value"), _knobs(facts.training)),
        proof=_proof(facts.merge),
        sizes=_sizes(facts),
        run=_run(facts),
        system=facts.system,
    )
    return str(card) + "\n"


def _reading(verdict: BehaviourVerdict) -> str:
    taught = verdict.train_rows + verdict.eval_rows
    if not verdict.grounded_rows:
        return "It was not taught to read passages: none of its pairs carries any."
    return f"{verdict.grounded_rows} of its {taught} pairs carry passages, so that it learnt to answer from what it is shown."


def _limits(facts: Facts) -> str:
    training, verdict = facts.training, facts.validation
    lines = [
        "It knows no facts of the domain that its base did not know: answers with changing facts were kept out of its pairs.",
        f"Its language is that of the pairs ({facts.language})."
        if facts.language
        else "Its pairs were of any language.",
        f"Validation: {verdict.advice}",
    ]
    if facts.source["kind"] == "gguf":
        lines.append(
            "Its base was read from a GGUF: what that file's quantisation rounded away is not in these weights."
        )
    if training.truncated_rows:
        lines.append(f"{training.truncated_rows} of {training.rows} chats were cut at `training.max_length`.")
    if training.eval_loss is None:
        lines.append("No pairs were held out: nothing shows how it does on others than those it learnt.")
    lines.append(
        "The proof below says that the merge lost nothing, not that the answers are good or safe: the report of the"
        " evaluation (`reports/report.html`) says how it answers, and its gates decide whether it ships."
    )
    return "\n".join(f"- {line}" for line in lines)


def _data(facts: Facts) -> str:
    verdict = facts.validation
    rows: list[tuple[str, Any]] = [("verdict of validation", verdict.verdict)]
    rows += [(f"rows {step}", count) for step, count in verdict.funnel.items()]
    rows += [
        ("trained on", verdict.train_rows),
        ("held out", verdict.eval_rows),
        ("with passages of their own", verdict.grounded_rows),
        ("SHA-256 of train.jsonl", f"`{facts.training.data_hash}`" if facts.training.data_hash else "not recorded"),
    ]
    return _table(("", ""), rows)


def _training(record: TrainingRecord) -> str:
    supervised = record.supervised_tokens / record.tokens if record.tokens else 0.0
    lines = [
        f"Recipe {record.recipe}, backend {record.backend} ({record.reason}), NF4 weights, {record.compute_dtype} compute, {record.steps} steps over"
        f" {record.rows} chats of {record.tokens:,} tokens. Learnt from are the assistant's words alone:"
        f" {record.supervised_tokens:,} tokens, {supervised:.0%}."
    ]
    if record.eval_loss is not None and record.eval_loss_base is not None:
        kept = f", at step {record.kept_step}, whose adapter was kept" if record.stopped else ""
        lines.append(f"Held-out loss: {record.eval_loss_base:.3f} before, {record.eval_loss:.3f} after{kept}.")
    if record.stopped:
        lines.append(f"It ended early: {record.stopped}.")
    if found := record.preferences:
        share = (
            f" On held-out preferences the chosen answer wins {found.accuracy:.0%}."
            if found.accuracy is not None
            else ""
        )
        lines.append(f"Preferences (DPO, arXiv 2305.18290): {found.steps} steps over {found.rows}.{share}")
    return "\n\n".join(lines)


def _curve(name: str, curve: list[tuple[int, float]]) -> str:
    """A sparkline of all points and a table of at most a dozen, the first and the last among them."""
    if not curve:
        return f"{name}: nothing was logged."
    values = [value for _, value in curve]
    low, span = min(values), max(values) - min(values) or 1.0
    line = "".join(_BARS[int((value - low) / span * (len(_BARS) - 1))] for value in values)
    last = len(curve) - 1
    shown = sorted({round(i * last / (_CURVE_POINTS - 1)) for i in range(_CURVE_POINTS)})
    return f"{name}, {values[0]:.3f} to {values[-1]:.3f}: `{line}`\n\n" + _table(
        ("step", name.lower()), ((curve[i][0], f"{curve[i][1]:.3f}") for i in shown)
    )


def _knobs(record: TrainingRecord) -> Iterator[tuple[str, str]]:
    """As params.yaml writes them."""
    for name, value in record.knobs.items():
        yield f"`{name}`", value if isinstance(value, str) else json.dumps(value)


def _proof(record: MergeRecord) -> str:
    rows = [
        ("compared on", f"{record.rows} chats, merged at full precision, written as {record.dtype}"),
        ("largest difference of a logit to base + adapter", f"{record.logit_difference:.2g}"),
        ("same most likely token", f"{record.argmax_agreement:.2%}"),
        ("perplexity of base + adapter", f"{record.perplexity_adapter:.4f}"),
        ("perplexity of the merged model", f"{record.perplexity_merged:.4f}"),
        ("perplexity of the base", f"{record.perplexity_base:.4f}"),
        ("largest difference of a logit to the base", f"{record.difference_from_base:.3g}"),
    ]
    return _table(("merged model", ""), rows)


def _sizes(facts: Facts) -> str:
    rows = [
        ("parameters", f"{facts.source['parameters']:,}"),
        ("trained", f"{facts.adapter_parameters:,} ({facts.training.trainable_share:.2%})"),
        ("adapter on disk", f"{facts.adapter_bytes / 1e6:,.1f} MB"),
        ("merged model on disk", f"{facts.merged_bytes / 1e6:,.1f} MB"),
    ]
    return _table(("", ""), rows)


def _run(facts: Facts) -> str:
    record = facts.training
    rows = [
        ("hardware", record.hardware or "not recorded"),
        ("training time", f"{record.seconds:,.0f} s"),
        ("speed", f"{record.tokens_per_second:,.0f} tokens/s"),
        ("peak memory", f"{record.peak_memory_gib:.1f} GiB"),
        ("energy", _energy(record, facts.watts)),
    ]
    return _table(("", ""), rows)


def _energy(record: TrainingRecord, watts: float | None) -> str:
    """Measured where a meter was read; else seconds × watts, where params say the watts; else nothing."""
    if record.energy_joules is not None:
        return (
            f"{record.energy_joules / 3600:.3g} Wh for the whole stage, measured: {record.energy_meter}, with all that ran"
            " there meanwhile"
        )
    if watts is not None:
        return (
            f"{record.seconds * watts / 3600:.3g} Wh, estimated: {record.seconds:,.0f} s × {watts:g} W, which `merge.watts`"
            " says the machine draws while it trains"
        )
    return "not estimated: no meter of the machine could be read, and `merge.watts` is null"


def _table(heads: tuple[str, str], rows: Iterable[tuple[object, object]]) -> str:
    body = [f"| {left} | {right} |" for left, right in rows]
    return "\n".join([f"| {heads[0]} | {heads[1]} |", "|---|---|", *body])


def _parameters(weights: Path) -> int:
    """How many numbers a safetensors file holds, by its header."""
    from math import prod

    from safetensors import safe_open

    with safe_open(weights, framework="np") as tensors:
        return sum(prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
