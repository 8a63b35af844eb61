"""How each document moves, replayed from its history: what may be taught, and what must be retrieved.

A document is **stable** when its present text has stood for `stable_months`, and its changes came, over the whole of
its observed life, at least `stable_months` apart on average. Everything else is **volatile**: what changed lately or
often, what is too young to tell, what the history does not know. Doubt counts against teaching.

Texts are compared without their front matter, so a bumped version or date alone is no change. A renamed document
keeps its past.
"""

from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from contracts.documents import Document
from contracts.facts import find_facts, sentences, subject_words
from contracts.verdicts import AuditVerdict, DocumentAudit, VolatileFact
from retrieval.front_matter import split_front_matter
from retrieval.history import replay
from retrieval.markdown import sections

_DAYS_PER_MONTH = 365.25 / 12


class Stand(NamedTuple):
    """A text and the moment since which it stood."""

    since: datetime
    text: str


def audit(documents: list[Document], history: Path | None, stable_months: float) -> AuditVerdict:
    """Judge every document of `documents` by `history`; None makes all of them volatile.

    Raises:
        DataError: the history cannot be read.
    """
    lives, span = _lives(history) if history else ({}, None)
    audits = [
        _judge(document, lives.get(document.id, []), span[1] if span else None, stable_months) for document in documents
    ]
    volatile = {entry.document for entry in audits if entry.volatile}
    return AuditVerdict(
        since=_day(span[0]) if span else None,
        until=_day(span[1]) if span else None,
        documents=audits,
        facts=[fact for document in documents if document.id in volatile for fact in _facts(document)],
    )


def _lives(history: Path) -> tuple[dict[str, list[Stand]], tuple[datetime, datetime] | None]:
    """The texts each path has had, oldest first, and the span of the history. A deleted path keeps its past."""
    lives: dict[str, list[Stand]] = {}
    before: dict[str, str] = {}
    first = now = None
    for revision in replay(history):
        now = max(now, revision.date) if now else revision.date  # commit dates may step back
        first = first or now
        moved = {new: lives.pop(old, []) for new, old in revision.renamed.items()}
        lives.update(moved)
        for path, raw in revision.files.items():
            if before.get(path) == raw:
                continue
            life, text = lives.setdefault(path, []), _text(raw)
            if not life or life[-1].text != text:
                life.append(Stand(now, text))
        before = revision.files
    return lives, (first, now) if first and now else None


def _text(raw: str) -> str:
    try:
        return split_front_matter(raw)[1]
    except ValueError:  # an old revision with broken front matter is compared whole
        return raw.strip()


def _judge(document: Document, life: list[Stand], until: datetime | None, stable_months: float) -> DocumentAudit:
    if until is None:
        return _unknown(document, "no history is given, so nothing shows that it is stable")
    if not life:
        return _unknown(document, "the history does not know it, so nothing shows that it is stable")
    changes = len(life) - 1
    months, stood = _months(life[0].since, until), _months(life[-1].since, until)
    apart = months / changes if changes else months
    if life[-1].text != document.text:
        volatile, reason = True, "its text is not the last one in the history: it changed since"
    elif stood < stable_months:
        volatile, reason = True, f"its present text stood for {stood:.1f} months, less than {stable_months:g}"
    elif apart < stable_months:
        volatile, reason = True, f"it changed every {apart:.1f} months on average, more often than {stable_months:g}"
    else:
        volatile, reason = False, f"its present text stood for {stood:.1f} of {months:.1f} months observed"
    facts = [{fact.key for fact in find_facts(stand.text)} for stand in life]
    return DocumentAudit(
        document=document.id,
        title=document.title,
        volatile=volatile,
        reason=reason,
        changes=changes,
        changes_per_month=round(changes / max(months, 1.0), 3),
        facts_moved=sum(len(old ^ new) for old, new in pairwise(facts)),
        changed_at=[_day(stand.since) for stand in life[1:]],
    )


def _unknown(document: Document, reason: str) -> DocumentAudit:
    return DocumentAudit(
        document=document.id,
        title=document.title,
        volatile=True,
        reason=reason,
        changes=0,
        changes_per_month=0.0,
        facts_moved=0,
    )


def _facts(document: Document) -> list[VolatileFact]:
    """Every fact that stands in the document now, with the sentence and heading path that say what it is about."""
    return [
        VolatileFact(
            document=document.id,
            heading=heading,
            sentence=sentence,
            kind=fact.kind,
            value=fact.value,
            unit=fact.unit,
            subject=sorted(subject_words(f"{heading} {sentence}")),
        )
        for section in sections(document.text)
        for heading in [" > ".join(section.headings)]
        for _, sentence in sentences(document.text[section.start : section.end])
        for fact in find_facts(sentence)
    ]


def _months(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds() / 86400 / _DAYS_PER_MONTH


def _day(moment: datetime) -> str:
    return moment.date().isoformat()
