"""How far a reindex is: bars on a terminal, lines in a log."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from retrieval.plan import Progress as Done


@contextmanager
def told(log: Callable[[str], None]) -> Iterator[Callable[[Done], None]]:
    """What a run tells its progress to: two bars on a terminal (documents, chunks), else one line a batch to `log`."""
    if not sys.stderr.isatty():
        yield lambda done: log(str(done))
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        documents, chunks = bars.add_task("documents", total=None), bars.add_task("chunks", total=None)

        def tell(done: Done) -> None:
            bars.update(documents, completed=done.documents, total=done.of_documents)
            bars.update(chunks, completed=done.chunks, total=done.of_chunks)

        yield tell
