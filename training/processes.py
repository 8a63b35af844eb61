"""Several processes, one run: what `accelerate launch` and `torchrun` tell each of them."""

import os


def is_first_process() -> bool:
    """Whether this process writes: the only one, or the first of several."""
    return os.environ.get("RANK", "0") == "0"
