"""Data Docs of Great Expectations as one page that opens without internet, the same bytes for the same rows.

Their page pulls styles, fonts and scripts from several CDNs. Ours keeps their text and structure, drops every reference
outward and every script, and brings a short style sheet of its own; what a script would unfold stands unfolded.
"""

import copy
import re
from typing import Any

from validation.suite import Record

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:70rem;padding:1rem;color:#1b2430;background:#fff}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}td,th{border:1px solid #d5dbe3;padding:.3rem .6rem;
text-align:left;vertical-align:top}h1,h2,h3,h4,h5{line-height:1.2;margin:1.2rem 0 .4rem}ul{padding-left:1.2rem}
.navbar ol,.breadcrumb{list-style:none;padding:0;margin:0}.badge{background:#e6ebf2;border-radius:.3rem;padding:0 .4rem}
.text-success{color:#16702f}.text-warning{color:#8a5a00}.text-danger{color:#b3261e}.collapse{display:block}
.fa-check-circle::before{content:"\\2713"}.fa-times::before{content:"\\2717"}.fa-exclamation-triangle::before{content:"!"}
#left-column,.modal,.btn,button{display:none}pre,code{white-space:pre-wrap;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{background:#14181f;color:#e4e8ee}td,th{border-color:#3a4350}
.badge{background:#2b3340}.text-success{color:#6fd08c}.text-warning{color:#e9b44c}.text-danger{color:#ff8a80}}
"""
_OUTWARD = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*>|<base\b[^>]*>|<iframe\b.*?</iframe>|<picture\b.*?</picture>",
    re.DOTALL | re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"""(?:href|src|action)=(["'])(?:https?:)?//.*?\1|url\((["']?)(?:https?:)?//.*?\2\)""", re.IGNORECASE
)
_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-f]{32}\b")
_EPOCH = "1970-01-01T00:00:00+00:00"


def page(record: Record) -> str:
    """The Data Docs of one record, as HTML."""
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResultSchema
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    result: Any = ExpectationSuiteValidationResultSchema().load(_timeless(record.raw))
    html = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(result))
    html = _ADDRESS.sub("", _OUTWARD.sub("", html))
    html = html.replace("1970-01-01T00:00:00Z", "").replace("</head>", f"<style>{_STYLE}</style></head>", 1)
    numbers: dict[str, str] = {}
    html = _ID.sub(lambda match: numbers.setdefault(match.group(), f"n{len(numbers)}"), html)
    return "\n".join(line.rstrip() for line in html.splitlines() if line.strip()) + "\n"


def _timeless(raw: dict[str, Any]) -> dict[str, Any]:
    """The result without the moment it was made at."""
    result = copy.deepcopy(raw)
    result["meta"].pop("batch_markers", None)
    result["meta"]["run_id"] = {"run_name": "validate", "run_time": _EPOCH}
    return result
