"""What a run has to do, before it does anything; and what it did."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from contracts.errors import StoreError
from contracts.files import content_hash
from retrieval.cache import Outline
from retrieval.store import Records


@dataclass(frozen=True)
class Plan:
    """Document ids by what happens to them, each once. `renamed` maps the new id to the old one."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    unchanged: list[str]
    renamed: dict[str, str] = field(default_factory=dict)

    @property
    def writes(self) -> list[str]:
        """The documents that are written anew, whole."""
        return self.added + list(self.renamed) + self.changed

    @property
    def drops(self) -> list[str]:
        """The ids that are in the index and will not be."""
        return self.removed + list(self.renamed.values())


class Progress(NamedTuple):
    """How far a run has written: documents, chunks, and the texts that had to be embedded for them."""

    documents: int
    of_documents: int
    chunks: int
    of_chunks: int
    embedded: int

    def __str__(self) -> str:
        return (
            f"{self.documents} of {self.of_documents} documents, {self.chunks} of {self.of_chunks} chunks written,"
            f" {self.embedded} embedded"
        )


@dataclass
class ReindexReport:
    """What a run did, or with `dry_run` would do. `chunks` counts all of the index, `embedded` the texts computed.

    The chunks written, dropped and kept are counted by record: one that only moved within its document is written anew,
    and costs no embedding. `left` are the documents of sources that were not read.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    chunks: int = 0
    chunks_added: int = 0
    chunks_removed: int = 0
    chunks_unchanged: int = 0
    embedded: int = 0
    seconds: float = 0.0
    content: str = ""
    fingerprint: str = ""
    generation: int = 0
    rebuilt: bool = False
    dry_run: bool = False


def plan(live: Records, wanted: Records, rebuild: bool = False) -> Plan:
    """Compare what the store holds with what it should hold; `rebuild` counts every shared document as changed."""
    shared = sorted(live.keys() & wanted.keys())
    return Plan(
        added=sorted(wanted.keys() - live.keys()),
        changed=[name for name in shared if rebuild or live[name] != wanted[name]],
        removed=sorted(live.keys() - wanted.keys()),
        unchanged=[name for name in shared if not rebuild and live[name] == wanted[name]],
    )


def with_renames(todo: Plan, wanted: dict[str, Outline], bodies: Callable[[list[str]], dict[str, str]]) -> Plan:
    """`todo` with every added document that has the very text of a removed one counted as renamed.

    `bodies` gives the body hashes of documents that are in the index.
    """
    if not (todo.added and todo.removed):
        return todo
    old: dict[str, list[str]] = {}
    for name, body in sorted(bodies(todo.removed).items()):
        old.setdefault(body, []).append(name)
    renamed = {name: old[wanted[name].body].pop(0) for name in todo.added if old.get(wanted[name].body)}
    return Plan(
        added=[name for name in todo.added if name not in renamed],
        changed=todo.changed,
        removed=[name for name in todo.removed if name not in renamed.values()],
        unchanged=todo.unchanged,
        renamed=renamed,
    )


def body_hash(texts: list[str]) -> str:
    """Equal for two documents with the same chunks of text, whatever their ids, titles and metadata."""
    return content_hash(texts)


def report_of(todo: Plan, live: Records, wanted: Records, rebuild: bool) -> ReindexReport:
    """The plan by document and by chunk."""
    moved = {*todo.writes, *todo.drops}
    before, after = (
        Counter(digest for name in moved for digest in records.get(name, [])) for records in (live, wanted)
    )
    kept = 0 if rebuild else (before & after).total()
    still = sum(len(wanted[name]) for name in todo.unchanged)
    return ReindexReport(
        added=todo.added,
        changed=todo.changed,
        renamed=todo.renamed,
        removed=todo.removed,
        unchanged=todo.unchanged,
        chunks=still + after.total(),
        chunks_added=after.total() - kept,
        chunks_removed=before.total() - kept,
        chunks_unchanged=still + kept,
    )


def refuse_mass_delete(todo: Plan, max_share: float) -> None:
    """Raises:
    StoreError: more than `max_share` of the documents would be removed.
    """
    before = len(todo.drops) + len(todo.changed) + len(todo.unchanged)
    if len(todo.removed) > max_share * before:
        shown = ", ".join(todo.removed[:3]) + (" …" if len(todo.removed) > 3 else "")
        raise StoreError(
            f"this run would remove {len(todo.removed)} of {before} documents from the index ({shown}), more than"
            f" retrieval.max_delete_share {max_share:g} allows: check the source, or give --allow-mass-delete"
        )
