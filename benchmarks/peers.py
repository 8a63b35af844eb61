"""The peers of benchmarks/replay.py, run by it in an environment of their own (peers.txt); prints one line of JSON.

    python -m benchmarks.peers langchain|llamaindex HISTORY COMMITS HASHED      (COMMITS 0: all of them)

Both are used as their guides say, over LanceDB, with our chunks and our embedder. What they must remember from one run
to the next they keep in memory, which costs them no time; neither keeps a full-text index.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lancedb

from benchmarks import trees
from benchmarks.replay import TOKENS, Result, measure
from contracts.params import Documents
from retrieval.chunk import chunk_document
from retrieval.documents import read_documents

FOLDER = Path("documents")
URI = "store"


def langchain(history: Path, commits: int | None, embedder: trees.CountingEmbedder) -> Result:
    """`langchain_core.indexing.index` with cleanup="full" and its in-memory record manager."""
    from langchain_community.vectorstores import LanceDB
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.indexing import InMemoryRecordManager, index

    class Ours(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [vector.tolist() for vector in embedder.encode(texts)]

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    manager = InMemoryRecordManager("replay")
    manager.create_schema()
    store = LanceDB(uri=URI, embedding=Ours(), table_name="chunks", mode="append")

    def run(peek: Callable[[], None]) -> None:
        chunks = trees.cut(FOLDER, TOKENS, embedder)
        documents = [Document(page_content=c.embedded_text, metadata={"source": c.document}) for c in chunks]
        followed(store, ("add_documents", "delete"), peek)
        index(documents, manager, store, cleanup="full", source_id_key="source", key_encoder="sha256")

    def look() -> trees.Seen:
        rows = table("chunks", ["text", "metadata"])
        return Counter((row["metadata"]["source"], row["text"]) for row in rows)

    return measure("LangChain index(cleanup=full)", history, FOLDER, commits, embedder, run, look)


def llamaindex(history: Path, commits: int | None, embedder: trees.CountingEmbedder) -> Result:
    """LlamaIndex's IngestionPipeline with UPSERTS_AND_DELETE; it chunks and embeds inside."""
    from llama_index.core.embeddings import BaseEmbedding
    from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
    from llama_index.core.schema import Document, NodeRelationship, TextNode, TransformComponent
    from llama_index.core.storage.docstore import SimpleDocumentStore
    from llama_index.vector_stores.lancedb import LanceDBVectorStore

    known: dict[str, Any] = {}

    class Cut(TransformComponent):
        def __call__(self, nodes: Any, **_: Any) -> Any:
            return [
                TextNode(
                    text=chunk.embedded_text,
                    metadata=node.metadata,
                    excluded_embed_metadata_keys=list(node.metadata),
                    relationships={NodeRelationship.SOURCE: node.as_related_node_info()},
                )
                for node in nodes
                for chunk in chunk_document(known[node.node_id], TOKENS, embedder.count_tokens)
            ]

    class Ours(BaseEmbedding):
        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return [vector.tolist() for vector in embedder.encode(texts)]

        def _get_text_embedding(self, text: str) -> list[float]:
            return self._get_text_embeddings([text])[0]

        def _get_query_embedding(self, query: str) -> list[float]:
            return self._get_text_embedding(query)

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return self._get_text_embedding(query)

    class Mended(LanceDBVectorStore):
        def delete(self, ref_doc_id: str, **_: Any) -> None:
            """Its own fails at LanceDB 0.38 and later (run-llama/llama_index, pull request 23087)."""
            self.table.delete("doc_id = '" + ref_doc_id.replace("'", "''") + "'")

    store = Mended(uri=URI, table_name="chunks", mode="create")
    pipeline = IngestionPipeline(
        transformations=[Cut(), Ours(embed_batch_size=256)],
        vector_store=store,
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
    )

    def run(peek: Callable[[], None]) -> None:
        known.clear()
        known.update((document.id, document) for document in read_documents(Documents(path=str(FOLDER))))
        followed(store, ("add", "delete"), peek)
        # Its own reader gives every document the path as metadata, and its own splitters hand that to the chunks. Without
        # it two equal texts are one to its hashes and its cache (run-llama/llama_index, issue 23002).
        pipeline.run(
            documents=[
                Document(id_=d.id, text=f"{d.title}\n{d.text}", metadata={"file_path": d.id}) for d in known.values()
            ]
        )

    def look() -> trees.Seen:
        return Counter((row["doc_id"], row["text"]) for row in table("chunks", ["doc_id", "text"]))

    return measure("LlamaIndex UPSERTS_AND_DELETE", history, FOLDER, commits, embedder, run, look)


def table(name: str, columns: list[str]) -> list[dict[str, Any]]:
    """What somebody who opens the table now finds in it."""
    database = lancedb.connect(URI)
    if name not in database.list_tables().tables:
        return []
    return list(database.open_table(name).search().select(columns).to_arrow().to_pylist())


def followed(store: Any, names: tuple[str, ...], peek: Callable[[], None]) -> None:
    """Have these methods of `store` followed by a look of somebody else."""
    for name in names:
        whole = getattr(type(store), name)

        def method(*arguments: Any, _whole: Any = whole, **options: Any) -> Any:
            done = _whole(store, *arguments, **options)
            peek()
            return done

        object.__setattr__(store, name, method)


def main(name: str, history: str, commits: str, hashed: str) -> None:
    """Measure one peer in the current directory."""
    FOLDER.mkdir()
    peer = {"langchain": langchain, "llamaindex": llamaindex}[name]
    result = peer(Path(history), int(commits) or None, trees.counting(hashed == "1"))
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main(*sys.argv[1:])
