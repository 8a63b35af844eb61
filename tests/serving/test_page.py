"""The chat page: one file, nothing from elsewhere, text as text."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "serving" / "page.html"


def test_the_page_asks_nobody_else() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:,)[^\"']*[\"']|@import|url\(", text)
    assert set(re.findall(r"fetch\(\"([^\"]+)\"", text)) == {"health", "stream"}
    assert not re.search(r"https?://(?!\w*[\\/])", text.replace(r"https?:\/\/", ""))


def test_what_a_model_or_document_says_is_never_markup() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
