"""`freshtune validate` on files as people have them, without a project."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import app
from contracts.files import write_jsonl

runner = CliRunner()


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> tuple[int, dict[str, Any]]:
    result = runner.invoke(app, ["validate", *arguments, "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, json.loads(result.stdout) if result.stdout.startswith("{") else {"error": result.stderr}


def pairs(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"p{n}", "behaviour": "any", "ask": f"What is on page {n}?", "say": f"Page {n} shows the letter."}
        for n in range(count)
    ]


COLUMNS = ("--columns", "prompt=ask,response=say")


@pytest.mark.parametrize(("rows", "code", "verdict"), [(99, 1, "refused"), (100, 0, "limited"), (500, 0, "ready")])
def test_the_exit_code_says_whether_to_train(rows: int, code: int, verdict: str) -> None:
    write_jsonl(Path("p.jsonl"), pairs(rows))
    found = run("p.jsonl", *COLUMNS)
    assert (found[0], found[1]["verdict"], found[1]["funnel"]["teachable"]) == (code, verdict, rows)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.jsonl"], "there is no such file"),
        (["p.jsonl", "--columns", "prompt"], "write prompt=NAME"),
        (["p.jsonl", "--columns", "quiz=ask"], "--columns has 'quiz', which is not a column of ours"),
        (["."], "the command line names the folder ."),
        (["p.jsonl", *COLUMNS, "--against", "gone"], "gone is missing"),
        (["p.jsonl", *COLUMNS, "--out", "p.jsonl"], "p.jsonl cannot be written to"),
        (["p.jsonl", *COLUMNS, "--base", "package:nothing-here"], "is not installed"),
        (["hub:one"], "write hub:ORG/NAME@REVISION"),
    ],
)
def test_bad_input_is_told_in_one_message(arguments: list[str], said: str) -> None:
    write_jsonl(Path("p.jsonl"), pairs(2))
    code, found = run(*arguments)
    assert code == 2
    assert said in found["error"]


def test_facts_of_documents_are_not_taught_and_the_json_says_why() -> None:
    Path("documents").mkdir()
    Path("documents/prices.md").write_text("# Prices\n\nSending a small parcel costs €3.95.\n", encoding="utf-8")
    stated = {"id": "price", "ask": "What does a small parcel cost?", "say": "Sending it costs €3.95."}
    write_jsonl(Path("p.jsonl"), [*pairs(3), stated])
    _, found = run("p.jsonl", *COLUMNS, "--against", "documents")
    (entry,) = found["quarantined"]
    assert (entry["id"], entry["rule"], entry["line"]) == ("price", "volatile_fact", 4)
    assert "prices.md, “Sending a small parcel costs €3.95.”" in entry["reason"]
    assert entry["advice"]
    assert found["rules"]["volatile_fact"] == 1
    assert not run("p.jsonl", *COLUMNS)[1]["quarantined"]


def test_everything_is_written_where_out_says() -> None:
    write_jsonl(Path("p.jsonl"), [*pairs(120), {"id": "x", "ask": "=1+1", "say": "Dear {{name}}"}])
    assert run("p.jsonl", *COLUMNS, "--out", "out")[0] == 0
    made = {path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file()}
    assert made >= {"train.jsonl", "eval.jsonl", "quarantine.jsonl", "warnings.jsonl", "rows.csv", "verdict.json"}
    page = Path("out/docs/pairs.html").read_text(encoding="utf-8")
    assert "placeholder" in page
    assert "//" not in page.replace("/*", "")  # no address that a browser would follow
    assert "<script" not in page
    table = Path("out/rows.csv").read_text(encoding="utf-8").splitlines()
    assert table[0].startswith("\ufeffwhat,file,line")  # spreadsheets take a table without the mark for Latin-1
    assert len(table) == 2
    assert table[1].startswith("quarantined,p.jsonl,121,x,placeholder,")


def test_fix_repairs_what_it_can_beside_the_original_and_never_over_it() -> None:
    def chat(id: str, *turns: str) -> dict[str, Any]:
        roles = {"u": "user", "a": "assistant"}
        return {"id": id, "messages": [{"role": roles[turn[0]], "content": turn[2:]} for turn in turns]}

    rows = [
        chat("good", "u:Where is it?", "a:In the app."),
        chat("open", "u:May I?", "a:You may.", "u:Thanks"),
        chat("double", "u:I wrote twice.", "u:About the box.", "a:We saw it."),
        chat("voice", "u:What can it hold?", "a:As an AI language model, I have no hands. A box fits."),
        chat("again", "u:where is it", "a:In the app."),
        chat("hole", "u:Name?", "a:Dear {{name}}"),
    ]
    write_jsonl(Path("p.jsonl"), rows)
    before = Path("p.jsonl").read_bytes()
    code, found = run("p.jsonl", "--fix")
    assert (code, found["fixed"]) == (1, {"p.fixed.jsonl": 4})
    assert Path("p.jsonl").read_bytes() == before
    fixed = [json.loads(line) for line in Path("p.fixed.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in fixed] == ["good", "open", "double", "voice"]
    assert [turn["content"] for turn in fixed[2]["messages"]] == ["I wrote twice.\nAbout the box.", "We saw it."]
    assert fixed[3]["messages"][-1]["content"] == "A box fits."
    assert not run("p.fixed.jsonl")[1]["quarantined"]
    assert run("p.jsonl", "--fix")[1]["fixed"] == {"p.fixed.jsonl": 4}  # the same again is no loss
    Path("p.fixed.jsonl").write_text("mine\n", encoding="utf-8")
    assert "differs: move it away" in run("p.jsonl", "--fix")[1]["error"]
    assert Path("p.fixed.jsonl").read_text(encoding="utf-8") == "mine\n"


def test_files_of_one_stem_are_fixed_each_beside_itself() -> None:
    Path("p.csv").write_text("prompt,response\nWhere is it?,In the app.\n", encoding="utf-8")
    write_jsonl(Path("p.jsonl"), [{"prompt": "When is it here?", "response": "Soon."}])
    assert run("p.csv", "p.jsonl", "--fix")[1]["fixed"] == {"p.csv.fixed.jsonl": 1, "p.fixed.jsonl": 1}


def test_preferences_teach_what_was_chosen_and_keep_what_was_not() -> None:
    plain = {"prompt": "Where?", "chosen": "In the app.", "rejected": "No idea."}
    turns = {
        "prompt": [{"role": "user", "content": "When?"}],
        "chosen": [{"role": "assistant", "content": "Soon."}],
        "rejected": [{"role": "assistant", "content": "Never."}],
    }
    whole = {name: [*turns["prompt"], *turns[name]] for name in ("chosen", "rejected")}
    whole["chosen"][0] = whole["rejected"][0] = {"role": "user", "content": "Who?"}
    write_jsonl(Path("p.jsonl"), [plain, turns, whole])
    code, found = run("p.jsonl", "--out", "out")
    assert (code, found["funnel"]["teachable"], found["quarantined"]) == (1, 3, [])
    from validation.read import PairFiles, read_pairs

    read = [row.pair for row in read_pairs(PairFiles(files=["p.jsonl"]), "b")]
    assert [(p.prompt, p.answer, p.rejected) for p in read if p] == [
        ("Where?", "In the app.", "No idea."),
        ("When?", "Soon.", "Never."),
        ("Who?", "Soon.", "Never."),
    ]
    assert "rejected" in read[0].model_dump()  # type: ignore[union-attr]


def test_a_workbook_is_read_with_its_row_numbers(write_xlsx: Callable[..., None]) -> None:
    write_xlsx(Path("p.xlsx"), [["no", "ask", "say"], [7, "Where?", "In the app."], [8, 42, "In the app."]])
    _, found = run("p.xlsx", "--columns", "prompt=ask,response=say,id=no")
    assert found["funnel"]["teachable"] == 1
    assert [(e["id"], e["line"], e["reason"]) for e in found["quarantined"]] == [("8", 3, "ask is a int, not text")]
