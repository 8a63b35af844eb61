"""Pairs as teams have them: every row form and file kind, and broken input that names its place."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import DataError, ParamsError
from contracts.params import PairFiles
from validation.frame import to_frame
from validation.read import Row, read_pairs
from validation.rules import Context, judge


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(*files: str, **more: Any) -> list[Row]:
    return read_pairs(PairFiles(files=list(files), **more), "support")


def write(path: str, *rows: object) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


CHAT = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}


@pytest.mark.parametrize(
    "raw",
    [
        CHAT,
        {"prompt": "q", "completion": "a"},
        {"prompt": "q", "response": "a"},
        {"instruction": "q", "output": "a"},
        {"instruction": "q", "input": "", "output": "a"},
    ],
)
def test_every_row_form_gives_the_same_turns(raw: dict[str, Any]) -> None:
    write("pairs.jsonl", raw)
    (row,) = read("pairs.jsonl")
    assert row.pair is not None
    assert (row.pair.prompt, row.pair.answer, row.pair.behaviour) == ("q", "a", "support")


def test_the_input_of_an_instruction_is_part_of_the_prompt() -> None:
    write("pairs.jsonl", {"instruction": "Shorten this", "input": "A long text", "output": "Text"})
    (row,) = read("pairs.jsonl")
    assert row.pair is not None
    assert row.pair.prompt == "Shorten this\n\nA long text"


def test_passages_and_ids_are_kept_and_missing_ids_name_file_and_line() -> None:
    write("pairs.jsonl", {**CHAT, "id": "mine", "passages": [{"text": "t"}]}, CHAT)
    first, second = read("pairs.jsonl")
    assert first.pair is not None
    assert (first.id, len(first.pair.passages)) == ("mine", 1)
    assert (second.id, second.line) == ("pairs.jsonl:2", 2)


def test_an_id_used_twice_still_names_one_row() -> None:
    write("a.jsonl", {**CHAT, "id": 1})
    write("b.jsonl", {**CHAT, "id": 1})
    rows = read("*.jsonl")
    assert [row.id for row in rows] == ["1", "1@b.jsonl:1"]
    assert [row.pair.id for row in rows if row.pair] == ["1", "1@b.jsonl:1"]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json", "jsonl"])
def test_a_column_map_names_the_columns_of_any_file(suffix: str) -> None:
    table = pd.DataFrame({"ask": ["q1", "q2"], "say": ["a1\r\nmore", "a2"], "no": [7, 8], "role": ["Be kind.", ""]})
    if suffix == "csv":
        table.to_csv("t.csv", index=False)
    elif suffix == "parquet":
        table.to_parquet("t.parquet")
    else:
        table.to_json(f"t.{suffix}", orient="records", lines=suffix == "jsonl")
    first, second = read(f"t.{suffix}", columns={"prompt": "ask", "response": "say", "id": "no", "system": "role"})
    assert first.pair is not None
    assert second.pair is not None
    assert [(m.role, m.content) for m in first.pair.messages] == [
        ("system", "Be kind."),
        ("user", "q1"),
        ("assistant", "a1\r\nmore"),
    ]
    assert [m.role for m in second.pair.messages] == ["user", "assistant"]
    assert [first.id, second.id] == ["7", "8"]


def test_lines_of_a_csv_are_those_of_the_file() -> None:
    Path("t.csv").write_text('prompt,response\nq1,"two\nlines"\nq2,a2\nq3,a,b\nq4,a4\n', encoding="utf-8")
    rows = read("t.csv")
    assert [row.line for row in rows] == [2, 4, 5, 6]
    assert [bool(row.error) for row in rows] == [False, False, True, False]
    assert "t.csv:5 has 3 fields, the header 2" in rows[2].error


def test_bytes_that_are_no_utf8_break_one_row_only() -> None:
    Path("t.csv").write_bytes(b"prompt,response\nq1,caf\xe9\nq2,a2\n")
    Path("t.jsonl").write_bytes(b'{"prompt": "\xe9", "response": "a"}\n{"prompt": "\\ud800", "response": "a"}\n')
    rows = read("t.csv", "t.jsonl")
    assert [row.pair is not None for row in rows] == [False, True, False, False]
    assert "UTF-8" in rows[0].error


def test_a_broken_line_names_file_and_line_and_stops_nothing() -> None:
    Path("p.jsonl").write_text(f'{json.dumps(CHAT)}\n{{"messages": \n[1]\n{json.dumps(CHAT)}\n', encoding="utf-8")
    rows = read("p.jsonl")
    assert [row.pair is not None for row in rows] == [True, False, False, True]
    assert rows[1].error.startswith("p.jsonl:2 is not a JSON object")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"text": "raw"}, "neither messages, nor prompt and completion"),
        ({"prompt": 3, "completion": "a"}, "prompt is a int, not text"),
        ({"messages": "q"}, "messages: input should be a valid list"),
        ({"messages": [{"role": "agent", "content": "x"}]}, "messages.0.role: input should be 'system', 'user'"),
        ({**CHAT, "behaviour": "billing"}, "its behaviour is 'billing', but its file is listed under pairs.support"),
    ],
)
def test_a_row_that_is_no_pair_says_why(raw: dict[str, Any], reason: str) -> None:
    write("pairs.jsonl", raw)
    (row,) = read("pairs.jsonl")
    assert row.pair is None
    assert reason in row.error


def test_a_row_without_a_mapped_column_says_which() -> None:
    write("p.jsonl", {"ask": "q", "say": "a"}, {"ask": "q"})
    assert [row.error for row in read("p.jsonl", columns={"prompt": "ask", "response": "say"})] == [
        "",
        "it has no 'say', which pairs.support.columns in params.yaml names",
    ]


def test_chats_and_a_mapped_table_make_one_behaviour() -> None:
    Path("t.csv").write_text("ask,say\nq,a\n", encoding="utf-8")
    write("chats.jsonl", CHAT)
    rows = read("t.csv", "chats.jsonl", columns={"prompt": "ask", "response": "say"})
    assert [row.pair and (row.pair.prompt, row.pair.answer) for row in rows] == [("q", "a")] * 2


@pytest.mark.parametrize(("name", "mark"), [("t.csv", ","), ("t.csv", ";"), ("t.tsv", "\t")])
def test_tables_are_read_with_the_mark_between_their_columns(name: str, mark: str) -> None:
    Path(name).write_text(f'\ufeffprompt{mark}response\n"one; or, two\t?"{mark}a\n', encoding="utf-8")
    (row,) = read(name)
    assert row.pair
    assert (row.pair.prompt, row.pair.answer) == ("one; or, two\t?", "a")


def test_a_stray_quote_breaks_one_row() -> None:
    Path("t.csv").write_text('prompt,response\n"q" ue,a\nq2,a2\n', encoding="utf-8")
    rows = read("t.csv")
    assert [row.pair is None for row in rows] == [True, False]
    assert "t.csv:2 is not CSV" in rows[0].error


def test_files_come_in_the_order_of_the_list_each_once() -> None:
    for name in ("a", "b", "c"):
        write(f"data/{name}.jsonl", {**CHAT, "id": name})
    assert [row.id for row in read("data/c.jsonl", "data/*.jsonl")] == ["c", "a", "b"]


def test_absolute_and_recursive_globs(tmp_path: Path) -> None:
    write("x/deep/a.jsonl", CHAT)
    assert len(read(str(tmp_path / "**" / "*.jsonl"))) == 1
    assert len(read("x/**/*.jsonl")) == 1


def test_max_rows_is_a_cap_over_all_files() -> None:
    write("a.jsonl", CHAT, CHAT)
    write("b.jsonl", CHAT, CHAT)
    assert [row.id for row in read("*.jsonl", max_rows=3)] == ["a.jsonl:1", "a.jsonl:2", "b.jsonl:1"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", b"{", "p.json is not JSON"),
        ("p.json", b'{"a": 1}', "p.json holds a dict, not a list of rows"),
        ("p.parquet", b"PAR1nonsense", "p.parquet is not Parquet"),
        ("p.xlsx", b"", "p.xlsx is no workbook"),
        ("p.xls", b"", "p.xls is of a kind we do not read"),
        ("p.jsonl", b"\n\n", "hold no rows"),
        ("p.csv", b"", "hold no rows"),
        ("p.csv", b"a,b\n1,2\n", "name yours for prompt and response with pairs.support.columns in params.yaml"),
        ("p.csv", b'prompt,response\nq1,"a1\nq2,a2\nq3,a3\n', "p.csv:2 opens a quote that nothing closes"),
        ("p.jsonl", b"PAR1\n\x00", "p.jsonl has not one row that can be read: p.jsonl:1 is not a JSON object"),
        ("p.json", b"[1, 2]", "p.json has not one row that can be read"),
    ],
)
def test_a_broken_file_stops_the_run(name: str, content: bytes, message: str) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(DataError) as error:
        read(name)
    assert message in str(error.value)


def test_a_missing_file_or_an_empty_glob_stops_the_run() -> None:
    for pattern in ("nowhere.jsonl", "data/*.jsonl"):
        with pytest.raises(DataError, match=r"pairs\.support\.files in params\.yaml names .* no such file"):
            read(pattern)


def test_an_unreadable_file_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    write("pairs.jsonl", CHAT)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"pairs\.jsonl cannot be read \(Permission denied\)"):
        read("pairs.jsonl")


def test_a_column_that_the_file_lacks_is_told_once_with_what_it_has() -> None:
    Path("t.csv").write_text("ask,say\nq,a\n", encoding="utf-8")
    with pytest.raises(
        DataError,
        match=r"no column 'question', which pairs\.support\.columns\.prompt in params\.yaml names; it has: ask, say",
    ):
        read("t.csv", columns={"prompt": "question", "response": "say"})


def test_a_column_name_that_is_not_ours_is_refused() -> None:
    write("pairs.jsonl", CHAT)
    with pytest.raises(ParamsError, match=r"pairs\.support\.columns in params\.yaml has 'promt'"):
        read("pairs.jsonl", columns={"promt": "x"})


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["messages", "role", "content", "prompt", "completion", "id", "passages"]), inner
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.binary(max_size=60), min_size=1, max_size=5), suffix=st.sampled_from(["jsonl", "csv"]))
def test_arbitrary_bytes_break_no_row_but_their_own(lines: list[bytes], suffix: str) -> None:
    sound = {"jsonl": b'{"prompt": "q", "response": "a"}\n', "csv": b"prompt,response\nq,a\n"}
    Path(f"fuzz.{suffix}").write_bytes(sound[suffix] + b"\n".join(lines))
    try:
        first, *rest = read(f"fuzz.{suffix}")
    except DataError:  # of a table, an open quote is all that can break more than its own row
        assert suffix == "csv"
        assert any(b'"' in line for line in lines)
        return
    assert first.pair is not None
    assert all((row.pair is None) == bool(row.error) for row in rest)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(JSONISH, min_size=1, max_size=4))
def test_arbitrary_json_is_judged_without_a_traceback(values: list[Any]) -> None:
    write("fuzz.jsonl", CHAT, *values)
    ok = judge(to_frame(read("fuzz.jsonl")), Context("support", format="a")).ok
    assert len(ok) == 1 + len(values)


@pytest.mark.parametrize(
    "line", [b"9" * 5000, b"[" * 100_000, b'{"messages": ' + b"[" * 100_000, b"\xff\xfe\x00", b"NaN"]
)
def test_lines_made_to_hurt_a_parser_are_one_broken_row(line: bytes) -> None:
    Path("p.jsonl").write_bytes(line + b"\n" + json.dumps(CHAT).encode())
    broken, sound = read("p.jsonl")
    assert broken.error
    assert sound.pair
