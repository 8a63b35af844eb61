from dataclasses import replace
from pathlib import Path

import pytest
from prefect.states import Failed

from contracts.errors import ParamsError, StoreError
from contracts.params import load_params
from flows.reindex import _may_pass, overridden
from flows.reindex_report import markdown, summary
from retrieval.index import ReindexReport

REPORT = ReindexReport(
    added=["a.md"],
    removed=[f"{n}.md" for n in range(30)],
    unchanged=["b.md"],
    renamed={"new.md": "old.md"},
    chunks=7,
    chunks_added=3,
    chunks_removed=40,
    chunks_unchanged=4,
    generation=5,
    embedded=2,
    seconds=1.25,
    content="c0",
)


def test_the_summary_says_whether_anything_was_written() -> None:
    assert summary(REPORT) == (
        "Documents: 1 added, 0 changed, 1 renamed, 30 removed, 1 unchanged."
        " Chunks: 3 written, 40 dropped, 4 unchanged. Embedded 2 texts in 1.2 s; generation 5"
    )
    assert summary(replace(REPORT, dry_run=True)).endswith("Would embed 2 texts in 1.2 s")


def test_the_artifact_names_documents_and_stays_short() -> None:
    text = markdown(REPORT)
    assert "- added: `a.md`" in text
    assert "`19.md` and 10 more" in text
    assert "- renamed: `old.md` → `new.md`" in text
    assert "changed:" not in text
    assert "Of the documents read, 1 new, 1 renamed, 30 gone." in text


def test_the_artifact_says_the_bill_the_time_and_the_version_of_the_index() -> None:
    text = markdown(REPORT)
    assert "| bill | 2 texts embedded, 1 more written from what was embedded before |" in text
    assert "| time | 1.2 s |" in text
    assert "| index | generation 5, content `c0`, fingerprint `` |" in text
    nothing = markdown(ReindexReport(unchanged=["b.md"]))
    assert "Nothing changed: readers see what they saw before." in nothing
    assert "2 of other sources left as they are" in summary(replace(REPORT, left=["x/1", "x/2"]))


def test_what_a_person_must_mend_is_not_tried_again() -> None:
    assert _may_pass(None, None, Failed(data=OSError("the disk is away for a moment")))
    assert not _may_pass(None, None, Failed(data=StoreError("30 of 31 documents would go")))


def test_source_and_store_may_be_named_on_the_command_line(mini: Path) -> None:
    params, place = overridden(load_params(), "elsewhere", "https://index.example:8443/docs")
    assert (params.documents.path, params.retrieval.store) == ("elsewhere", "https://index.example:8443/docs")
    params, place = overridden(load_params(), store="some/folder")
    assert (params.retrieval.store, place) == ("lancedb", Path("some/folder"))
    with pytest.raises(ParamsError, match="http://host:port/index"):
        overridden(load_params(), store="http://127.0.0.1:8080")


@pytest.mark.slow
def test_the_flow_fills_the_store_and_refuses_a_broken_source(mini: Path, caplog: pytest.LogCaptureFixture) -> None:
    from prefect.testing.utilities import prefect_test_harness

    from flows.reindex import run

    for n in range(4):
        Path(f"data/documents/{n}.md").write_text(f"# Rule {n}\n\nA parcel waits {n} days.\n")
    Path("data/documents/a.md").unlink()
    assert load_params().documents.path == "data/documents"
    with prefect_test_harness(server_startup_timeout=120):
        assert len(run(dry_run=True).added) == 4
        assert len(run().added) == 4
        assert len(run().unchanged) == 4
        Path("elsewhere").mkdir()
        Path("elsewhere/0.md").write_text("# Rule 0\n\nA parcel waits 0 days.\n")
        with pytest.raises(StoreError):
            run(source="elsewhere")
    assert "Traceback" not in caplog.text
