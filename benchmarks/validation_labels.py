"""How right each rule is on data that nobody here wrote: precision and recall against labels that came with it.

    python -m benchmarks.validation_labels [--data DIR] [--show N]

Bitext's support pairs carry intents, tags and {{placeholders}}; banking77 carries categories and leaks; the banking
knowledge base a contradiction that was corrected; the policies of GitHub their history, from which the facts that later
changed are read. Prints one table, then one line of JSON. A rule whose precision is below 0.9 belongs into
validation.warn, unless it must always quarantine.
"""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.real import DATA, HISTORY
from contracts.documents import Document
from contracts.errors import DataError, FreshtuneError
from contracts.facts import find_facts, sentences, subject_words
from contracts.files import read_json, write_text
from contracts.params import Validation
from contracts.verdicts import AuditVerdict
from retrieval.audit import audit
from retrieval.history import replay
from retrieval.markdown import sections
from validation.agree import LIST_NUMBER
from validation.detect import profanity_in
from validation.frame import normalise, to_frame
from validation.read import Row
from validation.rules import RULES, Context
from validation.similar import near_pairs

BITEXT = Path("support_pairs/bitext_support.csv")
# Pairs are written at the first date, judged at the second with what is known by then, and proved by the last commit.
WRITTEN, JUDGED = datetime(2021, 1, 1, tzinfo=UTC), datetime(2022, 1, 1, tzinfo=UTC)


class Measured(NamedTuple):
    """Found against labelled. `unit` says what is counted; `note` what the label is."""

    rule: str
    unit: str
    labelled: int
    caught: int
    right: int
    found: int
    note: str

    @property
    def precision(self) -> float | None:
        return self.right / self.caught if self.caught else None

    @property
    def recall(self) -> float | None:
        return self.found / self.labelled if self.labelled else None


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code: 2 where data is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.validation_labels", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with the public data")
    parser.add_argument("--show", type=int, default=0, help="print this many wrong finds of each rule")
    options = parser.parse_args(arguments)
    try:
        measured = [*bitext(options.data, options.show), *intents(options.data), *banking(options.data)]
        measured += policies(options.data, options.show)
    except FreshtuneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    table = Table("rule", "counted", "labelled", "caught", "precision", "recall", "label")
    for each in measured:
        shares = ["" if share is None else f"{share:.3f}" for share in (each.precision, each.recall)]
        table.add_row(each.rule, each.unit, str(each.labelled), str(each.caught), *shares, each.note)
    Console(width=140).print(table)
    print(json.dumps([each._asdict() | {"precision": each.precision, "recall": each.recall} for each in measured]))
    return 0


def _csv(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(f"{path} is missing: name the folder that holds the public data with --data")
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _frame(pairs: Iterable[tuple[str, str]], *, quoting: bool = False) -> pd.DataFrame:
    """The pairs as rows; when `quoting`, each answer is drawn from a passage that says the same."""
    raws = [{"prompt": q, "completion": a} | ({"passages": [{"text": a}]} if quoting else {}) for q, a in pairs]
    return to_frame([Row(str(n), "f", n, raw) for n, raw in enumerate(raws)])


def _caught(code: str, rows: pd.DataFrame, **context: Any) -> set[int]:
    return set(RULES[code].check(rows, Context("measured", **context)).index)


def _against(rule: str, caught: set[Any], labelled: set[Any], note: str, unit: str = "rows") -> Measured:
    right = len(caught & labelled)
    return Measured(rule, unit, len(labelled), len(caught), right, right, note)


def bitext(data: Path, show: int) -> list[Measured]:
    """Bitext's own tags and intents."""
    table = _csv(data / BITEXT)
    rows = _frame(zip(table["instruction"], table["response"], strict=True))
    both = table["instruction"] + "\n" + table["response"]
    holes = set(table.index[both.str.contains("{{", regex=False)])
    voices = set(table.index[table["response"].str.contains("language model|as an ai", case=False)])
    swearing = {i for i, text in table["instruction"].items() if profanity_in(str(text))}
    tagged = set(table.index[table["tags"].str.contains("W")])
    mailed = set(table.index[both.str.contains("@", regex=False)])
    english = Validation(language="en")
    foreign = _caught("language", rows, settings=english)
    found = [
        _against("placeholder", _caught("placeholder", rows), holes, "{{ in question or answer"),
        _against("boilerplate", _caught("boilerplate", rows), voices, "“language model”, “as an AI” in the answer"),
        _against("profanity", swearing, tagged, "tag W; asked of the questions, which the rule leaves alone"),
        _against("language", foreign, set(), "every row is English, 814 with typos: each find is a false alarm"),
        _against("secret", _caught("secret", rows), set(), "none is there: each find is a false alarm"),
        _against("personal_data", _caught("personal_data", rows), mailed, "an @ that the anonymising left"),
    ]
    return [*found, *_near(table), *_contradictions(table, rows, show)]


def _near(table: pd.DataFrame) -> list[Measured]:
    """Near duplicates: right where the intents agree, found against every pair of one intent compared."""
    threshold = Validation().near_duplicate
    intent = dict(zip(normalise(table["instruction"]), table["intent"], strict=True))
    near = near_pairs(list(intent), threshold)
    told = set(zip(near["left"], near["right"], strict=True))
    grams = {text: {f" {text} "[i : i + 4] for i in range(len(text) - 1)} for text in intent}
    by_intent = pd.Series(intent).groupby(pd.Series(intent)).groups.values()
    alike = {
        pair
        for texts in by_intent
        for pair in combinations(texts, 2)
        if len(grams[pair[0]] & grams[pair[1]]) / len(grams[pair[0]] | grams[pair[1]]) >= threshold
    }
    left, right = {text for pair in alike for text in pair}, {text for pair in told for text in pair}
    agree = sum(intent[first] == intent[second] for first, second in told)
    note = f"same intent; recall of questions against all pairs compared, similarity ≥ {threshold}"
    return [Measured("near_duplicate", "pairs", len(left), len(told), agree, len(left & right), note)]


def _contradictions(table: pd.DataFrame, rows: pd.DataFrame, show: int) -> list[Measured]:
    """Rows whose question another row asks too, with another answer.

    That answers differ is no contradiction. Of the label only this is counted: the sums of money in two answers to one
    question, compared as text, are not the same ones.
    """
    keys: Any = rows["prompt_key"]
    near = near_pairs(list(dict.fromkeys(keys)), Validation().near_duplicate)
    sums = table["response"].map(lambda text: frozenset(re.findall(r"\$(\d[\d,.]*\d|\d)", text)))
    labelled = {
        i for i in rows.index[keys.duplicated(keep=False)] for j in keys.index[keys == keys[i]] if _clash(sums, i, j)
    }
    codes = ("contradiction", "near_contradiction", "unrelated_answers")
    found = {code: RULES[code].check(rows, Context("measured", near=near)) for code in codes}
    for reasons in found.values():
        for index, reason in list(reasons.items())[:show]:
            print(f"{keys[index]!r}: {reason}")
    return [
        _against("contradiction", set(found["contradiction"].index), labelled, "one question, other sums of money"),
        _against("near_contradiction", set(found["near_contradiction"].index), set(), "none is there: false alarms"),
        _against(
            "unrelated_answers", set(found["unrelated_answers"].index), set(), "wordings of one answer: false alarms"
        ),
    ]


def _clash(sums: pd.Series, first: int, second: int) -> bool:
    return bool(sums[first] and sums[second] and sums[first].isdisjoint(sums[second]))


def intents(data: Path) -> list[Measured]:
    """Test questions of banking77 that stand in its training set."""
    train, test = _csv(data / "intents/train.csv"), _csv(data / "intents/test.csv")
    exact = set(_plain(test["text"])) & set(_plain(train["text"]))
    golden = dict(zip(normalise(test["text"]), test["category"], strict=True))
    rows = _frame((text, "x y") for text in train["text"])
    leaks = {i for i, text in _plain(train["text"]).items() if text in exact}
    least = Validation().near_leakage
    near = near_pairs(list(dict.fromkeys([*golden, *rows["prompt_key"]])), least)
    reasons = RULES["leakage"].check(rows, Context("measured", golden=golden, near=near))
    agree = sum(str(train.at[i, "category"]) in str(reason) for i, reason in reasons.items())
    doubled = set(train.index[_plain(train["text"]).duplicated()])
    repeated = _caught("duplicate_prompt", rows)
    note = f"{len(leaks)} leaks by letters and spaces; right: the category is the test question's"
    return [
        Measured("leakage", "rows", len(leaks), len(reasons), agree, len(leaks & set(reasons.index)), note),
        Measured(
            "duplicate_prompt",
            "rows",
            len(doubled),
            len(repeated),
            sum(_category_again(train, rows, i) for i in repeated),
            len(doubled & repeated),
            "banking77 train, by letters and spaces; right: the same category",
        ),
    ]


def _plain(texts: pd.Series) -> pd.Series:
    return texts.str.lower().str.split().str.join(" ")


def _category_again(train: pd.DataFrame, rows: pd.DataFrame, index: int) -> bool:
    first = rows.index[rows["prompt_key"] == rows.at[index, "prompt_key"]][0]
    return str(train.at[first, "category"]) == str(train.at[index, "category"])


def banking(data: Path) -> list[Measured]:
    """Corrections of the knowledge base: title against text, before (they contradict) and after (they do not)."""
    path = data / "banking_kb/doc_history.json"
    if not path.is_file():
        raise DataError(f"{path} is missing: name the folder that holds the public data with --data")
    changes = [change for commit in read_json(path) for change in commit["changes"] if change["old"] and change["new"]]
    titled = [c for c in changes if json.loads(c["old"])["title"] != json.loads(c["new"])["title"]]
    caught = []
    for which in ("old", "new"):
        for change in titled:
            document = json.loads(change[which])
            subject, _, claim = document["title"].partition(": ")
            body = next(line for line in document["content"].splitlines() if "cash back" in line)
            rows = _frame([(f"What does the {subject} earn?", claim), (f"What does the {subject} earn?", body)])
            caught.append((which, bool(_caught("contradiction", rows))))
    right = sum(hit for which, hit in caught if which == "old")
    total = sum(hit for _, hit in caught)
    return [
        Measured("contradiction", "documents", len(titled), total, right, right, "title against text, corrected later")
    ]


def policies(data: Path, show: int) -> list[Measured]:
    """Facts that a company's policies stated, and that later changed."""
    history = data / HISTORY
    revisions = list(replay(history))
    written, judged = (_tree(revisions, moment) for moment in (WRITTEN, JUDGED))
    last = revisions[-1].files
    documents = [Document(id=name, text=text, uri=name, title=name, metadata={}) for name, text in judged.items()]
    verdict = _audit_until(history, documents, JUDGED)
    volatile = {each.document for each in verdict.documents if each.volatile}

    pairs: list[tuple[str, str, str, bool]] = []  # question, answer, document, does its fact change later?
    for name, text in written.items():
        now, later = (_keys(tree.get(name, "")) for tree in (judged, last))
        for question, sentence in _statements(name, text):
            stated = {fact.key for fact in find_facts(sentence)} & now
            if stated:
                pairs.append((question, sentence, name, bool(stated - later)))
    others = _csv(data / BITEXT)
    others = others[others["response"].map(lambda text: bool(find_facts(text)))]
    texts = [*((q, a) for q, a, _, _ in pairs), *zip(others["instruction"], others["response"], strict=True)]
    rows, quoting = _frame(texts), _frame(texts, quoting=True)
    reasons = RULES["volatile_fact"].check(rows, Context("measured", volatile=verdict.facts))
    caught = set(reasons.index)
    changed = {i for i, (_, _, document, change) in enumerate(pairs) if change and document in volatile}
    stable = sum(change and document not in volatile for _, _, document, change in pairs)
    right = {i for i in caught if i < len(pairs) and pairs[i][2] in volatile}
    wrong = sorted(caught - right)
    for index in sorted(changed - caught)[:show]:
        print(f"missed: {rows.at[index, 'prompt']!r} / {str(rows.at[index, 'taught'])[:160]!r}")
    for index in wrong[:show]:
        print(f"{rows.at[index, 'prompt']!r} / {str(rows.at[index, 'taught'])[:120]!r}: {reasons[index]}")
    note = (
        f"{len(pairs)} sentences of {WRITTEN.date()} and {len(others)} answers of others, judged {JUDGED.date()}; labelled:"
        f" changed by {revisions[-1].date.date()} (and {stable} more in documents then stable)"
    )
    live = _caught("live_passage", quoting, volatile=verdict.facts)
    standing = {i for i, (_, _, document, _) in enumerate(pairs) if document in volatile}
    return [
        Measured("volatile_fact", "rows", len(changed), len(caught), len(right), len(changed & caught), note),
        _against("live_passage", live, standing, "the same as passages: those that stand in documents that change"),
        _against("ungrounded_fact", _caught("ungrounded_fact", quoting), set(), "each answer is its own passage"),
    ]


def _tree(revisions: Sequence[Any], moment: datetime) -> dict[str, str]:
    files = [each.files for each in revisions if each.date <= moment][-1]
    return {name: text for name, text in files.items() if name.endswith(".md")}


def _keys(text: str) -> set[tuple[str, str, str]]:
    return {fact.key for fact in find_facts(text)}


def _statements(name: str, text: str) -> Iterable[tuple[str, str]]:
    """A question made of the headings, and a sentence that states a fact: a pair as somebody would write it."""
    for section in sections(text):
        about = " ".join(section.headings[-2:]) or re.sub(r"\W+", " ", Path(name).stem)
        for _, sentence in sentences(text[section.start : section.end]):
            told = LIST_NUMBER.sub("", sentence)
            if find_facts(told) and len(subject_words(told)) >= 3:  # the number of a list or a clause states nothing
                yield f"What does {about} say?", told


def _audit_until(history: Path, documents: list[Document], moment: datetime) -> AuditVerdict:
    """The audit as it would have been made at `moment`, from the commits until then."""
    import lzma

    kept = []
    with lzma.open(history, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if record["type"] == "commit":
                date = datetime.fromisoformat(record["date"])
                if (date if date.tzinfo else date.replace(tzinfo=UTC)) > moment:
                    break
            kept.append(line)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.jsonl"
        write_text(path, "".join(kept))
        return audit(documents, path, stable_months=6)


if __name__ == "__main__":
    sys.exit(main())
