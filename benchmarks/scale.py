"""What a run costs as the index grows: a full build, a run with nothing to do, a run with 1% of the documents changed.

    python -m benchmarks.scale [--chunks N] [--store URL] [--hashed] [--check]

Each run is a process of its own, so that its peak memory is its own; `base_mib` is what it held before the run began. A
second full build finds every vector in the cache: its seconds are those of everything but embedding. With --hashed the
default embedder only takes a sample, and what it would need for all texts is computed from that. Prints one line of JSON.
"""

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import trees
from contracts.files import write_text
from retrieval.index import reindex
from retrieval.store import open_store

PER_DOCUMENT = 20
_SAMPLE = 1024
NO_OP_SHARE = 0.01
CHANGED_SHARE = 0.03
_WORDS = [
    "parcel",
    "locker",
    "courier",
    "sender",
    "return",
    "refund",
    "label",
    "weight",
    "price",
    "month",
    "week",
    "day",
    "notice",
    "cover",
    "claim",
    "pickup",
    "night",
    "depot",
    "plan",
    "fee",
    "limit",
    "proof",
    "address",
    "signature",
]


def document(number: int, version: int) -> str:
    """Markdown with `PER_DOCUMENT` sections of one short chunk each; all texts of a corpus differ."""
    pick = random.Random(number * 1000 + version)
    parts = [f"---\ntitle: Document {number}\n---\n"]
    for section in range(PER_DOCUMENT):
        words = " ".join(pick.choices(_WORDS, k=12))
        parts.append(f"## Section {section}\n\nRule {number}.{section}.{version}: {words}.\n")
    return "\n".join(parts)


def write(folder: Path, numbers: range, version: int) -> None:
    """Write these documents, a hundred to a folder."""
    for number in numbers:
        write_text(folder / f"{number // 100}" / f"{number}.md", document(number, version))


def one_run(folder: str, lance: str, store: str, grpc_port: str, hashed: str) -> None:
    """What a process of its own does: one reindex; prints its figures."""
    import resource

    embedder = trees.counting(hashed == "1")
    retrieval = {"store": store, "weaviate": {"grpc_port": int(grpc_port)}}
    params = trees.params(Path(folder), embedder=trees.EMBEDDER, chunk_tokens=200, **retrieval)
    if params.retrieval.on_server:
        open_store(params.retrieval)  # the client is loaded before the clock starts
    else:
        import lancedb  # noqa: F401
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, cpu = time.perf_counter(), time.process_time()
    report = reindex(params, store=Path(lance), embedder=embedder)
    figures = {
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "chunks": report.chunks,
        "written": report.chunks_added,
        "embedded": report.embedded,
        "embedding_seconds": round(embedder.seconds, 2),
        "base_mib": round(base / 1024),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(figures))


def sample(folder: str) -> None:
    """What a process of its own does: embed a few hundred chunks by the default embedder; prints texts per second."""
    embedder = trees.counting(False)
    chunks = trees.cut(Path(folder) / "0", 200, embedder)[:_SAMPLE]
    embedder.encode([chunk.embedded_text for chunk in chunks])
    print(json.dumps({"texts": embedder.count, "seconds": round(embedder.seconds, 2)}))


def shares_of(found: dict[str, Any]) -> dict[str, float]:
    """What a run costs of a full one, with the default embedder's time (computed where only sampled) and without any."""
    bare = {name: run["seconds"] - run["embedding_seconds"] for name, run in found.items() if name != "sample"}
    each = found["sample"]["seconds"] / found["sample"]["texts"] if "sample" in found else None
    full = {
        name: bare[name] + (found[name]["embedding_seconds"] if each is None else each * found[name]["embedded"])
        for name in bare
    }
    shares = {f"{name}_of_full": full[name] / full["full"] for name in ("no_op", "changed")}
    shares |= {f"{name}_of_full_without_embedding": bare[name] / bare["full"] for name in ("no_op", "changed")}
    return {name: round(share, 4) for name, share in shares.items()}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns 1 when --check does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.split("\n")[0])
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--store", default="lancedb", help="lancedb, or a Weaviate index http://host:port/index")
    parser.add_argument("--grpc-port", type=int, default=50051)
    parser.add_argument("--hashed", action="store_true", help="a quick embedder without a model")
    parser.add_argument("--check", action="store_true", help="fail when the shares are not kept")
    options = parser.parse_args(arguments)
    documents = options.chunks // PER_DOCUMENT
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as here, contextlib.chdir(here):
        folder = Path("documents")

        def process(name: str, function: str, *inputs: str) -> None:
            code = f"import sys; from benchmarks.scale import {function}; {function}(*sys.argv[1:])"
            done = subprocess.run([sys.executable, "-c", code, *inputs], capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-2000:])
            found[name] = json.loads(done.stdout.splitlines()[-1])
            print(f"{name}: {found[name]}", file=sys.stderr)

        def run(name: str, lance: str = "lance") -> None:
            store = options.store if lance == "lance" or options.store == "lancedb" else f"{options.store}again"
            process(name, "one_run", str(folder), lance, store, str(options.grpc_port), str(int(options.hashed)))

        write(folder, range(documents), 0)
        run("full")
        run("full_cached", "second")
        run("no_op")
        write(folder, range(documents // 100), 1)
        run("changed")
        if options.hashed:
            process("sample", "sample", str(folder))
    shares = shares_of(found)
    print(json.dumps({"store": options.store, **found, **shares}))
    if options.check and (shares["no_op_of_full"] > NO_OP_SHARE or shares["changed_of_full"] > CHANGED_SHARE):
        print(
            f"check failed: a run costs more than {NO_OP_SHARE:.0%} or {CHANGED_SHARE:.0%} of a full one",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
