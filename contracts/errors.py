"""Every error a user can meet, in one small tree.

    FreshtuneError            something a person can mend; shown as one message, never a traceback
    ├── ParamsError           params.yaml: all that is wrong with it, at once
    ├── InputError            a value that a person typed, and that cannot be read
    ├── DataError             a file of pairs, documents, history or questions
    ├── ModelError            a model reference, a checkpoint, the training of it, the merge
    ├── StoreError            the index: another fingerprint, drift, a refused delete
    ├── ReleaseError          a release that is missing, blocked by a gate, or whose bytes changed
    ├── BusyError             somebody else holds the lock, the port or the disk space
    └── StageError            a stage of the graph failed; carries the stage's own last words

A message names the thing, the place and the way out, in that order.
"""


class FreshtuneError(Exception):
    """Base of all errors a user can mend. `exit_code` is what the command line returns."""

    exit_code = 2


class ParamsError(FreshtuneError):
    """params.yaml does not say what a run needs. Carries every problem found, one a line."""


class InputError(FreshtuneError):
    """A value on the command line is not understood. Says what is."""


class DataError(FreshtuneError):
    """A data file is missing, unreadable or empty. Names file and line."""


class ModelError(FreshtuneError):
    """A model cannot be found, read, trained, merged or written."""


class StoreError(FreshtuneError):
    """The index cannot be read or written truthfully."""


class ReleaseError(FreshtuneError):
    """No release, a blocked release, or one whose bytes are not those it was proved with."""


class BusyError(FreshtuneError):
    """Something this run needs for itself is taken: the writer's lock, a port, disk space."""


class StageError(FreshtuneError):
    """A stage of dvc.yaml exited with an error. `stage` is its name as `dvc repro` takes it."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage
