"""What a reindex did, in words: one line for a terminal, a page for Prefect's artifacts."""

from retrieval.plan import ReindexReport

_SHOWN = 20
_KINDS = ("added", "changed", "renamed", "removed", "unchanged")


def summary(report: ReindexReport) -> str:
    """The report in three sentences: documents, chunks, bill."""
    documents = ", ".join(f"{len(getattr(report, kind))} {kind}" for kind in _KINDS)
    left = f", {len(report.left)} of other sources left as they are" if report.left else ""
    chunks = f"{report.chunks_added} written, {report.chunks_removed} dropped, {report.chunks_unchanged} unchanged"
    bill = f"{'Would embed' if report.dry_run else 'Embedded'} {report.embedded} texts"
    end = "" if report.dry_run else f"; generation {report.generation}"
    return f"Documents: {documents}{left}. Chunks: {chunks}. {bill} in {report.seconds:.1f} s{end}"


def markdown(report: ReindexReport) -> str:
    """What changed, what it took, and which index readers see now."""
    lines = ["# Reindex" + (" (dry run)" if report.dry_run else ""), "", _headline(report), ""]
    if report.rebuilt:
        lines += ["The settings changed: the index was built anew beside the old one.", ""]
    for kind in ("added", "changed", "removed"):
        lines += _named(kind, [f"`{name}`" for name in getattr(report, kind)])
    lines += _named("renamed", [f"`{old}` → `{new}`" for new, old in report.renamed.items()])
    reused = report.chunks_added - report.embedded
    known = f", {reused} more written from what was embedded before" if reused > 0 else ""
    verb = "would be embedded" if report.dry_run else "embedded"
    rows = [
        ("documents", summary(report).partition(". ")[0].removeprefix("Documents: ")),
        ("chunks", f"{report.chunks} in all: " + summary(report).split(". ")[1].removeprefix("Chunks: ")),
        ("bill", f"{report.embedded} texts {verb}{known}"),
        ("time", f"{report.seconds:.1f} s"),
        ("index", f"generation {report.generation}, content `{report.content}`, fingerprint `{report.fingerprint}`"),
    ]
    return "\n".join([*lines, "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _headline(report: ReindexReport) -> str:
    """The change in words; nothing is something to say too."""
    said = {
        "added": "new",
        "changed": "changed",
        "renamed": "renamed",
        "removed": "gone",
    }
    parts = [f"{len(getattr(report, kind))} {word}" for kind, word in said.items() if getattr(report, kind)]
    if not parts:
        return "Nothing changed: readers see what they saw before."
    return f"Of the documents read, {', '.join(parts)}."


def _named(kind: str, names: list[str]) -> list[str]:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"- {kind}: " + ", ".join(names[:_SHOWN]) + more] if names else []
