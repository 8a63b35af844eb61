"""Questions that are nearly the same, found by MinHash (Broder, 1997) and proved by their exact similarity.

A text is the set of its character 4-grams, so a typo costs little and a word much. rensa signs the sets, bands of the
signature put likely pairs into one bucket (locality-sensitive hashing), and only pairs whose Jaccard similarity reaches
the threshold are kept. Time and memory grow with the number of texts, not with its square: of a bucket, each text is
compared with the first and with the one before it.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

GRAM = 4
_BANDS, _ROWS = 21, 6  # finds a pair of similarity 0.8 with probability 0.998, one of 0.9 always
_CHUNK = 50_000


def near_pairs(texts: Sequence[str], threshold: float) -> pd.DataFrame:
    """Pairs of `texts`, which are distinct, whose similarity is at least `threshold`: left, right, similarity.

    `left` is the text that comes first. Put the texts that others are compared with (golden questions) first.
    """
    count = len(texts)
    if count < 2:
        return pd.DataFrame({"left": [], "right": [], "similarity": []}, dtype=object)
    parts = [_band_keys(texts[start : start + _CHUNK]) for start in range(0, count, _CHUNK)]
    candidates = [_candidates(np.concatenate([part[:, band] for part in parts]), count) for band in range(_BANDS)]
    codes = np.unique(np.concatenate(candidates))
    shingles = lru_cache(maxsize=100_000)(lambda index: frozenset(_grams(texts[index])))
    kept: list[tuple[str, str, float]] = []
    for left, right in zip((codes // count).tolist(), (codes % count).tolist(), strict=True):
        first, second = shingles(left), shingles(right)
        shared = len(first & second)
        similarity = shared / (len(first) + len(second) - shared)
        if similarity >= threshold:
            kept.append((texts[left], texts[right], round(similarity, 3)))
    return pd.DataFrame(kept, columns=["left", "right", "similarity"], dtype=object)


def groups(texts: Iterable[str], pairs: pd.DataFrame) -> dict[str, str]:
    """{text: the least text it is linked to, directly or through others}; one that nothing is like stands for itself."""
    leader: dict[str, str] = {text: text for text in texts}

    def find(text: str) -> str:
        while leader[text] != text:
            leader[text] = leader[leader[text]]
            text = leader[text]
        return text

    for left, right in zip(pairs["left"], pairs["right"], strict=True):
        if left in leader and right in leader:
            first, second = sorted((find(left), find(right)))
            leader[second] = first
    return {text: find(text) for text in leader}


def _grams(text: str) -> Iterator[str]:
    padded = f" {text} ".ljust(GRAM)
    return (padded[start : start + GRAM] for start in range(len(padded) - GRAM + 1))


def _band_keys(texts: Sequence[str]) -> np.ndarray:
    """One hash per text and band, as uint64: equal where the band's rows of two signatures are equal."""
    from rensa import RMinHash

    padded = [f" {text} ".ljust(GRAM) for text in texts]
    letters = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    ends = np.cumsum([len(text) for text in padded])
    grams = np.zeros(len(letters) - GRAM + 1, dtype=np.uint64)
    for offset in range(GRAM):
        grams = _mix(grams ^ letters[offset : len(letters) - GRAM + 1 + offset])
    # A gram that begins in the last letters of a text runs into the next one.
    inside = np.ones(len(letters), dtype=bool)
    for offset in range(1, GRAM):
        inside[ends - offset] = False
    offsets = np.concatenate([[0], ends - (GRAM - 1) * np.arange(1, len(texts) + 1)]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        grams[inside[: len(grams)]], offsets, num_perm=_BANDS * _ROWS, seed=17
    )
    signatures = np.array(matrix.to_rows(), dtype=np.uint64).reshape(len(texts), _BANDS, _ROWS)
    keys = np.zeros((len(texts), _BANDS), dtype=np.uint64)
    for row in range(_ROWS):
        keys = _mix(keys ^ signatures[:, :, row])
    return keys


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every bit of the input moves every bit of the output."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _candidates(keys: np.ndarray, count: int) -> np.ndarray:
    """Pairs that share a bucket, as left * count + right: each text with the bucket's first, and with the one before."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    fresh = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    first = order[np.maximum.accumulate(np.where(fresh, np.arange(count), 0))]
    later = ~fresh
    before = np.roll(order, 1)
    return np.unique(np.concatenate([first[later] * count + order[later], before[later] * count + order[later]]))
