"""Which language a text is in, by py3langid: a naive Bayes classifier over byte n-grams (Lui and Baldwin, 2012)."""

from functools import lru_cache
from typing import Any

import pandas as pd

# A text of fewer characters has too little in it to tell ("DHL?"), and of a longer one the beginning tells enough.
_SHORTEST, _LONGEST = 20, 200


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid import langid

    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


def foreign(texts: pd.Series, expected: str, certain: float) -> pd.Series:
    """The texts that are in another language than `expected`, as that language's ISO 639 code.

    Only where its probability is at least `certain`, a share: short and mixed texts get the benefit of the doubt.
    """
    long = texts[texts.str.len() >= _SHORTEST]
    told = {text: _identifier().classify(text) for text in set(long.str.slice(0, _LONGEST))}
    found = long.str.slice(0, _LONGEST).map(told)
    return found[[language != expected and p >= certain for language, p in found]].map(lambda each: each[0])


def languages() -> list[str]:
    """The ISO 639 codes that can be told apart."""
    return sorted(_identifier().labels)
