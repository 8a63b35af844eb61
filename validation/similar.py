"""Questions that are nearly the same, found by MinHash (Broder, 1997) and proved by their exact similarity.

A text is the set of its character 4-grams, so a typo costs little and a word much. rensa signs the sets; bands of the
signature put likely pairs into one bucket (locality-sensitive hashing). Inside a bucket texts are sorted by the bands
that follow, so that the most alike stand side by side (as in LSH Forest, Bawa et al., 2005), and each is compared with
the few before it. One byte of each hash tells at once which pairs are not worth it (b-bit minwise hashing, Li and König,
2010); the rest are compared exactly. So time and memory grow with the number of texts, not with its square, and a large
bucket of questions from one template hides no pair in it.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

GRAM = 4
_BANDS, _ROWS = 21, 6  # finds a pair of similarity 0.8 with probability 0.998, one of 0.9 always
_HASHES = _BANDS * _ROWS
_NEIGHBOURS = 6  # with how many texts before it in its bucket a text is compared
_CHUNK = 10_000


def near_pairs(texts: Sequence[str], threshold: float) -> pd.DataFrame:
    """Pairs of `texts`, which are distinct, whose similarity is at least `threshold`: left, right, similarity.

    `left` is the text that comes first. Put the texts that others are compared with (golden questions) first.
    """
    count = len(texts)
    keys, bytes_ = np.empty((_BANDS, count), np.uint64), np.empty((count, _HASHES), np.uint8)
    for start in range(0, count, _CHUNK):
        hashes = _minhashes(texts[start : start + _CHUNK])
        bytes_[start : start + _CHUNK] = hashes & np.uint64(0xFF)
        keys[:, start : start + _CHUNK] = _band_keys(hashes)
    candidates = [_worth_it(pairs, bytes_, threshold) for band in range(_BANDS) for pairs in _candidates(keys, band)]
    codes = np.unique(np.concatenate([left * count + right for left, right in candidates]))
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


def _minhashes(texts: Sequence[str]) -> np.ndarray:
    """The signature of each text, _HASHES numbers long."""
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
        grams[inside[: len(grams)]], offsets, num_perm=_HASHES, seed=17
    )
    return np.array(matrix.to_rows(), dtype=np.uint64)


def _band_keys(hashes: np.ndarray) -> np.ndarray:
    """One hash per band and text, equal where the band's rows of two signatures are equal."""
    signatures = hashes.reshape(len(hashes), _BANDS, _ROWS)
    keys = np.zeros((len(hashes), _BANDS), dtype=np.uint64)
    for row in range(_ROWS):
        keys = _mix(keys ^ signatures[:, :, row])
    return keys.T


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every bit of the input moves every bit of the output."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _candidates(keys: np.ndarray, band: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (first, second) that share the bucket of `band`: each text with the few that stand before it."""
    order = np.lexsort([keys[(band + step) % _BANDS] for step in (2, 1, 0)])
    ordered = keys[band][order]
    for step in range(1, _NEIGHBOURS + 1):
        together = ordered[step:] == ordered[:-step]
        one, other = order[:-step][together], order[step:][together]
        yield np.minimum(one, other), np.maximum(one, other)


def _worth_it(
    pairs: tuple[np.ndarray, np.ndarray], sketch: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs whose similarity, told from one byte of each hash, may reach `threshold`: four standard errors of slack."""
    left, right = pairs
    least = threshold - 4 * np.sqrt(threshold * (1 - threshold) / _HASHES)
    equal = [
        (sketch[left[start : start + _CHUNK]] == sketch[right[start : start + _CHUNK]]).mean(axis=1)
        for start in range(0, len(left), _CHUNK)
    ]
    worth = np.concatenate(equal) >= least if equal else np.zeros(0, dtype=bool)
    return left[worth], right[worth]
