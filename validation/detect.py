"""Personal data in running text, found by shape and proved by check digits where there are any."""

import re

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
