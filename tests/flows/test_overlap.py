"""The rule for a run that meets another one in the same project."""

import threading
import time
from pathlib import Path

import pytest

from contracts.errors import BusyError
from flows import graph
from flows.overlap import alone


def test_a_run_that_meets_another_waits_is_skipped_or_is_refused(mini: Path) -> None:
    said: list[str] = []
    with graph.writer("retrain"):
        skipped = alone("reindex", "skip", said.append, lambda: "done")
        with pytest.raises(BusyError, match="in use by `freshtune retrain`"):
            alone("reindex", "refuse", said.append, lambda: "done")
    assert (skipped.type.value, skipped.name) == ("COMPLETED", "Skipped")
    assert "in use by `freshtune retrain`" in skipped.message
    assert said == []
    assert alone("reindex", "skip", said.append, lambda: "done") == "done"


def test_a_waiting_run_says_for_whom_and_goes_on_when_it_ends(mini: Path) -> None:
    said: list[str] = []
    done: list[str] = []

    def wait() -> None:
        done.append(alone("reindex", "wait", said.append, lambda: "done"))

    with graph.writer("retrain"):
        thread = threading.Thread(target=wait)
        thread.start()
        end = time.monotonic() + 10
        while not said and time.monotonic() < end:
            time.sleep(0.01)
        assert done == []
    thread.join(10)
    assert done == ["done"]
    assert said[0].startswith("waits until `freshtune retrain` (process ")
