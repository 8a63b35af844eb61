"""params.yaml is checked whole, and every problem says key, value, place and way out."""

from pathlib import Path

import pytest
import yaml

from contracts.errors import ParamsError
from contracts.params import load_params, secret

REPOSITORY = Path(__file__).resolve().parents[2]
GOOD = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))


def write(folder: Path, values: object) -> Path:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def problems(folder: Path, values: object) -> str:
    with pytest.raises(ParamsError) as caught:
        load_params(write(folder, values))
    return str(caught.value)


def test_the_shipped_file_is_good() -> None:
    assert load_params(REPOSITORY / "params.yaml").project == "heronpost"


def test_every_knob_of_the_shipped_file_is_explained() -> None:
    """Each line of params.yaml with a value of its own carries a comment, or stands below one that does."""
    lines = (REPOSITORY / "params.yaml").read_text(encoding="utf-8").splitlines()
    knobs = [line for line in lines if line.strip() and not line.lstrip().startswith("#") and not line.endswith(":")]
    assert sum("#" in line for line in knobs) / len(knobs) > 0.6


def test_all_problems_are_told_at_once_with_the_nearest_name(tmp_path: Path) -> None:
    values = GOOD | {
        "behaviors": ["support"],
        "training": GOOD["training"] | {"lerning_rate": 1, "epochs": "many", "lora": {"rank": 0}},
    }
    text = problems(tmp_path, values)
    assert "4 problems" in text
    assert "`behaviors` is not a key" in text
    assert "did you mean `behaviours`?" in text
    assert "did you mean `learning_rate`?" in text
    assert "`training.epochs` is 'many'" in text
    assert "`training.lora.rank` is 0" in text
    assert "8-16 suits style" in text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (GOOD | {"behaviours": ["support", "sales"]}, "add pairs.sales"),
        (GOOD | {"assistant": GOOD["assistant"] | {"behaviour": "sales"}}, "not in behaviours"),
        (GOOD | {"validation": {"refuse_below": 500, "ready_from": 100}}, "must not be below refuse_below"),
        (GOOD | {"base_model": "sk-abcdefghijklmnopqrstuvwx"}, "looks like a credential"),
        (GOOD | {"base_model": "https://me:secret@example.org/x"}, "looks like a credential"),
        (["a", "list"], "must hold a mapping"),
        ({key: value for key, value in GOOD.items() if key != "documents"}, "`documents` is missing"),
    ],
)
def test_a_file_that_does_not_hold_together_is_refused(tmp_path: Path, values: object, message: str) -> None:
    assert message in problems(tmp_path, values)


def test_a_format_that_is_no_regex_is_refused(tmp_path: Path) -> None:
    broken = GOOD | {"pairs": {"support": GOOD["pairs"]["support"] | {"format": "("}}}
    assert "no regular expression" in problems(tmp_path, broken)


def test_a_missing_file_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="root of a project"):
        load_params(tmp_path / "params.yaml")


def test_yaml_that_cannot_be_read_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("a: [1,\nb: 2", encoding="utf-8")
    with pytest.raises(ParamsError, match="is not YAML"):
        load_params(path)


def test_a_misspelt_key_of_an_optional_section_is_told_with_its_nearest_name(tmp_path: Path) -> None:
    judge = {"endpiont": "base", "endpoint": "base", "rubric": "Polite and short."}
    assert "did you mean `endpoint`?" in problems(tmp_path, GOOD | {"validation": {"judge": judge}})


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_KEY", "k")
    assert secret("DESK_KEY") == "k"
    assert secret(None) is None
    monkeypatch.delenv("DESK_KEY")
    with pytest.raises(ParamsError, match="export DESK_KEY"):
        secret("DESK_KEY")
