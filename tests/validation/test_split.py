"""The split: by prompt, by seed, and blind to the other rows."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from validation.split import held_out

prompts = st.lists(st.text(max_size=8), min_size=0, max_size=60)
shares = st.floats(0.01, 0.49)


def split(texts: list[str], share: float = 0.1, seed: int = 17) -> list[bool]:
    return held_out(pd.Series(texts, dtype=object), share, seed).tolist()


@given(texts=prompts, share=shares)
def test_equal_prompts_never_straddle(texts: list[str], share: float) -> None:
    sides: dict[str, set[bool]] = {}
    for text, out in zip(texts, split(texts, share), strict=True):
        sides.setdefault(text, set()).add(out)
    assert all(len(side) == 1 for side in sides.values())


@given(texts=prompts, added=prompts, share=shares)
def test_added_rows_move_no_row_but_the_one_that_stood_in(texts: list[str], added: list[str], share: float) -> None:
    before = split(texts, share)
    after = split(texts + added, share)[: len(texts)]
    moved = {text for text, old, new in zip(texts, before, after, strict=True) if old != new}
    assert len(moved) <= 1


@given(texts=st.lists(st.text(max_size=8), min_size=10, max_size=60), share=shares)
def test_ten_rows_always_hold_one_out_and_train_on_one(texts: list[str], share: float) -> None:
    out = split(texts, share)
    if len(set(texts)) > 1:
        assert any(out)
        assert not all(out)


def test_the_share_is_kept_and_the_seed_decides() -> None:
    texts = [f"question {n}" for n in range(5000)]
    assert 0.08 < sum(split(texts)) / len(texts) < 0.12
    assert split(texts, seed=1) != split(texts, seed=2)
    assert split(texts, seed=1) == split(texts, seed=1)


def test_order_and_deletion_move_nothing() -> None:
    texts = [f"question {n}" for n in range(200)]
    sides = dict(zip(texts, split(texts), strict=True))
    kept = texts[::-3]
    assert split(kept) == [sides[text] for text in kept]


def test_nothing_to_split() -> None:
    assert split([]) == []
    assert split(["only one prompt"] * 12) in ([False] * 12, [True] * 12)
