"""The YAML at the top of a text, and its title."""

import json
from typing import Any

import yaml
from frontmatter.default_handlers import YAMLHandler

from retrieval.markdown import sections


def split_front_matter(raw: str) -> tuple[dict[str, str], str]:
    """Metadata as strings, and the text below it. A leading rule (---) that is no front matter stays text.

    Raises:
        ValueError: there is front matter, but it is not YAML.
    """
    handler, text = YAMLHandler(), raw.strip()
    if not handler.detect(text):
        return {}, text
    try:
        front, body = handler.split(text)
    except ValueError:  # no closing line
        return {}, text
    try:
        values = handler.load(front)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    if not isinstance(values, dict):
        return {}, text
    return {str(key): _as_text(value) for key, value in values.items()}, body.strip()


def first_heading(text: str) -> str:
    """The first heading that says anything, or an empty string."""
    return next((section.headings[-1] for section in sections(text) if section.headings), "")


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_as_text(item) for item in value)
    if isinstance(value, dict):
        return json.dumps(value, default=str, ensure_ascii=False)
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    return str(value)
