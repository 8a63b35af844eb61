"""Which pairs are held out. A row's side follows from its prompt's group and the seed, so rows move only with a group.

A group is a prompt with those that are nearly the same (see similar.groups), named after the least of them.
"""

import hashlib

import pandas as pd


def held_out(groups: pd.Series, share: float, seed: int) -> pd.Series:
    """True for the rows that go to eval, about `share` of them; rows of one group of prompts go together.

    Of 10 rows and more at least one is held out, and never all of them, as long as there are two groups.
    Both exceptions take the group that was nearest to the other side.
    """
    drawn = groups.map(lambda group: _uniform(seed, group)).astype(float)
    out = drawn < share
    if drawn.nunique() > 1:
        if not out.any() and len(out) >= 10:
            out = drawn == drawn.min()
        elif out.all():
            out = drawn < drawn.max()
    return out


def _uniform(seed: int, group: str) -> float:
    """A number in [0, 1) that only this seed and this group decide."""
    digest = hashlib.sha256(f"{seed}\n{group}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
