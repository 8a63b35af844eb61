import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from contracts.errors import DataError
from evaluation import figures
from evaluation.report import build, markdown, print_card
from evaluation.stages import evaluate

STAGES = {"base": 3.0, "audit": 0.5, "validate": 2.0, "train@support": 95.0, "merge@support": 4.0, "index": 1.0,
          "evaluate": 30.0, "package": 2.0}  # fmt: skip


def put(path: str, value: object) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(value), encoding="utf-8")


def receipt(**more: object) -> None:
    known = {"tag": "demo:abc", "path": "p", "release": "r1", "mode": "hybrid", "blocked": "", "size_mib": 600.0}
    put("reports/package.json", {**known, **more})


def pairs(verdict: str = "ready", **more: object) -> None:
    behaviour = {"behaviour": "support", "verdict": verdict, "advice": "", "rules": {"duplicate": 3},
                 "funnel": {"read": 60, "distinct": 42, "a_last_step": 42},
                 "train_rows": 38, "eval_rows": 4, "grounded_rows": 20}  # fmt: skip
    put("reports/validation/verdict.json", {"behaviours": [{**behaviour, **more}], "quarantined": 3})


@pytest.fixture
def finished(project, scripted):
    """A project whose every stage has run."""
    evaluate(project(), scripted())
    Path("models/base").mkdir(parents=True)
    pairs()
    put("reports/audit.json", {"since": None, "until": None, "documents": [], "facts": []})
    receipt()


def card(report: dict, width: int = 100, terminal: bool = True) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    print_card(report, console)
    return console.file.getvalue()


class Page(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page() -> tuple[str, Page]:
    html = Path("reports/report.html").read_text(encoding="utf-8")
    return html, Page(html)


def test_a_released_run_tells_all_of_it(finished) -> None:
    report = build(STAGES, "0123abc", ["pairs.jsonl: 2 rows added"], list(STAGES))
    assert report == json.loads(Path("reports/report.json").read_text())
    assert report["status"] == "released"
    assert [entry["command"].split()[1] for entry in report["next"]] == ["ask", "serve", "schedule"]
    text = card(report)
    for part in ("demo:abc", "a last step", "held out 3.10 → 0.70", "4 documents, 4 chunks", "hybrid", "behaviour",
                 "min_format", "pass", "1 min 35 s", "2 rows added", "freshtune serve"):  # fmt: skip
        assert part in text
    assert (
        list(json.loads(Path("reports/report.json").read_text())["pairs"]["behaviours"][0]["funnel"])[-1]
        == "a_last_step"
    )
    assert "hybrid answers 6 of 6 golden questions as asked (base 0, rag 2, tuned 2)" in text


def test_stages_that_did_not_run_are_up_to_date(finished) -> None:
    report = build({"evaluate": 30.0}, "", [], ["evaluate"])
    states = {stage["name"]: (stage["status"], stage["seconds"]) for stage in report["stages"]}
    assert states["evaluate"] == ("ran", 30.0)
    assert states["train@support"] == states["base"] == ("up to date", None)
    assert "no input changed" in card(report)


def test_an_empty_project_says_not_run_everywhere(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    report = build({}, "", [], [])
    assert report["status"] == "incomplete"
    assert {stage["status"] for stage in report["stages"]} == {"not run"}
    assert card(report).count("not run") >= 4
    assert report["next"][0]["command"] == "freshtune retrain"
    assert "Not run" in page()[1].text
    assert "Nothing to release yet" in markdown(report)


def test_a_run_without_evaluation_shows_what_there_is(project) -> None:
    project()
    pairs("limited", advice="write 58 more")
    report = build({}, "", [], [])
    assert "not run: base, audit, advise, evaluate, package" in card(report)
    assert "write 58 more" in card(report)
    assert "write 58 more" in page()[1].text


def test_a_blocked_release_names_the_gate_and_does_not_offer_to_serve(project, scripted) -> None:
    evaluate(project(gates={"max_latency_seconds": 1e-9}), scripted())
    receipt(blocked="gate max_latency_seconds")
    report = build({}, "", [], [])
    assert report["status"] == "blocked"
    assert card(report).splitlines()[1].find("Release blocked by max_latency_seconds") > 0
    assert "FAIL" in card(report)
    assert not any("serve" in entry["command"] or "ask" in entry["command"] for entry in report["next"])
    assert any("max_latency_seconds" in entry["why"] for entry in report["next"])


def advice(train: bool) -> None:
    each = {"behaviour": "support", "recommendation": "RAG Only", "reasoning": ["Citations required → RAG"],
            "warnings": ["CONFLICT: two needs"], "evidence": [{"name": "citations", "value": "required", "source": "params"}],
            "flips": [], "monthly": {}, "one_time": 0.0, "train": train,
            "training": "runs" if train else "skipped: the advice is RAG Only"}  # fmt: skip
    put("reports/advice/advice.json", {"release": "", "behaviours": [each]})


@pytest.mark.parametrize("train", [True, False])
def test_the_advice_stands_in_every_form_and_says_when_training_is_skipped(finished, train: bool) -> None:
    advice(train)
    report = build(STAGES, "", [], list(STAGES))
    for text in (card(report), page()[1].text, markdown(report)):
        assert "RAG Only" in text
        assert ("skipped: the advice is RAG Only" in text) is not train
    for text in (card(report), page()[1].text):
        assert "Citations required → RAG" in text
        assert "CONFLICT: two needs" in text


@pytest.mark.parametrize(
    ("verdict", "command"), [("ready", "freshtune advise project"), ("refused", "freshtune retrain")]
)
def test_a_rag_only_release_says_what_to_do_about_it(project, scripted, verdict: str, command: str) -> None:
    evaluate(project(skipped="the advice is RAG Only", gates={"min_task_success": 0.3}), scripted())
    pairs(verdict)
    receipt(mode="rag-only")
    assert build({}, "", [], [])["next"][-1]["command"] == command


@pytest.mark.parametrize("terminal", [True, False])
def test_a_rag_only_release_says_so_in_the_first_line(project, scripted, terminal: bool) -> None:
    gates = {"min_task_success": 0.3}
    evaluate(project(skipped="only 42 usable pairs", gates=gates), scripted())
    receipt(mode="rag-only")
    report = build({}, "", [], [])
    first = next(line for line in card(report, terminal=terminal).splitlines() if any(c.isalpha() for c in line))
    assert "Rag-only" in first
    assert "only 42 usable pairs" in report["summary"]
    assert markdown(report).startswith("# Rag-only")
    assert "Rag-only" in page()[1].text
    assert [stage["status"] for stage in report["stages"] if stage["name"] == "train@support"] == ["up to date"]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_line_is_wider_than_the_terminal(finished, width: int) -> None:
    report = build(STAGES, "0123abc", [], list(STAGES))
    assert max(len(line) for line in card(report, width).splitlines()) <= width


def test_piped_it_is_plain_text(finished) -> None:
    text = card(build(STAGES, "", [], list(STAGES)), 80, terminal=False)
    assert not re.search("[\x1b╭│━─█]", text)
    assert "1.00*" in text


def test_the_page_fetches_nothing_and_is_accessible(finished) -> None:
    build(STAGES, "0123abc", [], list(STAGES))
    html, parsed = page()
    assert not re.search(r"https?://|url\(|@import", html)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in parsed.tags}
    drawings = [attributes for tag, attributes in parsed.tags if tag == "svg"]
    assert len(drawings) == 4
    assert all(a["role"] == "img" and a["aria-label"] for a in drawings)
    assert [tag for tag, _ in parsed.tags].count("h1") == 1
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for _, a in parsed.tags if "aria-labelledby" in a} <= set(ids)
    assert "prefers-color-scheme: dark" in html


def test_answers_are_data_in_every_form(finished) -> None:
    path = Path("reports/evaluation/answers.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    evil = '<script>alert(1)</script> [bold]x[/] | "$(rm -rf ~)" `id` {{ 7*7 }}'
    for row in rows:
        row["answer"]["text"] = row["question"] = evil
    path.write_text("\n".join(json.dumps(row) for row in rows))
    report = build(STAGES, "", [evil], list(STAGES))
    html, parsed = page()
    assert "<script" not in html
    assert evil in parsed.text
    assert "[bold]x[/]" in card(report, 200)
    outside_the_fence = markdown(report).split("```")
    assert len(outside_the_fence) == 3
    assert "<script" not in outside_the_fence[0] + outside_the_fence[2]
    asked = report["next"][0]["command"]
    assert not re.search(r"[`$]", asked)
    assert asked.count('"') == 2


def test_a_file_that_is_not_what_its_stage_writes_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    put("reports/index.json", {"chunks": "many"})
    with pytest.raises(DataError, match=r"reports/index\.json is not what its stage writes .*delete it"):
        build({}, "", [], [])


def test_the_best_arm_is_the_fastest_in_latency_and_the_highest_elsewhere() -> None:
    row = {"base": {"mean": 1.0}, "rag": {"mean": 2.0}, "tuned": {"mean": None}}
    assert figures.best("task success", row) == {"rag"}
    assert figures.best(figures.LATENCY, row) == {"base"}
    assert figures.best("task success", {"base": {"mean": 0.5}, "rag": {"mean": 0.501}}) == set()


def test_a_sparkline_falls_with_the_loss_and_fits_its_width() -> None:
    line = figures.sparkline([100.0 - i for i in range(100)], width=20)
    assert len(line) == 20
    assert list(line) == sorted(line, reverse=True)
    assert figures.sparkline([]) == ""
    assert figures.sparkline([1.0, 1.0]) == "▁▁"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.4 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s")]
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert figures.duration(seconds) == text
