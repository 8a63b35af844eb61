"""A writer killed again and again while readers ask, and twenty swaps under load: what do readers see?

    python -m benchmarks.kill [HISTORY] [--kills N] [--swaps N] [--store URL] [--check]

A process replays the history, one run for each commit; it is killed by SIGKILL in one of MOMENTS, drawn anew each time,
and started again at the commit it was on. After each kill the index must be exactly one tree, while a reader asks all the time.
Then four readers ask in a loop while the index is rebuilt with other settings and swapped. Prints one line of JSON.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import trees
from contracts.errors import FreshtuneError
from contracts.params import Params
from retrieval.index import reindex
from retrieval.search import Retriever
from retrieval.store import Store, open_store

MOMENTS = ("run", "in begin", "in write", "in seal", "in point")
MOST_DELAY = 0.02  # seconds after the moment began
QUESTION = "terms of service for accounts"


def writer(settings: str, first: str) -> None:
    """What the process that is killed does: from commit `first` on, one run each; says where it is."""
    params, embedder = _params(json.loads(settings)), trees.HashEmbedder()
    store = open_store(params.retrieval)
    if pointer := store.pointer():
        store.count(pointer.current)  # the store's library is loaded before the first run, or every kill would hit that
    with narrated(type(store)):
        for number in range(int(first), sum(1 for _ in Path("trees").iterdir())):
            print(f"run {number}", flush=True)
            reindex(_at(params, number), embedder=embedder)
            print(f"end {number}", flush=True)


@contextlib.contextmanager
def narrated(kind: type[Store]) -> Iterator[None]:
    """Have every writing method of a store say that it begins and that it is done."""
    whole = {name: getattr(kind, name) for name in ("begin", "write", "seal", "point")}

    def told(name: str) -> Callable[..., Any]:
        def method(self: Store, *arguments: Any) -> Any:
            print(f"in {name}", flush=True)
            done = whole[name](self, *arguments)
            print(f"after {name}", flush=True)
            return done

        return method

    for name in whole:
        setattr(kind, name, told(name))
    yield


def _params(settings: dict[str, Any]) -> Params:
    return trees.params(Path("trees/0"), chunk_tokens=200, **settings)


def _at(params: Params, number: int) -> Params:
    """The params with the tree of one commit."""
    return params.model_copy(update={"documents": params.documents.model_copy(update={"path": f"trees/{number}"})})


@contextlib.contextmanager
def asking(
    params: Params, readers: int, trees_seen: list[trees.Seen], also: Params | None = None
) -> Iterator[dict[str, Any]]:
    """Readers that ask in a loop, each with a retriever of its own; counts answers, failures, and those that are empty
    or mixed, that is not of any one of `trees_seen`.

    With `also`, a reader of one fingerprint goes over to the other when it is refused, as a restarted service would.
    """
    told: dict[str, Any] = {"answers": 0, "failed": [], "empty": 0, "mixed": 0}
    stop = threading.Event()

    def ask() -> None:
        settings = [params.retrieval, *([also.retrieval] if also else [])]
        retriever: Retriever | None = None
        turn = 0
        while not stop.is_set():
            try:
                retriever = retriever or Retriever.open(settings[turn % len(settings)], embedder=trees.HashEmbedder())
                hits = retriever.search(QUESTION, 5)
                told["answers"] += 1
                told["empty"] += not hits
                found = [(hit.chunk.document, hit.chunk.embedded_text) for hit in hits]
                told["mixed"] += not any(all(chunk in tree for chunk in found) for tree in trees_seen)
            except FreshtuneError as error:
                if also and "other settings" in str(error):
                    retriever, turn = None, turn + 1
                else:
                    told["failed"].append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(readers)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def kills(history: Path, count: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Kill the writer `count` times; see the module."""
    commits = 0
    for number in trees.trees(history, Path("work"), max(40, count)):
        subprocess.run(["cp", "-r", "work", f"trees/{number}"], check=True)
        commits = number + 1
    params, embedder, pick = _params(settings), trees.HashEmbedder(), random.Random(17)
    expected = [trees.wanted(trees.cut(Path(f"trees/{n}"), 200, embedder)) for n in range(commits)]
    for number in (0, 1):
        reindex(_at(params, number), embedder=embedder)
    at = 2 % commits
    store, faults, done, places = open_store(params.retrieval), trees.Faults(), 0, Counter[str]()
    code = "import sys; from benchmarks.kill import writer; writer(*sys.argv[1:])"
    with asking(params, 1, expected) as told:
        while done < count:
            command = [sys.executable, "-c", code, json.dumps(settings), str(at)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                moment, lines = pick.choice(MOMENTS), []
                for line in process.stdout:
                    lines.append(line)
                    if line.startswith(moment):
                        break
                time.sleep(pick.uniform(0, MOST_DELAY))
                os.kill(process.pid, signal.SIGKILL)
                said = "".join([*lines, process.stdout.read()]).split()
            ended = [int(number) for word, number in zip(said[::2], said[1::2], strict=False) if word == "end"]
            at = ended[-1] + 1 if ended else at
            if at >= commits:
                at = 0
            done += 1
            places[" ".join(said[-2:]) if len(said) > 1 and said[-2] in ("in", "after") else "reading"] += 1
            visible = trees.seen(store, store.pointer())
            old, new = expected[at - 1], expected[at]
            faults.mixed += visible not in (old, new)
            if done % 10 == 0:  # and the next run converges
                reindex(_at(params, at), embedder=embedder)
                faults.judge(expected[at], trees.seen(store, store.pointer()))
                print(f"{done} kills, {asdict(faults)}, {told['answers']} answers", file=sys.stderr)
    return {"kills": done, "killed": dict(places), "faults": asdict(faults), **told}


def swaps(count: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Rebuild with other settings and swap, `count` times, while four readers ask."""
    one, other = (_at(trees.params(Path("t"), chunk_tokens=n, **settings), 0) for n in (200, 100))
    embedder = trees.HashEmbedder()
    reindex(one, embedder=embedder)
    ways = [trees.wanted(trees.cut(Path("trees/0"), tokens, embedder)) for tokens in (200, 100)]
    with asking(one, 4, ways, other) as told:
        for number in range(count):
            reindex(other if number % 2 == 0 else one, embedder=embedder)
    return {"swaps": count, **told}


def main(arguments: list[str] | None = None) -> int:
    """Run both trials and print; returns 1 when --check does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill", description=__doc__.split("\n")[0])
    parser.add_argument("history", type=Path, nargs="?", default=trees.HISTORY)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--store", default="lancedb", help="lancedb, or a Weaviate index http://host:port/index")
    parser.add_argument("--grpc-port", type=int, default=50051)
    parser.add_argument("--check", action="store_true", help="fail on any fault, failed, empty or mixed answer")
    options = parser.parse_args(arguments)
    history = options.history.absolute()
    settings = {"store": options.store, "weaviate": {"grpc_port": options.grpc_port}}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("trees").mkdir()
        found = {"store": options.store, "killed": kills(history, options.kills, settings)}
        found["swapped"] = swaps(options.swaps, settings)
    print(json.dumps(found))
    wrong = sum(found["killed"]["faults"].values())
    parts = (found["killed"], found["swapped"])
    wrong += sum(len(part["failed"]) + part["empty"] + part["mixed"] for part in parts)
    if options.check and wrong:
        print(f"check failed: {wrong} faults, or failed, empty or mixed answers", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
