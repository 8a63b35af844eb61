"""What params.yaml must say so that DVC watches the data that a run reads."""

import re
from pathlib import Path

from contracts.errors import ParamsError
from contracts.params import Params

_WILD = re.compile(r"[*?\[]")


def literal_part(pattern: str) -> Path:
    """The path before the first wildcard of a glob; the whole path where there is none."""
    parts = Path(pattern).parts
    plain = next((i for i, part in enumerate(parts) if _WILD.search(part)), len(parts))
    return Path(*parts[:plain])


def require_watched(params: Params) -> None:
    """Every pairs file lies in `pairs_path`, and a history is named: both are deps of dvc.yaml.

    Raises:
        ParamsError: a change of some input would go unseen.
    """
    root = Path(params.pairs_path).resolve()
    problems = [
        f"`pairs.{behaviour}.files` names {pattern}, outside `pairs_path` ({params.pairs_path}), so that DVC would not"
        " see it change: set pairs_path to the file or folder that holds all pairs"
        for behaviour in params.behaviours
        for pattern in params.pairs[behaviour].files
        if not pattern.startswith("hub:") and not literal_part(pattern).resolve().is_relative_to(root)
    ]
    problems += [
        f"`pairs.{behaviour}.files` names {pattern} without a revision, so that nobody would see it change:"
        " write hub:ORG/NAME@REVISION"
        for behaviour in params.behaviours
        for pattern in params.pairs[behaviour].files
        if pattern.startswith("hub:") and "@" not in pattern
    ]
    if params.documents.history is None:
        problems.append(
            "`documents.history` is null, and DVC needs a file to watch: name an empty one (such as"
            " data/history/none.jsonl) when nothing is known of the documents' past"
        )
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ParamsError(f"params.yaml has {count}:\n" + "\n".join(f"  - {problem}" for problem in problems))
