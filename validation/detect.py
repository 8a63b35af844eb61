"""Personal data, secrets and swear words in running text, found by shape; check digits prove what has them.

Each has a sieve in RE2 syntax beside it that lets every hit through and is cheap enough for a million texts.
"""

import re
from collections.abc import Sequence

PERSONAL_SIEVE = r"@|\d[\d ()./-]{5,}\d|[A-Z]{2}\d{2}"
_EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8}\b")
# Issuer prefixes and lengths, so that an order number is no card: Visa, Mastercard, American Express, Discover.
_CARD = re.compile(
    r"(?<![\d-])(?:4\d{3}(?:[ -]?\d{4}){3}|(?:5[1-5]|2[2-7])\d{2}(?:[ -]?\d{4}){3}"
    r"|3[47]\d{2}[ -]?\d{6}[ -]?\d{5}|6(?:011|5\d\d)(?:[ -]?\d{4}){3})(?![\d-])"
)
# With a country code, with a trunk zero and separators, or grouped 3-3-4: a bare run of digits is no phone number.
_PHONE = re.compile(
    r"(?<![\w+])(?:\+\d{1,3}(?:[ ().-]{0,2}\d){7,12}"
    r"|\(?0\d{2,4}\)?[ /-]\d{3,4}[ -]?\d{3,5}"
    r"|\(?[2-9]\d{2}\)?[ .-]\d{3}[.-]\d{4})(?!\w)"
)


def personal_data(text: str) -> str:
    """What kind of personal data stands in `text` ("an e-mail address"), or an empty string. Never the data itself."""
    if _EMAIL.search(text):
        return "an e-mail address"
    if any(_is_iban(match.group()) for match in _IBAN.finditer(text)):
        return "a bank account number (IBAN)"
    if any(_luhn(match.group()) for match in _CARD.finditer(text)):
        return "a payment card number"
    if _PHONE.search(text):
        return "a phone number"
    return ""


def _is_iban(candidate: str) -> bool:
    """ISO 13616: 15 to 34 characters whose rearranged number is 1 modulo 97.

    A capitalised word after the number may have been taken along, so shorter readings are tried at each space.
    """
    groups = candidate.split(" ")
    readings = ("".join(groups[:n]) for n in range(len(groups), 0, -1))
    return any(
        15 <= len(reading) <= 34 and int("".join(str(int(c, 36)) for c in reading[4:] + reading[:4])) % 97 == 1
        for reading in readings
    )


def _luhn(number: str) -> bool:
    """ISO/IEC 7812 check digit."""
    digits = [int(c) for c in reversed(number) if c.isdigit()]
    return sum(d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(digits)) % 10 == 0


SECRET_SIEVE = (
    r"(?i)AKIA|ASIA|gh[opsu]_|github_pat_|sk-|xox|AIza|glpat-|hf_|eyJ|-----BEGIN|://|passw|secret|token|api.?key"
)
_SECRETS = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY"),
    "a cloud access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{35}\b"),
    "an access token": re.compile(
        r"\bgh[opsu]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bglpat-[\w-]{20,}|\bxox[abeprs]-[\w-]{10,}"
        r"|\bhf_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9_-]{20,}|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{5,}"
    ),
    "a password in an address": re.compile(r"://[^/\s:@{}<>]+:[^/\s:@{}<>]+@"),
}
# Of "password: …" only what a person would not say: at least 8 characters with a digit among them.
_ASSIGNED = re.compile(
    r"\b(?:pass(?:word|wd)|secret|api[ _-]?key|(?:access|auth)[ _-]?token)\b[\"']?\s*(?:[:=]|\bis\b)\s*[\"']?"
    r"(?P<value>[^\s\"'<>{}\[\]]{8,})",
    re.IGNORECASE,
)


def secret_in(text: str) -> str:
    """What kind of secret stands in `text` ("an access token"), or an empty string. Never the secret itself."""
    for kind, pattern in _SECRETS.items():
        if pattern.search(text):
            return kind
    assigned = (match["value"].rstrip(".,;:!?)") for match in _ASSIGNED.finditer(text))
    if any(re.search(r"\d", value) and re.search(r"[A-Za-z]", value) and len(value) >= 8 for value in assigned):
        return "a password or key"
    return ""


PROFANITY_SIEVE = (
    r"(?i)f[u*][c*]k|sh[i*]t|dam|bastard|b[i*]tch|bloody|arse|asshole|crap|piss|wank|bollock|dickhead|cunt|prick"
)
# A word that is also said in earnest ("a bloody nose", "prick the lid") needs the company it swears in.
_PROFANITY = re.compile(
    r"\b(?:(?:mother)?f(?:u|\*)(?:c|\*)k\w*|(?:bull)?sh(?:i|\*)t(?:s|ty|ting|head)?|(?:god)?damn(?:ed|it)?|goddam"
    r"|bastards?|b(?:i|\*)tch(?:es|y|ing)?|arseholes?|assholes?|crap(?:py)?|piss(?:ed)? off|wank\w*|bollocks|dickheads?"
    r"|cunts?|pricks\b|bloody(?! (?:nose|mary|sunday|hands?|wound|stool|diarrh))(?= \w))",
    re.IGNORECASE,
)


def profanity_in(text: str, more: Sequence[str] = ()) -> str:
    """The first swear word in `text`, or the first of `more`, whole words in any case; an empty string when clean."""
    if match := _PROFANITY.search(text):
        return match.group()
    return next((word for word in more if re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)), "")
