"""Which pairs are held out. A row's side follows from its own prompt and the seed, so adding rows moves none."""

import hashlib

import pandas as pd


def held_out(prompts: pd.Series, share: float, seed: int) -> pd.Series:
    """True for the rows that go to eval, about `share` of them; rows with equal (normalised) prompts go together.

    Of 10 rows and more at least one is held out, and never all of them, as long as there are two different prompts.
    Both exceptions take the prompt that was nearest to the other side.
    """
    drawn = prompts.map(lambda prompt: _uniform(seed, prompt)).astype(float)
    out = drawn < share
    if drawn.nunique() > 1:
        if not out.any() and len(out) >= 10:
            out = drawn == drawn.min()
        elif out.all():
            out = drawn < drawn.max()
    return out


def _uniform(seed: int, prompt: str) -> float:
    """A number in [0, 1) that only this seed and this prompt decide."""
    digest = hashlib.sha256(f"{seed}\n{prompt}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
