"""Profiles: every one gives valid params, says why, and is applied without losing a word of the user's."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cli import app
from contracts import paths
from contracts.errors import InputError, ParamsError
from contracts.params import load_params
from flows import profiles

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (REPOSITORY / "profiles").glob("*.yaml"))
run = CliRunner().invoke


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(REPOSITORY / "params.yaml", paths.PARAMS)


def comments(text: str) -> list[str]:
    return [line.partition("#")[2].strip() for line in text.splitlines() if "#" in line]


def test_there_are_profiles_for_four_kinds_of_machine() -> None:
    assert NAMES == ["cpu-demo", "gpu-24gb", "gpu-80gb", "multi-gpu"]
    assert list(profiles.available()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_knob_has_a_reason_and_gives_valid_params(name: str) -> None:
    lines = (REPOSITORY / "profiles" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    knobs = [line for line in lines if line.strip() and not line.startswith("#") and not line.endswith(":")]
    assert all(len(line.partition(" # ")[2]) > 8 for line in knobs), [line for line in knobs if " # " not in line]
    profiles.apply(name)
    params = load_params()
    wanted = yaml.safe_load("\n".join(lines))
    assert params.base_model == wanted["base_model"]
    assert params.training.lora.rank == wanted["training"]["lora"]["rank"]
    assert profiles.difference(name) == []


def test_the_demo_profile_is_the_file_as_shipped() -> None:
    assert profiles.difference("cpu-demo") == []


def test_a_profile_and_back_changes_nothing_but_what_is_the_users() -> None:
    before = paths.PARAMS.read_text(encoding="utf-8")
    profiles.apply("gpu-80gb")
    profiles.apply("cpu-demo")
    assert yaml.safe_load(paths.PARAMS.read_text(encoding="utf-8")) == yaml.safe_load(before)


@pytest.mark.parametrize("name", NAMES)
def test_comments_order_and_untouched_lines_stay(name: str) -> None:
    text = paths.PARAMS.read_text(encoding="utf-8").replace("project: heronpost", "project: mine   # 'our' name", 1)
    text += "# the end\n"
    paths.PARAMS.write_text(text, encoding="utf-8")
    changed = {change.key.rsplit(".", 1)[-1] for change in profiles.apply(name)}
    after = paths.PARAMS.read_text(encoding="utf-8")
    assert comments(after) == comments(text)
    other = [(a, b) for a, b in zip(text.splitlines(), after.splitlines(), strict=True) if a != b]
    assert {a.strip().partition(":")[0] for a, _ in other} == changed


def test_a_section_that_the_user_left_out_is_added() -> None:
    values = yaml.safe_load(paths.PARAMS.read_text(encoding="utf-8"))
    del values["merge"], values["training"]["lora"]
    paths.PARAMS.write_text(yaml.safe_dump(values), encoding="utf-8")
    profiles.apply("gpu-80gb")
    assert load_params().training.lora.rank == 32
    assert load_params().merge.dtype == "float32"


def test_an_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"gpu-24g is no profile: did you mean gpu-24gb\?"):
        profiles.difference("gpu-24g")
    with pytest.raises(InputError, match="there are cpu-demo, gpu-24gb"):
        profiles.apply("../params")


def test_a_profile_that_would_break_params_is_refused_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "broken.yaml").write_text(
        "# Broken.\ntraining:\n  lora:\n    rank: 0   # nothing\n  epoch: 3\n", encoding="utf-8"
    )
    monkeypatch.setattr(profiles, "PROFILES", folder)
    before = paths.PARAMS.read_bytes()
    with pytest.raises(
        ParamsError, match=r"with profile broken has 2 problems(.|\n)*lora\.rank(.|\n)*did you mean `epochs`"
    ):
        profiles.apply("broken")
    assert paths.PARAMS.read_bytes() == before


def test_the_command_lists_shows_and_applies() -> None:
    listed = run(app, ["profile"])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.output.splitlines()] == NAMES
    shown = run(app, ["profile", "gpu-24gb"])
    assert not any(line.startswith("dtype") for line in shown.output.splitlines())  # auto in both
    assert any(line.split()[:3] == ["training.max_length", "512", "2048"] for line in shown.output.splitlines())
    assert load_params().training.max_length == 512
    as_json: dict[str, Any] = json.loads(run(app, ["profile", "gpu-24gb", "--json"]).output)
    row = next(row for row in as_json["changes"] if row["key"] == "training.max_length")
    assert row == {"key": "training.max_length", "present": 512, "value": 2048, "reason": "four passages and an answer"}
    applied = run(app, ["profile", "gpu-24gb", "--apply"])
    assert applied.exit_code == 0
    assert "written to params.yaml" in applied.output
    assert load_params().training.max_length == 2048
    assert "already says all" in run(app, ["profile", "gpu-24gb"]).output
    assert run(app, ["profile", "gpu-99"]).exit_code == 2
    assert "without a profile" in run(app, ["profile", "--apply"]).output
