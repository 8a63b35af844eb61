"""A real history replayed commit by commit: is the index exactly one tree at every moment, and at what cost?

    python -m benchmarks.replay [HISTORY] [--commits N] [--store URL] [--hashed] [--no-peers]
                                [--check]

After every commit, and after every single write of a run, what a reader can find is compared with the trees before and
after the commit. The peers (LangChain's index() with full clean-up, LlamaIndex's IngestionPipeline with
UPSERTS_AND_DELETE) get the same chunks, embedder and LanceDB, in an environment of their own: see peers.txt. Prints
one line of JSON.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import trees
from contracts import paths
from contracts.errors import DataError, FreshtuneError
from retrieval.index import reindex
from retrieval.store import Store, open_store

HERE = Path(__file__).resolve().parent
TOKENS = 200
MOST_EMBEDDINGS = 1.02
MOST_TIME = 0.5


@dataclass
class Result:
    """Figures of one system. `seconds` and `cpu_seconds` (all threads) are spent in its runs, looks left out.

    `embedding_seconds` is the part of `seconds` that the embedder took.
    """

    system: str
    commits: int = 0
    distinct_texts: int = 0
    embeddings: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    embedding_seconds: float = 0.0
    looks: int = 0
    faults: trees.Faults = field(default_factory=trees.Faults)
    chunks_at_end: int = 0

    @property
    def ratio(self) -> float:
        return self.embeddings / self.distinct_texts


def measure(
    system: str,
    history: Path,
    folder: Path,
    commits: int | None,
    embedder: trees.CountingEmbedder,
    run: Callable[[Callable[[], None]], None],
    look: Callable[[], trees.Seen],
) -> Result:
    """Replay `history`: `run` brings the index up to `folder` and calls its argument after each write; `look` reads."""
    result = Result(system)
    distinct: set[str] = set()
    before: trees.Seen = trees.Seen()
    for _ in trees.trees(history, folder, commits):
        chunks = trees.cut(folder, TOKENS, embedder)
        distinct.update(chunk.embedded_text for chunk in chunks)
        after = trees.wanted(chunks)

        def peek(old: trees.Seen = before, new: trees.Seen = after) -> None:
            begun = time.perf_counter(), time.process_time()
            result.looks += 1
            result.faults.mixed += look() not in (old, new)
            result.seconds -= time.perf_counter() - begun[0]
            result.cpu_seconds -= time.process_time() - begun[1]

        started = time.perf_counter(), time.process_time()
        run(peek)
        result.seconds += time.perf_counter() - started[0]
        result.cpu_seconds += time.process_time() - started[1]
        before = look()
        result.faults.judge(after, before)
        result.commits += 1
    result.distinct_texts, result.embeddings = len(distinct), embedder.count
    result.embedding_seconds = embedder.seconds
    result.chunks_at_end = before.total()
    return result


def freshtune(history: Path, commits: int | None, hashed: bool, retrieval: dict[str, Any]) -> Result:
    """Our own run, in the current directory."""
    import lancedb  # noqa: F401  (loaded before the clock starts, as the peers do)

    folder = Path("documents").absolute()
    folder.mkdir()
    params = trees.params(folder, embedder=trees.EMBEDDER, chunk_tokens=TOKENS, **retrieval)
    embedder = trees.counting(hashed)
    reader = open_store(params.retrieval)

    def run(peek: Callable[[], None]) -> None:
        with watched(type(reader), peek):
            reindex(params, embedder=embedder)

    kind = "freshtune on " + ("Weaviate" if params.retrieval.on_server else "LanceDB")
    return measure(kind, history, folder, commits, embedder, run, lambda: trees.seen(reader, reader.pointer()))


@contextlib.contextmanager
def watched(kind: type[Store], peek: Callable[[], None]) -> Any:
    """Have every writing method of a store followed by a look of somebody else."""
    whole = {name: getattr(kind, name) for name in ("begin", "write", "seal", "point")}

    def followed(name: str) -> Callable[..., Any]:
        def method(self: Store, *arguments: Any) -> Any:
            done = whole[name](self, *arguments)
            peek()
            return done

        return method

    for name in whole:
        setattr(kind, name, followed(name))
    try:
        yield
    finally:
        for name, method in whole.items():
            setattr(kind, name, method)


def peers(history: Path, commits: int | None, hashed: bool, home: Path) -> list[Result]:
    """The peers' runs, in an environment of their own below `home`.

    Raises:
        DataError: the environment cannot be made.
    """
    python = home / "bin/python"
    if not (home / "ready").is_file():
        uv = [sys.executable, "-m", "uv"]
        for command in (
            [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)],
            [*uv, "pip", "install", "--quiet", "--python", str(python), "--requirements", str(HERE / "peers.txt")],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise DataError(f"the peers' environment cannot be made: {done.stderr.strip()[-500:]}")
        # What is ours and shared (torch, the embedder) is read from this environment, behind the peers' own packages.
        shared = next(path for path in sys.path if path.endswith("site-packages"))
        [site] = home.glob("lib/python*/site-packages")
        (site / "shared.pth").write_text(f"{shared}\n{HERE.parent}\n")
        (home / "ready").touch()
    results = []
    for name in ("langchain", "llamaindex"):
        with tempfile.TemporaryDirectory() as folder:
            command = [str(python), "-m", "benchmarks.peers", name, str(history), str(commits or 0), str(int(hashed))]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                raise DataError(f"the peer {name} failed: {done.stderr.strip()[-1500:]}")
            found = json.loads(done.stdout.splitlines()[-1])
            results.append(Result(**found | {"faults": trees.Faults(**found["faults"])}))
    return results


def failure(own: Result, others: list[Result]) -> str:
    """Why the figures are not good enough; empty when they are."""
    if own.faults.total:
        return f"the index was not exactly one tree: {asdict(own.faults)}"
    if own.ratio > MOST_EMBEDDINGS:
        return f"{own.ratio:.3f} embeddings for each distinct text, more than {MOST_EMBEDDINGS}"
    if others and own.seconds > MOST_TIME * (best := min(other.seconds for other in others)):
        return f"{own.seconds:.1f} s, more than {MOST_TIME} of the quicker peer's {best:.1f}"
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Replay and print; returns the exit code: 2 for what the user can mend, 1 when --check does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__.split("\n")[0])
    parser.add_argument("history", type=Path, nargs="?", default=trees.HISTORY)
    parser.add_argument("--commits", type=int, help="only the first commits of it")
    parser.add_argument("--store", default="lancedb", help="lancedb, or a Weaviate index http://host:port/index")
    parser.add_argument("--grpc-port", type=int, default=50051)
    parser.add_argument("--hashed", action="store_true", help="a quick embedder without a model: counts, no times")
    parser.add_argument("--no-peers", action="store_true", help="measure ourselves alone")
    parser.add_argument("--check", action="store_true", help="fail when the figures are not good enough")
    options = parser.parse_args(arguments)
    history, home = options.history.absolute(), (paths.STATE / "peers").absolute()
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            store = {"store": options.store, "weaviate": {"grpc_port": options.grpc_port}}
            own = freshtune(history, options.commits, options.hashed, store)
        others = [] if options.no_peers else peers(history, options.commits, options.hashed, home)
    except FreshtuneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    for result in (own, *others):
        print(
            f"{result.system}: {result.embeddings} embeddings of {result.distinct_texts} distinct texts"
            f" ({result.ratio:.2f}), {result.seconds:.1f} s (CPU {result.cpu_seconds:.1f}, {result.embedding_seconds:.1f}"
            f" s embedding), {result.looks} looks, {asdict(result.faults)}",
            file=sys.stderr,
        )
    print(json.dumps([asdict(result) | {"ratio": round(result.ratio, 4)} for result in (own, *others)]))
    if options.check and (reason := failure(own, others)):
        print(f"check failed: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
