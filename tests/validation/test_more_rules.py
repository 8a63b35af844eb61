"""The rules of form, length, sameness and agreement: a row each must catch, and the nearest row it must not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from contracts.errors import ParamsError
from contracts.params import PairFiles, Validation
from contracts.verdicts import VolatileFact
from training.encode import encode
from validation.detect import PERSONAL_SIEVE, PROFANITY_SIEVE, SECRET_SIEVE, profanity_in, secret_in
from validation.frame import normalise, to_frame
from validation.gate import Against, judge_rows, questions
from validation.read import Row
from validation.rules import RULES, Context, judge
from validation.rules.texts import suspects
from validation.tokens import count_tokens, load_tokenizer

Caught = Callable[..., dict[str, str]]


def chat(prompt: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "answer": answer, **more}


def row(line: int, prompt: str, answer: str) -> Row:
    return Row(f"r{line}", "f", line, {"prompt": prompt, "completion": answer})


@pytest.mark.parametrize(
    ("answer", "other"),
    [
        ("Le colis est en retard, regardez la page de suivi dans l'application.", "fr"),
        ("Ihr Paket ist unterwegs und kommt morgen früh bei Ihnen an.", "de"),
    ],
)
def test_another_language_is_named(caught: Caught, answer: str, other: str) -> None:
    found = caught("language", chat("Where is it?", answer), language="en")
    assert found == {"row-1": f"the answer reads as {other}, not en"}
    assert not caught("language", chat("Where is it?", answer), language=other)


def test_the_language_of_a_short_or_doubtful_text_is_not_judged(caught: Caught) -> None:
    rows = [chat("DHL oder UPS?", "Kestrel plan, Wren plan"), chat("wher is mi parcl pls", "Open tracking, please.")]
    assert not caught("language", *rows, language="en")
    assert not caught("language", chat("q", "Ihr Paket ist unterwegs und kommt morgen."), language=None)


def test_headings_are_asked_for_once_and_in_order(caught: Caught) -> None:
    rows = [
        chat("a", "Short: yes\nNext: go"),
        chat("b", "Next: go\nShort: yes"),
        chat("c", "Short: yes"),
        chat("d", "Short: yes\nShort: no\nNext: go"),
    ]
    assert list(caught("headings", *rows, headings=["Short:", "Next:"])) == ["row-2", "row-3", "row-4"]


def test_a_json_answer_keeps_its_schema(caught: Caught) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    rows = [chat("a", '{"n": 1}'), chat("b", '{"n": "1"}'), chat("c", "{n: 1}"), chat("d", "{}")]
    found = caught("json_schema", *rows, json_schema=schema)
    assert list(found) == ["row-2", "row-3", "row-4"]
    assert "breaks the schema at $.n" in found["row-2"]


def test_a_schema_that_is_none_is_refused_before_any_work() -> None:
    with pytest.raises(ValueError, match="no JSON schema"):
        PairFiles(files=["f"], json_schema={"type": "objet"})


SECRETS = [
    ("use AKIAIOSFODNN7EXAMPLE to log in", "a cloud access key"),
    ("token ghp_" + "a1B2" * 9, "an access token"),
    ("-----BEGIN RSA PRIVATE KEY-----", "a private key"),
    ("https://bob:hunter22@host.example/x", "a password in an address"),
    ("your password is tr0ub4dor&3.", "a password or key"),
    ("api_key = 9f8a7b6c5d4e", "a password or key"),
]


@pytest.mark.parametrize(("text", "kind"), SECRETS)
def test_secrets_are_found_and_never_repeated(caught: Caught, text: str, kind: str) -> None:
    (reason,) = caught("secret", chat("q", text)).values()
    assert reason.startswith(kind)
    assert not [word for word in text.split() if len(word) > 8 and word in reason]


@pytest.mark.parametrize(
    "text",
    [
        "Your password is on the log-in page.",
        "Choose a password: it needs 8 characters",
        "Reset the password {{password}} in settings",
        "see https://host.example/a:b@c",
        "the sk-ilful courier",
        "A token is sent to your phone.",
    ],
)
def test_talk_about_secrets_passes(text: str) -> None:
    assert secret_in(text) == ""


def test_a_swearing_answer_is_caught_and_a_swearing_customer_is_not(caught: Caught) -> None:
    rows = [chat("where is my damn parcel", "On its way."), chat("where", "It is on its damn way.")]
    assert caught("profanity", *rows) == {"row-2": "an answer says 'damn'"}
    assert caught("profanity", chat("q", "Ask the Pigeon Post."), profanity=["pigeon"])


@pytest.mark.parametrize("text", ["Prick the lid twice.", "a bloody nose", "Scunthorpe", "Dickens", "the dam broke"])
def test_words_said_in_earnest_pass(text: str) -> None:
    assert profanity_in(text) == ""


def test_no_sieve_holds_back_what_its_rule_would_catch() -> None:
    secrets = pd.Series([text for text, _ in SECRETS])
    assert len(suspects(secrets, SECRET_SIEVE)) == len(secrets)
    swearing = pd.Series(["f*ck this", "oh SH*T", "b*tch", "goddam it", "bloody thing", "Pissed off"])
    assert [bool(profanity_in(text)) for text in swearing] == [True] * len(swearing)
    assert len(suspects(swearing, PROFANITY_SIEVE)) == len(swearing)
    assert len(suspects(pd.Series(["a@b.example", "020 7946 0361"]), PERSONAL_SIEVE)) == 2


def test_tokens_are_those_that_training_counts(tiny_base: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer, theirs = load_tokenizer(tiny_base), AutoTokenizer.from_pretrained(tiny_base)
    chats: list[dict[str, Any]] = [
        {"prompt": "Where is my parcel?", "completion": "On its way.\nOpen tracking."},
        {
            "messages": [
                {"role": r, "content": c} for r, c in (("system", "Be kind."), ("user", "q"), ("assistant", "a"))
            ]
        },
        {"messages": [{"role": r, "content": f"turn of 1,200 €: {r}"} for r in ("user", "assistant") * 3]},
        {"prompt": "How long?", "completion": "9 days. [1]", "passages": [{"title": "Nest", "text": "Kept 9 days."}]},
    ]
    rows = [Row(str(n), "f", n, raw) for n, raw in enumerate(chats)]
    frame = count_tokens(to_frame(rows), rows, tokenizer, "You are the desk.")
    for n, each in enumerate(rows):
        assert each.pair is not None
        encoded = encode(each.pair, theirs, "You are the desk.", 10_000)
        first = next(place for place, label in enumerate(encoded.labels) if label != -100)
        # The template may end with a line break after the last turn.
        assert abs(frame.at[n, "tokens"] - len(encoded.input_ids)) <= 1
        assert abs(frame.at[n, "tokens_before"] - first) <= 1


def test_lengths_are_judged_in_tokens(caught: Caught, word_tokenizer: Path) -> None:
    tokenizer = load_tokenizer(word_tokenizer)
    rows = [chat("one two three", "a b"), chat("one", "a b c d e f")]  # each turn has two tokens around it
    assert list(caught("prompt_length", *rows, tokenizer=tokenizer, max_prompt_tokens=6)) == ["row-1"]
    assert list(caught("answer_length", *rows, tokenizer=tokenizer, max_answer_tokens=5)) == ["row-2"]
    assert list(caught("truncated", *rows, tokenizer=tokenizer, max_length=10)) == ["row-2"]
    assert list(caught("no_supervised_token", *rows, tokenizer=tokenizer, max_length=6)) == ["row-1"]
    assert not caught("truncated", *rows, max_length=1)  # nobody counted


def test_a_typo_makes_no_new_question_and_another_word_does(caught: Caught) -> None:
    rows = [
        chat("How do I change the delivery address of my parcel?", "Ask us in the app."),
        chat("How do I chnge the delivery address of my parcel", "Ask in our app."),
        chat("How do I change the billing address of my plan?", "Ask us in the app."),
    ]
    found = caught("near_duplicate", *rows)
    assert list(found) == ["row-2"]
    assert "asks nearly what row-1 asks" in found["row-2"]


def test_other_numbers_passages_or_earlier_turns_make_another_question(caught: Caught) -> None:
    asked = "May I send a parcel that weighs 12 kg to the islands?"
    rows = [
        chat(asked, "Yes."),
        chat(asked.replace("12", "15"), "Yes."),
        chat(asked + " Please", "Yes.", passages=["x"]),
    ]
    assert not caught("near_duplicate", *rows)


def test_nearly_the_same_question_with_answers_that_disagree_is_told(caught: Caught) -> None:
    rows = [
        chat("May my sister open the Nest for me while I am away?", "Yes, with your code."),
        chat("may my sister open the nest for me while i am awy", "No, only you may."),
        chat("May my sister open the Nest for me while I am away??", "Yes, she may with your code."),
    ]
    found = caught("near_contradiction", *rows)
    assert set(found) == {"row-1", "row-2"}
    assert "one says yes, the other no" in found["row-2"]
    assert not caught("near_duplicate", *rows[:2])


def test_one_answer_for_many_questions_is_canned(caught: Caught) -> None:
    rows = [chat(f"{word}?", "Please write to us.") for word in ("alpha", "beta", "gamma")]
    assert len(caught("canned_answer", *rows, canned_answer=3)) == 3
    assert not caught("canned_answer", *rows, canned_answer=4)


def test_a_golden_question_with_a_typo_is_leakage(caught: Caught) -> None:
    golden = dict(zip(normalise(pd.Series(["How long does a parcel wait in the locker?"])), ["g-1"], strict=True))
    rows = [chat("How long does a parcel wait in the lockerr?", "x"), chat("How long is the locker?", "x")]
    assert caught("leakage", *rows, golden=golden, near_leakage=0.9) == {
        "row-1": "asks golden question g-1 nearly: the evaluation would be of no worth"
    }


def test_a_question_of_another_behaviour_is_told(caught: Caught) -> None:
    elsewhere = questions("billing", [row(1, "Where is my invoice?", "There.")])
    found = caught(
        "other_behaviour", chat("where is my INVOICE", "Here."), chat("Where?", "Here."), elsewhere=elsewhere
    )
    assert found == {"row-1": "asks what billing/r1 asks"}


PRICE = VolatileFact(
    document="prices.md",
    heading="",
    sentence="Sending a small parcel costs €3.95.",
    kind="money",
    value="3.95",
    unit="€",
    subject=["cost", "parcel", "sending", "small"],
)


def test_a_passage_with_the_live_value_is_told_and_an_altered_one_is_not(caught: Caught) -> None:
    live = chat("Price?", "See [1]", passages=["A small parcel costs €3.95 to send."])
    altered = chat("Price?", "See [1]", passages=["A small parcel costs €4.10 to send."])
    found = caught("live_passage", live, altered, volatile=[PRICE])
    assert list(found) == ["row-1"]
    assert "€3.95" in found["row-1"]


def test_a_fact_is_cited_where_it_stands(caught: Caught) -> None:
    passages = ["It waits 9 days.", "It costs €4."]
    wrong = chat("How long?", "It waits 9 days. [2]", passages=passages)
    right = chat("How long?", "It waits 9 days. [1]\nPay €4. [2]", passages=passages)
    asked = chat("Why 5 kg?", "For 5 kg there is no rule. [2]", passages=passages)
    assert caught("citation", wrong, right, asked) == {"row-1": "'9 days' stands in [1], but [2] is cited"}


def test_a_rule_that_warns_takes_no_row_out() -> None:
    rows = [row(1, "Name?", "Dear {{name}}"), row(2, "Where?", "There it is.")]
    findings = judge(to_frame(rows), Context("support", Validation(warn=["placeholder"])))
    assert findings.ok["placeholder"].tolist() == [False, True]
    assert findings.ok["teachable"].tolist() == [True, True]


@pytest.mark.parametrize("code", ["volatile_fact", "secret", "leakage"])
def test_some_rules_never_merely_warn(code: str) -> None:
    with pytest.raises(ParamsError, match="always quarantines"):
        judge(to_frame([]), Context("support", Validation(warn=[code])))


def test_a_misspelt_rule_is_told_with_the_nearest_name() -> None:
    with pytest.raises(ParamsError, match="did you mean `placeholder`"):
        judge(to_frame([row(1, "q", "a")]), Context("support", Validation(warn=["placeholders"])))


def test_every_rule_says_what_to_do() -> None:
    assert [code for code, each in RULES.items() if not (each.advice and each.description)] == []


def test_near_duplicates_never_straddle_the_split() -> None:
    asked = [
        f"Please tell me how to send {thing} to the islands by Heron" for thing in ("a guitar", "two lamps", "tea")
    ]
    rows = [row(n, f"{asked[n % 3]}{'!' * (n // 3)} no {n}", f"Take the app, entry {n}.") for n in range(120)]
    judged = judge_rows("support", rows, PairFiles(files=["f"]), Validation(near_duplicate=0.75), Against(), seed=3)
    assert len(judged.train) + len(judged.held_out) == 120
    kinds = {
        name: {rows[i].raw["prompt"].split(" send ")[1].split(" to ")[0] for i in index}  # type: ignore[index]
        for name, index in (("train", judged.train), ("eval", judged.held_out))
    }
    assert kinds["train"].isdisjoint(kinds["eval"])
