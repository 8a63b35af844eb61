"""Each rule: a row it must catch, and the nearest row that it must not."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from contracts.verdicts import VolatileFact
from validation.agree import disagreement
from validation.detect import personal_data
from validation.frame import normalise, to_frame
from validation.read import Row
from validation.rules import RULES, STEPS, Context, judge, rule

Caught = Callable[..., dict[str, str]]


def chat(prompt: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "answer": answer, **more}


PRICE = VolatileFact(
    document="prices.md",
    heading="Small parcels",
    sentence="Sending a small parcel costs €3.95.",
    kind="money",
    value="3.95",
    unit="€",
    subject=["cost", "parcel", "sending", "small"],
)


@pytest.mark.parametrize("roles", ["ua", "sua", "uaua"])
def test_turns_that_end_with_an_answer_pass(caught: Caught, roles: str) -> None:
    names = {"s": "system", "u": "user", "a": "assistant"}
    assert not caught("roles_and_order", {"messages": [(names[r], "x") for r in roles]})


@pytest.mark.parametrize("roles", ["u", "a", "au", "uu", "uaa", "uau", "usa", "aua", "uauu"])
def test_turns_out_of_order_are_caught(caught: Caught, roles: str) -> None:
    names = {"s": "system", "u": "user", "a": "assistant"}
    assert caught("roles_and_order", {"messages": [(names[r], "x") for r in roles]})


def test_a_conversation_without_turns_is_caught() -> None:
    rows = [Row("bad", "f", 1, {}, error="broken line")]
    ok = judge(to_frame(rows), Context("support")).ok
    assert not ok.at[0, "unreadable"]
    assert not ok.at[0, "teachable"]


def test_an_answer_of_spaces_is_empty_and_a_short_one_is_not(caught: Caught) -> None:
    found = caught("empty_answer", chat("a?", " \n "), chat("b?", "No"), min_answer_characters=2)
    assert found == {"row-1": "an answer has 0 characters; 2 are the least"}


def test_an_empty_answer_in_an_earlier_turn_is_caught(caught: Caught) -> None:
    turns = [("user", "a"), ("assistant", ""), ("user", "b"), ("assistant", "fine")]
    assert caught("empty_answer", {"messages": turns}, min_answer_characters=2)


def test_an_empty_prompt_is_caught(caught: Caught) -> None:
    assert list(caught("empty_prompt", chat(" ", "hello"), chat("?", "hello"))) == ["row-1"]


def test_format_must_match_in_full(caught: Caught) -> None:
    rows = [chat("a", "In short: yes"), chat("b", "In short: yes\n"), chat("c", "Well. In short: yes")]
    assert list(caught("format", *rows, format=r"In short: [^\n]+")) == ["row-2", "row-3"]


def test_no_declared_format_catches_nothing(caught: Caught) -> None:
    assert not caught("format", chat("a", "anything"), format="")


@pytest.mark.parametrize(
    "text",
    [
        "Dear {{Customer Name}},",
        "Use ${ORDER_ID} here",
        "Hello {first_name}",
        "Order [ORDER NUMBER] is late",
        "Regards, [Your Name]",
        "Dear <name>, hello",
        "Call <customer phone>",
        "TODO ask the team",
        "Your code is XXXX",
    ],
)
def test_placeholders_are_caught(caught: Caught, text: str) -> None:
    assert caught("placeholder", chat("q", text))


@pytest.mark.parametrize(
    "text",
    [
        "It waits for 9 days. [2]",
        "See [the page](https://example.org)",
        "Put it on your TODO list",
        "Choose size XXL",
        "Press <b>Send</b>",
        "A set {a, b}",
        "x < number and y > 2",
    ],
)
def test_what_only_looks_like_a_placeholder_passes(caught: Caught, text: str) -> None:
    assert not caught("placeholder", chat("q", text))


def test_another_models_voice_is_caught(caught: Caught) -> None:
    rows = [chat("a", "As an AI language model, I cannot."), chat("b", "Our AI sorter reads the label.")]
    assert list(caught("boilerplate", *rows)) == ["row-1"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to jo.smith+a@post.example please", "an e-mail address"),
        ("pay GB82 WEST 1234 5698 7654 32 today", "a bank account number (IBAN)"),
        ("pay DE89370400440532013000", "a bank account number (IBAN)"),
        ("pay to GB82 WEST 1234 5698 7654 32 ABCD", "a bank account number (IBAN)"),
        ("card 4111 1111 1111 1111", "a payment card number"),
        ("card 378282246310005", "a payment card number"),
        ("ring +44 20 7946 0361", "a phone number"),
        ("ring 020 7946 0361", "a phone number"),
        ("ring (212) 555-0187", "a phone number"),
    ],
)
def test_personal_data_is_found(text: str, kind: str) -> None:
    assert personal_data(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        "GB83 WEST 1234 5698 7654 32",  # check digits do not hold
        "4111 1111 1111 1112",
        "order 113542617735902",
        "order 00004587345",
        "on 2026-10-13 at 7:45",
        "from 3,600 to 140 requests",
        "mention @heron",
    ],
)
def test_numbers_that_are_nobodys_pass(text: str) -> None:
    assert personal_data(text) == ""


def test_the_reason_never_repeats_personal_data(caught: Caught) -> None:
    (reason,) = caught("personal_data", chat("q", "write to jo@post.example")).values()
    assert "jo@" not in reason


def test_of_equal_questions_the_first_stays(caught: Caught) -> None:
    rows = [
        chat("Where is my parcel?", "Tracking shows the parcel.", id="a"),
        chat("WHERE  is my parcel", "Tracking shows your parcel.", id="b"),
        chat("Where is my letter?", "Tracking shows the parcel.", id="c"),
    ]
    assert caught("duplicate_prompt", *rows) == {"b": "asks what a asks"}


def test_one_question_over_other_passages_is_no_duplicate(caught: Caught) -> None:
    rows = [
        chat("How long?", "For 9 days. [1]", passages=["It waits 9 days."]),
        chat("How long?", "For 4 days. [1]", passages=["It waits 4 days."]),
    ]
    assert not caught("duplicate_prompt", *rows)
    assert not caught("contradiction", *rows)


def test_one_last_turn_in_two_conversations_is_no_duplicate(caught: Caught) -> None:
    first = [("user", "a parcel"), ("assistant", "yes?"), ("user", "is it late"), ("assistant", "it is late")]
    second = [("user", "a letter"), ("assistant", "yes?"), ("user", "is it late"), ("assistant", "it is late")]
    assert not caught("duplicate_prompt", {"messages": first}, {"messages": second})


def test_both_sides_of_a_contradiction_are_caught_and_name_each_other(caught: Caught) -> None:
    rows = [chat("May I?", "Yes, you may.", id="a"), chat("may i", "No, you may not.", id="b")]
    assert caught("contradiction", *rows) == {
        "a": "answers the same question as b: one says yes, the other no",
        "b": "answers the same question as a: one says yes, the other no",
    }


def test_deduplication_does_not_hide_a_contradiction() -> None:
    answers = ["Delivery takes 4 days.", "Delivery takes 4 days.", "Delivery takes 9 days."]
    rows = [_row(n, answer) for n, answer in enumerate(answers)]
    ok = judge(to_frame(rows), Context("support")).ok
    assert ok["duplicate_prompt"].tolist() == [True, False, True]
    assert ok["contradiction"].tolist() == [False, True, False]
    assert not ok["teachable"].any()


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("In short: Yes, it is.", "In short: No, it is not.", "yes"),
        ("It costs €3.95 each.", "It costs €4.10 each.", "3.95"),
        ("It is kept for 30 days.", "It is kept for two weeks, that is 14 days.", "30 days"),
        ("Your scans stay in the room.", "Your scans no longer stay in the room.", "denies"),
    ],
)
def test_answers_that_disagree(first: str, second: str, why: str) -> None:
    assert why in disagreement(first, second)
    assert disagreement(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("It is in the Reading Room.", "it is in  the reading room."),
        ("The Reading Room holds your scans.", "Your scans are kept in the Reading Room."),
        ("It takes 4 days.", "Usually it takes 4 days, at most 6 days."),
        ("1. Open the app\n2. Choose the parcel", "1. Open the app, choose the parcel\n2. Done\n3. Enjoy the parcel"),
        ("It costs 4 euros.", "It costs €4."),
    ],
)
def test_answers_that_agree(first: str, second: str) -> None:
    assert disagreement(first, second) == ""


def test_answers_with_nothing_in_common_are_told_whatever_the_house_format_adds(caught: Caught) -> None:
    house = "In short: .*\n— Heron Desk"
    rows = [
        chat("Where is it?", "In short: Birds migrate.\n— Heron Desk"),
        chat("Where is it?", "In short: Open tracking.\n— Heron Desk"),
        chat("Where is it", "In short: Open the tracking page.\n— Heron Desk"),
    ]
    found = caught("unrelated_answers", *rows, format=house)
    assert found["row-1"] == "has hardly a word in common with row-2, which answers the same question"
    assert not caught("unrelated_answers", *rows[1:], format=house)
    assert not caught("unrelated_answers", *rows, format="")  # five words of seven are the house's
    assert not caught("contradiction", *rows, format=house)
    assert not caught("duplicate_prompt", *rows[:2], format=house)


def test_a_golden_question_is_leakage(caught: Caught) -> None:
    golden = dict(zip(normalise(pd.Series(["Where's my parcel?"])), ["g-7"], strict=True))
    found = caught("leakage", chat("wheres my PARCEL", "There."), chat("Where is it?", "There."), golden=golden)
    assert list(found) == ["row-1"]
    assert "g-7" in found["row-1"]
    turns = [("user", "Where's my parcel?"), ("assistant", "There."), ("user", "thanks"), ("assistant", "Good.")]
    assert list(caught("leakage", {"messages": turns}, {"messages": turns[2:]}, golden=golden)) == ["row-1"]


def test_law_1_a_volatile_price_is_never_taught(caught: Caught) -> None:
    plain = chat("What does a small parcel cost?", "It costs €3.95.", id="same")
    other = chat("What is a gift card?", "A card worth €3.95 to spend.", id="other subject")
    older = chat("What does a small parcel cost?", "It costs €2.10.", id="other price")
    found = caught("volatile_fact", plain, other, older, volatile=[PRICE])
    assert list(found) == ["same"]
    assert "prices.md" in found["same"]
    assert PRICE.sentence in found["same"]


def test_law_1_holds_for_grounded_pairs_and_earlier_turns(caught: Caught) -> None:
    passage = ["Sending a small parcel costs €3.95."]
    grounded = chat("Cost of sending a small parcel?", "It costs €3.95. [1]", passages=passage, id="grounded")
    altered = chat("Cost of a gift card?", "It is €3.95. [1]", passages=["A gift card is €3.95."], id="altered")
    turns = [("user", "small parcel?"), ("assistant", "Sending costs €3.95."), ("user", "ok"), ("assistant", "Good.")]
    bare = [("user", "Cost of a small parcel?"), ("assistant", "€3.95"), ("user", "ok"), ("assistant", "Good.")]
    talks = [{"messages": turns, "id": "earlier"}, {"messages": bare, "id": "asked earlier"}]
    found = caught("volatile_fact", grounded, altered, *talks, volatile=[PRICE])
    assert list(found) == ["grounded", "earlier", "asked earlier"]


def test_the_unit_is_no_part_of_the_subject(caught: Caught) -> None:
    fact = PRICE.model_copy(
        update={
            "kind": "duration",
            "value": "7",
            "unit": "working day",
            "subject": ["working", "day", "refund", "card"],
        }
    )
    assert not caught("volatile_fact", chat("Customs?", "Within 7 working days."), volatile=[fact])
    assert caught("volatile_fact", chat("Refund to my card?", "Within 7 working days."), volatile=[fact])


def test_a_bare_number_needs_more_agreement(caught: Caught) -> None:
    bare = PRICE.model_copy(update={"kind": "count", "value": "2", "unit": "", "subject": ["small", "parcel", "gate"]})
    assert not caught("volatile_fact", chat("Which gate for a parcel?", "Go to gate 2."), volatile=[bare])


def test_a_word_of_most_documents_tells_nothing_apart(caught: Caught) -> None:
    def about(n: int) -> VolatileFact:
        return PRICE.model_copy(
            update={"document": f"{n}.md", "value": str(n), "subject": ["parcel", f"thing{'abcdefgh'[n]}"]}
        )

    facts = [about(n) for n in range(8)]
    weight = PRICE.model_copy(update={"subject": ["parcel", "weight"], "value": "9"})
    row = chat("What does a parcel of some weight cost?", "It costs €9.")
    assert caught("volatile_fact", row, volatile=[weight])
    assert not caught("volatile_fact", row, volatile=[*facts, weight])


@pytest.mark.parametrize(
    ("answer", "fails"),
    [
        ("It waits 9 days. [1]", False),
        ("You asked about 5 kg: that is fine.", False),
        ("It waits nine days.", False),
        ("You may try it 4 times.", False),
        ("It waits 30 days. [1]", True),
        ("It waits 9 weeks.", True),
        ("It costs 60%.", True),
    ],
)
def test_facts_of_a_grounded_answer_stand_in_its_passages_or_question(caught: Caught, answer: str, fails: bool) -> None:
    passages = ["A parcel waits 9 days.", "You get 4 attempts."]
    assert bool(caught("ungrounded_fact", chat("How long for 5 kg?", answer, passages=passages))) is fails


def test_a_plain_answer_is_not_asked_for_passages(caught: Caught) -> None:
    assert not caught("ungrounded_fact", chat("How long?", "It waits 30 days."))


@pytest.mark.parametrize(
    ("answer", "passages", "fails"),
    [
        ("Yes. [1][2]", 2, False),
        ("Yes. [3]", 2, True),
        ("Yes. [0]", 2, True),
        ("Yes. [1]", 0, True),
        ("Take items[1] of the list.", 0, False),
        ("Yes.", 2, False),
    ],
)
def test_citations_point_at_passages_that_are_there(caught: Caught, answer: str, passages: int, fails: bool) -> None:
    assert bool(caught("citation", chat("q", answer, passages=["text"] * passages))) is fails


def test_rules_of_a_step_see_what_the_steps_before_left() -> None:
    rows = [_row(1, "TODO"), _row(2, "It is in the app.")]
    ok = judge(to_frame(rows), Context("support")).ok
    assert ok.loc[0, ["placeholder", "duplicate_prompt"]].tolist() == [False, True]
    assert ok.loc[1, "teachable"]


def test_a_rule_is_registered_once_and_under_a_known_step() -> None:
    for code, step in (("format", "clean"), ("new", "cleanest"), ("clean", "clean")):
        with pytest.raises(ValueError, match="must be new"):
            rule(code, step, "")(lambda rows, context: rows["id"])
    assert {each.step for each in RULES.values()} == set(STEPS)


def test_normalising_keeps_letters_of_every_language() -> None:
    texts = pd.Series(["Où est mon café ?", "ou est mon cafe", "«Où  EST mon CAFÉ»", "???", "!!!"])
    first, plain, same, *marks = normalise(texts)
    assert first == same != plain
    assert marks == ["???", "!!!"]


def _row(line: int, answer: str) -> Row:
    return Row(str(line), "f", line, {"prompt": "How long does delivery take?", "completion": answer})
