"""Documents from folders, repositories, tables and addresses, in every form that is read; and what is refused."""

import io
import json
import os
import re
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import DataError, InputError, StoreError
from contracts.params import Params
from retrieval.convert import Raw, to_document
from retrieval.documents import all_documents, require_sources
from retrieval.index import published_record, reindex
from retrieval.sources import _as_regex
from retrieval.store_lance import LanceStore

MOST = 1_000_000


@pytest.fixture
def with_sources(docs, make_params):
    """Params of the project in `docs` with these sources."""

    def make(*sources: dict, **retrieval) -> Params:
        params = make_params(retrieval)
        return Params.model_validate(params.model_dump() | {"sources": list(sources)})

    return make


def raw(suffix: str, content: bytes) -> Raw:
    return Raw(f"x/page{suffix}", "uri", f"page{suffix}", suffix, content, {"licence": "CC0"})


def pdf(text: str) -> bytes:
    """A PDF of one line, written by hand."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%s endobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"xref\n0 6\n0000000000 65535 f \n%s trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        table,
        len(out),
    )


def word(text: str) -> bytes:
    """The least that is a .docx."""
    name = "http://schemas.openxmlformats.org"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{name}/package/2006/content-types"><Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" ContentType='
        '"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{name}/package/2006/relationships"><Relationship Id="r" Type='
        f'"{name}/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{name}/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>{text}</w:t>'
        "</w:r></w:p></w:body></w:document>",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for path, body in parts.items():
            file.writestr(path, body)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("suffix", "content", "title", "text"),
    [
        (".md", b"---\ntitle: T\n---\n\n# H\n\nA fee of 4.", "T", "# H\n\nA fee of 4."),
        (".txt", b"A fee of 4.", "page", "A fee of 4."),
        (
            ".html",
            b"<title>T</title><script>x()</script><h1>H</h1><p>A <b>fee</b> of 4.<ul><li>a</li><li>b</li></ul>",
            "T",
            "# H\n\nA **fee** of 4.\n\n- a\n- b",
        ),
        (".pdf", pdf("A fee of 4."), "page", "A fee of 4."),
        (".docx", word("A fee of 4."), "page", "A fee of 4."),
    ],
)
def test_every_form_becomes_markdown(suffix, content, title, text):
    document = to_document(raw(suffix, content), MOST)
    assert (document.title, document.text) == (title, text)
    assert document.metadata == {"licence": "CC0"}


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [
        (".pdf", b"not a PDF at all", r"page\.pdf is no PDF that can be read"),
        (".pdf", pdf("x")[:200], r"page\.pdf (is no PDF that can be read|holds no text)"),
        (".pdf", pdf(""), r"page\.pdf holds no text \(a scan\?\)"),
        (".docx", b"PK but no zip", r"page\.docx is no Word file"),
        (".html", b"\xff\xfe\xff", r"page\.html is not UTF-8 \(byte 0\)"),
        (".txt", b"x" * (MOST + 1), r"page\.txt has 1 MB, more than retrieval\.max_document_megabytes \(1\)"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_way_out(suffix, content, message):
    with pytest.raises(DataError, match=message):
        to_document(raw(suffix, content), MOST)


def test_a_folder_beside_the_documents_is_indexed_under_its_name(with_sources, embedder):
    Path("more/deep").mkdir(parents=True)
    Path("more/deep/fee.html").write_text("<h1>Fees</h1><p>A fee of 4.")
    Path("more/left.csv").write_text("no document")
    params = with_sources({"kind": "directory", "name": "extra", "path": "more", "metadata": {"licence": "CC0"}})
    report = reindex(params, embedder=embedder)
    assert "extra/deep/fee.html" in report.added
    assert len(report.added) == 5
    assert set(published_record(params.retrieval).records) == set(report.added)
    Path("more/deep/fee.html").rename("more/deep/fees.html")
    assert reindex(params, embedder=embedder).renamed == {"extra/deep/fees.html": "extra/deep/fee.html"}


def test_a_source_that_yields_nothing_is_refused_and_the_index_stays(with_sources, embedder):
    source = {"kind": "directory", "name": "extra", "path": "more"}
    Path("more").mkdir()
    Path("more/a.md").write_text("A text.")
    first = reindex(with_sources(source), embedder=embedder)
    Path("more/a.md").unlink()
    with pytest.raises(DataError, match=r"source extra \(directory\) yields no document"):
        reindex(with_sources(source), embedder=embedder)
    assert published_record(with_sources().retrieval).content == first.content


def test_links_in_a_circle_and_huge_files_are_named(with_sources):
    source = {"kind": "directory", "name": "extra", "path": "more"}
    Path("more").mkdir()
    Path("more/a.md").symlink_to("a.md")
    with pytest.raises(DataError, match=r"more/a\.md is a symbolic link that leads nowhere or to itself"):
        list(all_documents(with_sources(source)))
    Path("more/a.md").unlink()
    with Path("more/a.md").open("wb") as stream:
        os.truncate(stream.fileno(), 200_000_000)  # a hole: it takes no disk
    with pytest.raises(DataError, match=r"more/a\.md has 200 MB, more than"):
        list(all_documents(with_sources(source)))


def two_sources() -> tuple[dict, dict]:
    for name in ("one", "two"):
        Path(name).mkdir()
        Path(name, "a.md").write_text(f"Text of {name}.")
    return {"kind": "directory", "name": "one", "path": "one"}, {"kind": "directory", "name": "two", "path": "two"}


def test_one_source_is_read_alone_and_the_others_stay_as_they_are(with_sources, embedder):
    params = with_sources(*two_sources())
    reindex(params, embedder=embedder)
    for name in ("one", "two"):
        Path(name, "a.md").write_text(f"New text of {name}.")
        Path(name, "b.md").write_text(f"More of {name}.")
    Path("docs/plans.md").unlink()
    report = reindex(params, embedder=embedder, only=["one"])
    assert (report.changed, report.added, report.removed) == (["one/a.md"], ["one/b.md"], [])
    assert len(report.left) == 5
    assert set(published_record(params.retrieval).records) == {*report.left, "one/a.md", "one/b.md"}
    assert reindex(params, embedder=embedder, only=["one"]).generation == report.generation
    report = reindex(params, embedder=embedder)
    assert (report.changed, report.added, report.removed, report.left) == (["two/a.md"], ["two/b.md"], ["plans.md"], [])
    shutil.rmtree("two")
    Path("docs/cover.md").unlink()
    assert reindex(params, embedder=embedder, only=["documents"], allow_mass_delete=True).removed == ["cover.md"]


def test_a_source_that_loses_most_of_its_documents_is_refused_by_its_own_share(with_sources, embedder):
    params = with_sources(*two_sources())
    Path("one/b.md").write_text("More.")
    reindex(params, embedder=embedder)
    Path("one/b.md").unlink()
    with pytest.raises(StoreError, match="would remove 1 of 2 documents"):
        reindex(params, embedder=embedder, only=["one"])


def test_where_one_source_alone_cannot_be_read_all_are(with_sources, embedder):
    sources = two_sources()
    first = reindex(with_sources(*sources), embedder=embedder, only=["one"])
    assert (len(first.added), first.left) == (6, [])
    other = reindex(with_sources(*sources, chunk_tokens=100), embedder=embedder, only=["one"])
    assert (other.rebuilt, len(other.changed), other.left) == (True, 6, [])


def test_what_others_did_to_the_index_is_not_taken_for_the_documents_of_a_source(with_sources, embedder, monkeypatch):
    params = with_sources(*two_sources())
    reindex(params, embedder=embedder)
    monkeypatch.setattr(LanceStore, "count", lambda *_: 1)
    records = LanceStore.records
    monkeypatch.setattr(LanceStore, "records", lambda *a: {k: v for k, v in records(*a).items() if k != "two/a.md"})
    report = reindex(params, embedder=embedder, only=["one"], dry_run=True)
    assert (report.added, report.left) == (["two/a.md"], [])


def test_a_name_that_means_two_things_or_none_is_refused(with_sources):
    params = with_sources(*two_sources())
    require_sources(params, ["one", "documents"])
    with pytest.raises(InputError, match=r"`three` is no source of params.yaml: name one of documents, one, two"):
        require_sources(params, ["three"])
    Path("docs/one").mkdir()
    with pytest.raises(DataError, match="docs holds a folder one, which is also the name of a source"):
        require_sources(params, ["two"])
    with pytest.raises(ValueError, match=r"named documents, which means documents.path"):
        with_sources({"kind": "directory", "name": "documents", "path": "one"})


def test_licence_and_rules_become_metadata_and_front_matter_wins(with_sources):
    Path("more/pricing/eu").mkdir(parents=True)
    Path("more/pricing/eu/a.md").write_text("---\ndepartment: Board\n---\n\nA fee of 4.")
    Path("more/pricing/b.md").write_text("A fee of 5.")
    Path("more/c.md").write_text("A text.")
    source = {
        "kind": "directory",
        "name": "extra",
        "path": "more",
        "licence": "CC0-1.0",
        "metadata": {"section": "all"},
    }
    rules = [
        {"glob": "pricing/**/*", "set": {"section": "prices", "department": "Pricing"}},
        {"glob": "pricing/eu/*", "set": {"region": "eu"}},
    ]
    found = {d.id: d.metadata for d in all_documents(with_sources(source | {"rules": rules}))}
    assert found["extra/c.md"] == {"licence": "CC0-1.0", "section": "all"}
    assert found["extra/pricing/b.md"] == {"licence": "CC0-1.0", "section": "prices", "department": "Pricing"}
    assert found["extra/pricing/eu/a.md"] == {
        "licence": "CC0-1.0",
        "section": "prices",
        "department": "Board",
        "region": "eu",
    }


def test_two_documents_with_one_id_are_refused(with_sources):
    Path("docs/extra").mkdir()
    Path("docs/extra/a.md").write_text("One.")
    Path("more").mkdir()
    Path("more/a.md").write_text("Two.")
    with pytest.raises(DataError, match=r"two documents have the id extra/a\.md"):
        list(all_documents(with_sources({"kind": "directory", "name": "extra", "path": "more"})))


@pytest.fixture
def repository(docs) -> Path:
    """A git repository with two commits; the first is tagged."""
    root = Path("repo")
    (root / "policies/deep").mkdir(parents=True)
    (root / "policies/fee.md").write_text("# Fee\n\nA fee of 4.\n")
    (root / "policies/deep/x.md").write_text("# X\n\nDeep.\n")
    (root / "other.md").write_text("Elsewhere.\n")
    (root / "policies/link.md").symlink_to("fee.md")

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True)

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "-m", "one")
    git("tag", "v1")
    (root / "policies/fee.md").write_text("# Fee\n\nA fee of 5.\n")
    git("commit", "--quiet", "-am", "two")
    (root / "policies/fee.md").write_text("never committed")
    return root


@pytest.mark.parametrize("where", ["repo", "file"])
def test_a_repository_is_read_at_a_commit_not_from_its_work_tree(with_sources, repository, where):
    address = "repo" if where == "repo" else repository.absolute().as_uri()
    source = {"kind": "git", "name": "law", "repository": address, "path": "policies", "glob": ["**/*.md"]}

    def texts(**more) -> dict[str, str]:
        return {d.id: d.text for d in all_documents(with_sources(source | more)) if d.id.startswith("law/")}

    assert texts() == {"law/deep/x.md": "# X\n\nDeep.", "law/fee.md": "# Fee\n\nA fee of 5."}
    assert texts(ref="v1")["law/fee.md"] == "# Fee\n\nA fee of 4."
    assert texts(glob=["*.md"]).keys() == {"law/fee.md"}
    with pytest.raises(DataError, match=r"source law: git rev-parse failed in .* at nowhere"):
        texts(ref="nowhere")


def test_no_repository_and_no_command_is_run(with_sources):
    source = {"kind": "git", "name": "law", "repository": "ext::touch%20evil"}
    with pytest.raises(DataError, match="source law"):
        list(all_documents(with_sources(source)))
    assert not Path("evil").exists()


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_each_row_of_a_table_is_a_document(with_sources, form):
    rows = [{"key": "1", "name": "Fee: now", "body": "A fee of 4.\n\nMore.", "team": "x"}]
    if form == "jsonl":
        Path("t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        Path("t.csv").write_text('key,name,body,team\n1,Fee: now,"A fee of 4.\n\nMore.",x\n')
    source = {"kind": "table", "name": "kb", "path": f"t.{form}", "id": "key", "text": "body", "title": "name"}
    [document] = [d for d in all_documents(with_sources(source | {"columns": ["team"]})) if d.id.startswith("kb/")]
    assert (document.id, document.title, document.text) == ("kb/1", "Fee: now", "A fee of 4.\n\nMore.")
    assert document.metadata == {"team": "x"}
    with pytest.raises(DataError, match=rf"t\.{form}:\d+ has no `gone`, which the source kb names"):
        list(all_documents(with_sources(source | {"columns": ["gone"]})))


@pytest.fixture
def site() -> Iterator[str]:
    """A server on loopback: /page is HTML, anything else is not found."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/page?v=1"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(b"<title>Fees</title><p>A fee of 4." if found else b"<p>Not found")

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_addresses_are_fetched_and_a_missing_page_is_not_a_deleted_one(with_sources, site):
    source = {"kind": "http", "name": "web", "urls": [f"{site}/page?v=1"]}
    [document] = [d for d in all_documents(with_sources(source)) if d.id.startswith("web/")]
    assert (document.title, document.text, document.uri) == ("Fees", "A fee of 4.", f"{site}/page?v=1")
    with pytest.raises(DataError, match=r"/gone of the source web cannot be fetched \(HTTP Error 404"):
        list(all_documents(with_sources(source | {"urls": [f"{site}/gone"]})))


def test_two_sources_of_one_name_are_refused(with_sources):
    source = {"kind": "directory", "name": "extra", "path": "more"}
    with pytest.raises(ValueError, match="two entries named extra"):
        with_sources(source, source)


@given(st.lists(st.sampled_from(["a", "b", "ab.md", "c.md"]), min_size=1, max_size=4))
def test_a_glob_means_the_same_in_a_repository_as_in_a_folder(parts):
    path = PurePosixPath(*parts)
    for glob in ("*.md", "a/*.md"):
        ours = bool(re.fullmatch(_as_regex(glob), str(path)))
        assert ours == (len(path.parts) == len(PurePosixPath(glob).parts) and path.match(glob))
    assert bool(re.fullmatch(_as_regex("**/*.md"), str(path))) == path.name.endswith(".md")
    assert bool(re.fullmatch(_as_regex("a/**/*.md"), str(path))) == (
        path.name.endswith(".md") and path.parts[0] == "a" and len(path.parts) > 1
    )
