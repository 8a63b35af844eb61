"""What `freshtune validate` judges by: a project's settings where there is one, defaults elsewhere."""

from pathlib import Path
from typing import Any

from contracts import paths
from contracts.errors import DataError, ModelError
from contracts.models import resolve_model
from contracts.params import Documents, Params, Validation, load_params
from contracts.verdicts import VolatileFact
from retrieval.audit import audit
from retrieval.documents import read_documents
from validation.gate import Against
from validation.judge import scorer
from validation.stages import SCORES, read_golden, read_volatile_facts
from validation.tokens import ChatTokenizer, load_tokenizer


def settings_and_sides(against: Path | None, base: str | None) -> tuple[Validation, Against, int]:
    """The settings, what is judged against, and the seed of the split.

    Without `against`, no fact counts as volatile. Without `base` and without models/base, no length is judged.

    Raises:
        DataError: `against` leads nowhere or holds no documents.
        ParamsError, ModelError: the project here or `base` has problems.
    """
    params = load_params() if paths.PARAMS.is_file() else None
    settings = params.validation if params else Validation()
    tokenizer = None
    if base is not None:
        tokenizer = tokenizer_of(base)
    elif paths.BASE.is_dir():
        tokenizer = load_tokenizer(paths.BASE)
    sides = Against(
        volatile=_facts(against) if against else [],
        golden=_golden(params),
        tokenizer=tokenizer,
        system=params.assistant.system if params else "",
        max_length=params.training.max_length if params and tokenizer else None,
        scorer=scorer(settings.judge, paths.BASE, SCORES) if settings.judge else None,
    )
    return settings, sides, params.seed if params else 17


def tokenizer_of(reference: str) -> ChatTokenizer:
    """The tokenizer of a model reference.

    Raises:
        ModelError: the reference leads nowhere, or its tokenizer has no chat template.
    """
    from training.base import load_tokenizer as load_from

    loaded: Any = load_from(resolve_model(reference))
    if not loaded.chat_template:
        raise ModelError(f"`{reference}` has no chat template: name an instruct model with --base")
    special = {name: str(token) for name, token in loaded.special_tokens_map.items() if isinstance(token, str)}
    return ChatTokenizer(loaded.backend_tokenizer, loaded.chat_template, special)


def _golden(params: Params | None) -> dict[str, str]:
    golden = Path(params.evaluation.golden) if params else None
    return read_golden(golden) if golden and golden.is_file() else {}


def _facts(against: Path) -> list[VolatileFact]:
    """The facts of an audit, or of documents: without their history, all of them may change."""
    if against.suffix == ".json":
        return read_volatile_facts(against)
    if not against.exists():
        raise DataError(f"{against} is missing: name a folder of documents, or an audit.json, with --against")
    return audit(read_documents(Documents(path=str(against))), None, stable_months=6).facts
