"""Reading a folder of Markdown."""

import pytest

from contracts.errors import DataError
from contracts.params import Documents
from retrieval.convert import Raw
from retrieval.documents import read_documents
from retrieval.front_matter import split_front_matter


def test_id_is_the_path_and_front_matter_is_string_metadata(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.md").write_text(
        "---\ntitle: T\nversion: 3\nupdated_at: 2026-03-31\ntags: [x, y]\n---\n\n# H\n\nText.\n"
    )
    (document,) = read_documents(Documents(path=str(tmp_path)))
    assert document.id == "a/b.md"
    assert document.title == "T"
    assert document.text == "# H\n\nText."
    assert document.metadata == {"version": "3", "updated_at": "2026-03-31", "tags": "x, y"}


@pytest.mark.parametrize(("text", "title"), [("Intro\n\n## *Second* `one`\n\nx", "Second one"), ("only text", "page")])
def test_title_falls_back_to_the_first_heading_then_to_the_name(tmp_path, text, title):
    (tmp_path / "page.md").write_text(text)
    assert read_documents(Documents(path=str(tmp_path)))[0].title == title


@pytest.mark.parametrize("changed", ["id", "uri", "suffix", "content", "metadata"])
def test_the_hash_of_raw_bytes_moves_with_all_that_a_document_is_made_of_and_with_nothing_else(changed):
    raw = Raw("a.md", "docs/a.md", "docs/a.md at 1234", ".md", b"text", {"team": "x"})
    assert raw._replace(place="docs/a.md at 5678").hash == raw.hash
    assert (
        raw._replace(**{changed: {"team": "y"} if changed == "metadata" else getattr(raw, changed)[:1]}).hash
        != raw.hash
    )


def test_rules_at_the_top_are_text_not_front_matter():
    raw = "---\n\nA line between rules.\n\n---\n\nMore."
    assert split_front_matter(raw) == ({}, raw)


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(DataError, match=r"documents\.path names .*nowhere, which is no folder"):
        read_documents(Documents(path=str(tmp_path / "nowhere")))
    with pytest.raises(DataError, match=r"holds no file that matches \*\*/\*\.md"):
        read_documents(Documents(path=str(tmp_path)))


def test_invalid_utf8_is_named_with_its_byte(tmp_path):
    (tmp_path / "bad.md").write_bytes(b"fine \xff not")
    with pytest.raises(DataError, match=r"bad\.md is not UTF-8 \(byte 5\)"):
        read_documents(Documents(path=str(tmp_path)))


def test_broken_front_matter_is_named(tmp_path):
    (tmp_path / "bad.md").write_text("---\ntitle: a: b: c\n---\ntext")
    with pytest.raises(DataError, match=r"bad\.md has broken front matter"):
        read_documents(Documents(path=str(tmp_path)))


def test_two_files_with_one_id_are_refused(tmp_path):
    (tmp_path / "caf\u00e9.md").write_text("one")
    (tmp_path / "cafe\u0301.md").write_text("two")
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system keeps one spelling of a name only")
    with pytest.raises(DataError, match="have the id café"):
        read_documents(Documents(path=str(tmp_path)))
