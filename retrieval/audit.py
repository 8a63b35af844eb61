"""How each document moves, replayed from its history: what may be taught, and what must be retrieved, how often.

A document is **stable** when its present text has stood for `stable_months`, and its changes came, over the whole of
its observed life, at least `stable_months` apart on average. Everything else is **volatile**: what changed lately or
often, what is too young to tell, what the history does not know. Doubt counts against teaching. Each section (heading
path) of a document is told in the same way; what may be taught is decided by the document.

Texts are compared without their front matter, so a bumped version or date alone is no change. A renamed document
keeps its past, and so does a section whose heading changed but not its text.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

from contracts.documents import Document
from contracts.facts import find_facts, sentences, subject_words
from contracts.params import FOLDER
from contracts.verdicts import AuditVerdict, DocumentAudit, SectionAudit, SourceAudit, VolatileFact
from retrieval.front_matter import split_front_matter
from retrieval.history import Revision, replay
from retrieval.markdown import sections

_DAYS_PER_MONTH = 365.25 / 12
# Days between runs, and the cron of them. A change waits half of that on average, in which the index is out of date.
_REFRESH = ((1 / 24, "15 * * * *"), (1.0, "15 5 * * *"), (7.0, "15 5 * * 1"), (30.0, "15 5 1 * *"))
_OUT_OF_DATE = 0.05


class Stand(NamedTuple):
    """A text and the moment since which it stood."""

    since: datetime
    text: str


class Part(NamedTuple):
    """The documents of one source, and the past they are judged by. `history` says where that was read."""

    name: str
    documents: Sequence[Document]
    history: Literal["file", "git", "dvc", "none"] = "none"
    revisions: Iterable[Revision] = ()


class _Lives(NamedTuple):
    """The texts each path has had, oldest first; the span observed; the days on which anything changed after the first."""

    texts: dict[str, list[Stand]]
    span: tuple[datetime, datetime] | None
    days: set[str]


def audit(documents: list[Document], history: Path | None, stable_months: float) -> AuditVerdict:
    """Judge every document of `documents` by one stored history; None makes all of them volatile.

    Raises:
        DataError: the history cannot be read.
    """
    part = Part(FOLDER, documents, "file", replay(history)) if history else Part(FOLDER, documents)
    return audit_parts([part], stable_months)


def audit_parts(parts: Iterable[Part], stable_months: float) -> AuditVerdict:
    """Judge the documents of several sources, each by the past of its own.

    Raises:
        DataError: a history cannot be read.
    """
    told: list[SourceAudit] = []
    audits: list[DocumentAudit] = []
    facts: dict[str, list[VolatileFact]] = {}
    spans: list[tuple[datetime, datetime]] = []
    for part in parts:
        lives = _lives(part.revisions)
        until = lives.span[1] if lives.span else None
        judged = [_judge(d, lives.texts.get(d.id, []), until, stable_months) for d in part.documents]
        volatile = {entry.document for entry in judged if entry.volatile}
        facts |= {document.id: _facts(document) for document in part.documents if document.id in volatile}
        told.append(_source(part, lives, len(volatile)))
        audits += judged
        spans += [lives.span] if lives.span else []
    return AuditVerdict(
        since=_day(min(first for first, _ in spans)) if spans else None,
        until=_day(max(last for _, last in spans)) if spans else None,
        sources=told,
        documents=sorted(audits, key=lambda entry: entry.document),
        facts=[fact for name in sorted(facts) for fact in facts[name]],
    )


def refresh_for(days_between_changes: float) -> str:
    """The rarest cron under which an index is out of date for at most a twentieth of the time."""
    fits = [cron for days, cron in _REFRESH if days / 2 <= _OUT_OF_DATE * days_between_changes]
    return fits[-1] if fits else _REFRESH[0][1]


def _source(part: Part, lives: _Lives, volatile: int) -> SourceAudit:
    between = None
    if lives.span:
        observed = (lives.span[1] - lives.span[0]).total_seconds() / 86400
        between = observed / max(len(lives.days), 1)
    return SourceAudit(
        source=part.name,
        history=part.history if lives.span else "none",
        since=_day(lives.span[0]) if lives.span else None,
        until=_day(lives.span[1]) if lives.span else None,
        documents=len(part.documents),
        volatile=volatile,
        days_between_changes=None if between is None else round(between, 2),
        refresh=None if between is None else refresh_for(between),
    )


def _lives(revisions: Iterable[Revision]) -> _Lives:
    """Replay a past. A deleted path keeps what it had."""
    lives: dict[str, list[Stand]] = {}
    before: dict[str, str] = {}
    days: set[str] = set()
    first = now = None
    for revision in revisions:
        now = max(now, revision.date) if now else revision.date  # commit dates may step back
        moved = {new: lives.pop(old, []) for new, old in revision.renamed.items()}
        lives.update(moved)
        changed = bool(moved) or not before.keys() <= revision.files.keys()
        for path, raw in revision.files.items():
            if before.get(path) == raw:
                continue
            life, text = lives.setdefault(path, []), _text(raw)
            if not life or life[-1].text != text:
                life.append(Stand(now, text))
                changed = True
        if first and changed:
            days.add(_day(now))
        first = first or now
        before = revision.files
    return _Lives(lives, (first, now) if first and now else None, days)


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
    volatile, reason = _movement(life, until, stable_months)
    if life[-1].text != document.text:
        volatile, reason = True, "its text is not the last one in the history: it changed since"
    kinds = _kinds(life)
    return DocumentAudit(
        document=document.id,
        title=document.title,
        volatile=volatile,
        reason=reason,
        changes=len(life) - 1,
        changes_per_month=_per_month(life, until),
        facts_moved=sum(kinds.values()),
        kinds=kinds,
        changed_at=[_day(stand.since) for stand in life[1:]],
        sections=[
            SectionAudit(
                heading=heading,
                volatile=_movement(past, until, stable_months)[0],
                changes=len(past) - 1,
                changes_per_month=_per_month(past, until),
                kinds=_kinds(past),
                changed_at=[_day(stand.since) for stand in past[1:]],
            )
            for heading, past in _section_lives(life).items()
        ],
    )


def _movement(life: list[Stand], until: datetime, stable_months: float) -> tuple[bool, str]:
    """Whether a text is volatile by its past, and why."""
    changes = len(life) - 1
    months, stood = _months(life[0].since, until), _months(life[-1].since, until)
    apart = months / changes if changes else months
    if stood < stable_months:
        return True, f"its present text stood for {stood:.1f} months, less than {stable_months:g}"
    if apart < stable_months:
        return True, f"it changed every {apart:.1f} months on average, more often than {stable_months:g}"
    return False, f"its present text stood for {stood:.1f} of {months:.1f} months observed"


def _section_lives(life: list[Stand]) -> dict[str, list[Stand]]:
    """The texts that each section of the present text has had, by heading path, in the order of the text."""
    lives: dict[str, list[Stand]] = {}
    now: dict[str, str] = {}
    for stand in life:
        now = {}
        for section in sections(stand.text):
            if text := stand.text[section.start : section.end].strip():
                heading = " > ".join(section.headings)
                now[heading] = f"{now[heading]}\n\n{text}" if heading in now else text
        retitled = {past[-1].text: heading for heading, past in lives.items() if heading not in now}
        for heading, text in now.items():
            past = lives.get(heading) or lives.get(retitled.get(text, ""), [])
            lives[heading] = past if past and past[-1].text == text else [*past, Stand(stand.since, text)]
    return {heading: lives[heading] for heading in now}


def _kinds(life: list[Stand]) -> dict[str, int]:
    """How many facts came or went from text to text, by kind, the most moved first."""
    facts = [{fact.key for fact in find_facts(stand.text)} for stand in life]
    moved = Counter(kind for old, new in pairwise(facts) for kind, _, _ in old ^ new)
    return dict(sorted(moved.items(), key=lambda entry: (-entry[1], entry[0])))


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


def _per_month(life: list[Stand], until: datetime) -> float:
    return round((len(life) - 1) / max(_months(life[0].since, until), 1.0), 3)


def _months(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds() / 86400 / _DAYS_PER_MONTH


def _day(moment: datetime) -> str:
    return moment.date().isoformat()
