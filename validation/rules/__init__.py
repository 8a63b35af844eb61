"""The rules: one module per funnel step, in the order of the funnel.

A rule is one small function and one line of registration:

    @rule("shouting", "clean", "The answer is not all capitals.")
    def shouting(rows, context):
        loud = rows["taught"][rows["taught"].str.isupper()]
        return loud.map(lambda text: f"an answer is all capitals: {text[:40]!r}")

It gets the rows that the steps before its own have left (columns: see frame.py) and returns, for those that fail and
for no other, the reason: a Series of text with the rows' own index. Rules of one step see the same rows.
"""

from validation.rules import parsed, clean, length, unique, consistent, teachable  # noqa: F401, I001  (this order)
from validation.rules.registry import RULES, STEPS, Check, Context, Findings, Rule, judge, rule

__all__ = ["RULES", "STEPS", "Check", "Context", "Findings", "Rule", "judge", "rule"]
