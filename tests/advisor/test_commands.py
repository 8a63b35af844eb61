"""The printed layout, the documented examples, and a start that loads nothing heavy."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import app
from contracts.params import Params

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs/advisor.md"
ISSUE = (
    "analyze --knowledge-changes weekly --needs-citations true --style-requirements high"
    ' --training-data "200 examples" --latency-requirement 2s --monthly-queries 100000'
)


def advise(line: str, code: int = 0, stdin: str | None = None) -> str:
    done = CliRunner().invoke(app, ["advise", *shlex.split(line)], input=stdin, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def test_the_layout_is_pinned() -> None:
    assert (
        advise(ISSUE)
        == """\
RECOMMENDATION: Hybrid (RAG + LoRA Fine-tuning)

Reasoning:
- Knowledge changes weekly → RAG for dynamic content
- Citations required → RAG provides source attribution
- High style requirements → Fine-tune for consistent voice
- 200 examples sufficient for LoRA

Estimated Monthly Cost: $570
- LLM API: $250
- Vector DB: $70
- Embeddings: $0.20
- LoRA hosting: $250 (one-time: $150)

What would change this:
- if style requirements were medium → RAG Only
- if answers were due in under 100 ms → Fine-Tuning Only (LoRA)
- with fewer than 100 examples → RAG Only
- not by themselves: knowledge changes, citations, monthly queries
"""
    )


def test_the_layout_of_each_other_verdict() -> None:
    rag = advise("analyze --knowledge-changes daily --training-data 50 --style-requirements high --monthly-queries 0")
    assert rag.startswith(
        "RECOMMENDATION: RAG Only\n\nReasoning:\n- Knowledge changes daily → RAG for dynamic content\n"
    )
    assert "\n\nWARNING: 50 examples is INSUFFICIENT for LoRA. Gathering more data recommended.\n\n" in rag
    assert "Estimated Monthly Cost: $70\n- LLM API: $0\n- Vector DB: $70\n- Embeddings: $0\n\n" in rag
    tuned = advise("analyze --style-requirements high --training-data 1.5k")
    assert tuned.startswith("RECOMMENDATION: Fine-Tuning Only (LoRA)\n")
    assert "Estimated Monthly Cost: $250\n- LoRA hosting: $250 (one-time: $150)\n\n" in tuned
    assert advise("analyze").startswith("RECOMMENDATION: RAG (Default Safe Choice)\n")
    assert "\nCONFLICT: retrieval is needed (citations required)" in advise(
        "analyze --needs-citations yes --training-data 200 --latency-requirement 50ms"
    )


def test_json_holds_all_of_it() -> None:
    told = json.loads(advise(f"{ISSUE} --json --price vector_db_monthly=25"))
    assert told["recommendation"] == "Hybrid (RAG + LoRA Fine-tuning)"
    assert (told["retrieve"], told["train"]) == (True, True)
    assert told["monthly_cost"]["total"] == pytest.approx(525.2)
    assert told["one_time_cost"] == 150
    assert told["inputs"]["training_data"] == 200
    assert len(told["flips"]) == 6
    assert told["prices"]["dated"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("analyze --knowledge-changes sometimes", "error: --knowledge-changes is 'sometimes', which is not understood"),
        ("analyze --needs-citations maybe", "error: --needs-citations is 'maybe'"),
        ("analyze --style-requirements very", "error: --style-requirements is 'very'"),
        ("analyze --training-data lots", "error: --training-data is 'lots'"),
        ("analyze --latency-requirement 2", "error: --latency-requirement is '2'"),
        ("analyze --monthly-queries -3", "error: --monthly-queries is '-3'"),
        ("analyze --price vector_db_monthly", "error: --price is 'vector_db_monthly': write NAME=DOLLARS"),
        ("compare --price rag=1", "error: --price names rag, which is no price"),
        ("compare --svg /", "error: --svg / cannot be written"),
        ("checklist --answers yn", "error: --answers has 2 answers and 9 are asked"),
        ("checklist --ready yyyyyyyyyy", "error: --ready is given without --answers"),
        ("checklist --answers nnyyyynyn --ready y", "error: --ready has 1 answers and 10 are asked"),
    ],
)
def test_a_mistake_is_one_message(line: str, message: str) -> None:
    told = advise(line, code=2)
    assert told.startswith(message)
    assert len(told.strip().splitlines()) == 1


def test_infinite_and_unknown_paces_are_json() -> None:
    for pace in ("never", "unknown"):
        told = json.loads(advise(f"analyze --json --knowledge-changes {pace}"), parse_constant=pytest.fail)
        assert told["inputs"]["knowledge_changes"] == pace


def test_the_other_views_as_json(tmp_path: Path) -> None:
    four = json.loads(advise("compare --monthly-queries 1M --months 12 --json"))
    assert [len(option["spent"]) for option in four["options"]] == [13] * 4
    assert len(four["break_even"]) == 6
    lists = json.loads(advise("checklist --json"))
    assert (len(lists["questions"]), len(lists["points"])) == (9, 10)
    found = json.loads(advise("checklist --answers nnyyyynyn --ready nynyyyyyny --json"))
    assert found["recommendation"] == "Hybrid (RAG + LoRA Fine-tuning)"
    assert found["open"] == [1, 3]
    flags = "--data-freshness weekly --knowledge both --training-data 600 --latency-requirement 300ms"
    scored = json.loads(advise(f"signals {flags} --infrastructure gpu --audit neither --json"))
    assert (scored["retrieval"], scored["training"]) == (2, 4)


def test_the_plot_is_written_where_asked(tmp_path: Path) -> None:
    file = tmp_path / "plots/cost.svg"
    assert f"the plot is in {file}" in advise(f"compare --svg {file}")
    assert file.read_text().startswith("<svg ")


def test_without_a_terminal_the_checklist_is_printed_and_asks_nothing() -> None:
    told = advise("checklist", stdin="")
    assert len(re.findall(r"^ *\d+\. ", told, re.MULTILINE)) == 19


def test_on_a_terminal_the_checklist_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    import advisor.commands

    class Terminal:
        stdin = stdout = type("Stream", (), {"isatty": staticmethod(lambda: True)})

    monkeypatch.setattr(advisor.commands, "sys", Terminal)
    told = advise("checklist", stdin="n\nn\ny\ny\ny\ny\nn\nn\nn\n" + "y\n" * 9 + "n\n")
    assert "1. Does the knowledge change more often than monthly? [y/N]: n" in told
    assert "RECOMMENDATION: Fine-Tuning Only (LoRA)" in told
    assert told.endswith("9 of 10 points stand\n- open: 10. It is written down why training beats prompting here\n")
    told = advise("checklist", stdin="y\nn\nn\nn\nn\nn\nn\nn\nn\n")
    assert "RECOMMENDATION: RAG Only" in told  # and no question about training


def test_the_project_view_prints_evidence_advice_and_what_becomes_of_training(project: Callable[..., Params]) -> None:
    project(advisor={"style_requirements": "medium"})
    told = advise("project")
    assert told.startswith(
        "Evidence for support:\n"
        "- knowledge changes       weekly            reports/audit.json: texts changed on 4 days of 28,"
        " 2026-01-01 to 2026-01-29\n"
    )
    assert "\n\nRECOMMENDATION: RAG Only\n" in told
    assert "- if style requirements were high → Hybrid (RAG + LoRA Fine-tuning)\n" in told
    assert told.endswith(
        "\nTraining skipped: the advice is RAG Only (`freshtune advise project` explains it, training.force trains all"
        " the same)\n"
    )
    assert json.loads(advise("project --json"))["behaviours"][0]["train"] is False


def test_outside_a_project_it_says_where_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "run freshtune at the root of a project" in advise("project", code=2)


def examples() -> list[tuple[str, str]]:
    """Each `$ freshtune advise …` of the document with the output printed below it."""
    blocks = re.findall(r"^```console\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(line[2:], output) for block in blocks for line, _, output in [block.partition("\n")]]


@pytest.mark.parametrize(("command", "output"), examples(), ids=lambda text: text[:60].split("\n")[0])
def test_the_documented_examples_print_what_is_documented(command: str, output: str) -> None:
    assert command.startswith("freshtune advise ")
    assert advise(command.removeprefix("freshtune advise ")) == output


def test_the_documents_cover_every_command() -> None:
    shown = {command.split()[2] for command, _ in examples()}
    assert shown >= {"analyze", "checklist", "compare", "signals"}
    assert "freshtune advise project" in DOCS.read_text(encoding="utf-8")


def test_nothing_heavy_is_loaded() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom cli import app\n"
        f"assert CliRunner().invoke(app, ['advise', *{shlex.split(ISSUE)!r}]).exit_code == 0\n"
        "heavy = {'torch', 'transformers', 'dvc', 'prefect', 'numpy', 'pandas', 'rich', 'lancedb', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() in ("[]", "['rich']"), done.stdout


def test_the_room_imports_contracts_and_small_packages_only() -> None:
    found: set[str] = set()
    for path in (ROOT / "advisor").glob("*.py"):
        found |= set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    assert found - set(sys.stdlib_module_names) == {"advisor", "contracts", "pydantic", "typer", "yaml"}
