"""Rows and projects small enough to read in a test."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.files import write_json, write_jsonl
from contracts.pairs import Message, Pair, Passage
from contracts.params import Params, Validation, load_params
from validation.frame import to_frame
from validation.read import Row
from validation.rules import RULES, Context
from validation.similar import near_pairs
from validation.tokens import count_tokens

ROOT = Path(__file__).resolve().parents[2]

Chat = dict[str, Any]


def _row(line: int, chat: Chat) -> Row:
    messages = chat.get("messages") or [("user", chat["prompt"]), ("assistant", chat["answer"])]
    pair = Pair(
        id=chat.get("id", f"row-{line}"),
        behaviour="support",
        passages=[Passage(text=text) for text in chat.get("passages", [])],
        messages=[Message(role=role, content=content) for role, content in messages],
    )
    return Row(pair.id, "pairs.jsonl", line, pair.model_dump(), behaviour="support")


@pytest.fixture
def caught() -> Callable[..., dict[str, str]]:
    """Apply one rule to rows given as {prompt, answer, passages, messages, id}: {id: reason} of those that fail.

    Further arguments are settings of `validation` and fields of Context.
    """

    def apply(code: str, *chats: Chat, **context: Any) -> dict[str, str]:
        rows = [_row(n, chat) for n, chat in enumerate(chats, start=1)]
        frame = to_frame(rows)
        if tokenizer := context.pop("tokenizer", None):
            frame = count_tokens(frame, rows, tokenizer, context.pop("system", ""))
        settings = {name: context.pop(name) for name in list(context) if name in Validation.model_fields}
        near = near_pairs(list(dict.fromkeys([*context.get("golden", ()), *frame["prompt_key"]])), 0.8)
        reasons = RULES[code].check(frame, Context("support", Validation(**settings), near=near, **context))
        return {frame.at[index, "id"]: reason for index, reason in reasons.items()}

    return apply


@pytest.fixture(scope="session")
def word_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer for which every word is a token, with a chat template: it loads in no time."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}> {{ m.content }} <end> {% endfor %}"
        "{% if add_generation_prompt %}<assistant> {% endif %}"
    )
    path = tmp_path_factory.mktemp("word-tokenizer")
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def project(tmp_path: Path, word_tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Params]:
    """Write a project into tmp_path, go there and return its params; `rows` are those of pairs.jsonl."""
    monkeypatch.chdir(tmp_path)

    def build(rows: list[dict[str, Any]], *, facts: list[dict[str, Any]] | None = None, **sections: Any) -> Params:
        raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        raw["pairs"] = {"support": {"files": ["pairs.jsonl"]}}
        for name, changes in sections.items():
            raw[name] |= changes
        Path("params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
        write_jsonl(Path("pairs.jsonl"), rows)
        shutil.copytree(word_tokenizer, "models/base", dirs_exist_ok=True)
        golden = {"id": "g-1", "category": "factual", "question": "Where is the moon?", "reference": "Up."}
        write_jsonl(Path(raw["evaluation"]["golden"]), [golden])
        write_json(Path("reports/audit.json"), {"since": None, "until": None, "documents": [], "facts": facts or []})
        return load_params()

    return build


@pytest.fixture
def lines_of() -> Callable[[str], list[dict[str, Any]]]:
    """The objects of a JSONL file."""
    return lambda path: [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def write_xlsx() -> Callable[..., None]:
    """A function that writes rows to a path as a workbook."""
    return _write_xlsx


def _write_xlsx(path: Path, rows: list[list[str | int]]) -> None:
    """The least that is a workbook: one sheet with inline strings."""

    def cell(value: str | int) -> str:
        return f"<c><v>{value}</v></c>" if isinstance(value, int) else f'<c t="inlineStr"><is><t>{value}</t></is></c>'

    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    links = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    body = "".join("<row>" + "".join(map(cell, row)) + "</row>" for row in rows)
    types = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    with zipfile.ZipFile(path, "w") as book:
        book.writestr(
            "[Content_Types].xml",
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{types}.sheet.main+xml"/>'
            f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{types}.worksheet+xml"/></Types>',
        )
        book.writestr(
            "_rels/.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1"'
            f' Type="{links}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        book.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{space}" xmlns:r="{links}"><sheets><sheet name="s" sheetId="1" r:id="r1"/></sheets></workbook>',
        )
        book.writestr(
            "xl/_rels/workbook.xml.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1"'
            f' Type="{links}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        )
        book.writestr(
            "xl/worksheets/sheet1.xml", f'<worksheet xmlns="{space}"><sheetData>{body}</sheetData></worksheet>'
        )
