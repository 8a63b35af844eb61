"""The small JSON files with which one room tells the next what it found. A refusal is a verdict, not an exit code."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")


class VolatileFact(_File):
    """A fact that stands in a volatile document now. `subject` are the words its sentence and heading are about."""

    document: str
    heading: str
    sentence: str
    kind: str
    value: str
    unit: str
    subject: list[str]


class SectionAudit(_File):
    """How one section moves, told as of a document. `heading` is its path, empty above the first heading."""

    heading: str
    volatile: bool
    changes: int
    changes_per_month: float
    kinds: dict[str, int]
    changed_at: list[str]


class DocumentAudit(_File):
    """How one document moves. `changes` counts edits of its text; `changed_at` their ISO dates.

    `kinds` counts the facts that came or went by kind; together they are `facts_moved`.
    """

    document: str
    title: str
    volatile: bool
    reason: str
    changes: int
    changes_per_month: float
    facts_moved: int
    kinds: dict[str, int] = Field(default_factory=dict)
    changed_at: list[str] = Field(default_factory=list)
    sections: list[SectionAudit] = Field(default_factory=list)


class SourceAudit(_File):
    """How one source moves as a whole. `history` says where its past was read.

    `days_between_changes` is the mean time between two days on which any of its documents changed. `refresh` is the
    rarest cron that keeps an index of it out of date for at most a twentieth of the time; None where nothing is known.
    """

    source: str
    history: Literal["file", "git", "dvc", "none"]
    since: str | None
    until: str | None
    documents: int
    volatile: int
    days_between_changes: float | None
    refresh: str | None


class AuditVerdict(_File):
    """Written by `audit`, read by `validate`: which documents are volatile, and the facts they hold."""

    since: str | None
    until: str | None
    sources: list[SourceAudit] = Field(default_factory=list)
    documents: list[DocumentAudit]
    facts: list[VolatileFact]


class BehaviourVerdict(_File):
    """May this behaviour be taught? `funnel` maps each step to the rows that are left after it, in order.

    `rules` counts the rows that each rule took out, `warnings` those that a rule of validation.warn found and left in.
    """

    behaviour: str
    verdict: Literal["refused", "limited", "ready"]
    advice: str
    funnel: dict[str, int]
    rules: dict[str, int]
    warnings: dict[str, int] = Field(default_factory=dict)
    train_rows: int
    eval_rows: int
    grounded_rows: int


class ValidationVerdict(_File):
    """Written by `validate`."""

    behaviours: list[BehaviourVerdict]
    quarantined: int


class Evidence(_File):
    """One input of an advice as people read it, and the file or key that it comes from."""

    name: str
    value: str
    source: str


class Flip(_File):
    """The nearest change of one input, alone, that changes the recommendation; an empty `to` where none does."""

    name: str
    change: str
    to: str


class BehaviourAdvice(_File):
    """RAG, fine-tuning or both, for one behaviour. Costs are dollars; `monthly` by line, `one_time` once."""

    behaviour: str
    recommendation: str
    reasoning: list[str]
    warnings: list[str]
    evidence: list[Evidence]
    flips: list[Flip]
    monthly: dict[str, float]
    one_time: float
    training: str
    train: bool


class AdviceVerdict(_File):
    """Written by `advise`. `release` is the one whose measurements it read, empty before the first."""

    release: str
    behaviours: list[BehaviourAdvice]


class TrainingAdvice(_File):
    """Written by `advise`, read by `train`: `skip` is why nothing is to be trained; empty: train."""

    behaviour: str
    skip: str


class ReleasedEvaluation(_File):
    """.freshtune/released.json, kept by `package`: what the arm that was released last measured.

    `seconds` is its median for one question, `tokens` the mean of prompt and answer together.
    """

    release: str
    arm: Literal["rag", "hybrid"]
    seconds: float | None
    tokens: float | None


class Preferences(_File):
    """What DPO did. `accuracy` is the share of held-out preferences whose chosen answer gained over the rejected one."""

    rows: int
    steps: int
    seconds: float
    loss: list[tuple[int, float]]
    accuracy: float | None
    kept_step: int
    stopped: str


class TrainingRecord(_File):
    """training.json, beside an adapter. `skipped` says why there is no adapter; then the rest is empty.

    The figures are those of the supervised phase where there is one, else of DPO; curves are (step, loss).
    `kept_step` is the step whose adapter was kept: the last, unless the run was `stopped`, which says why.
    `knobs` are the `training` params by dotted name, `data_hash` the SHA-256 of train.jsonl. `energy_joules` is what
    `energy_meter` counted for the whole stage, None where no meter can be read.
    """

    behaviour: str
    skipped: str = ""
    recipe: str = ""
    backend: str = ""
    reason: str = ""
    base: str = ""
    compute_dtype: str = ""
    rows: int = 0
    truncated_rows: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    trainable_share: float = 0.0
    steps: int = 0
    seconds: float = 0.0
    tokens_per_second: float = 0.0
    peak_memory_gib: float = 0.0
    loss: list[tuple[int, float]] = Field(default_factory=list)
    eval_loss_base: float | None = None
    eval_loss: float | None = None
    eval_curve: list[tuple[int, float]] = Field(default_factory=list)
    kept_step: int = 0
    stopped: str = ""
    preferences: Preferences | None = None
    knobs: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    data_hash: str = ""
    hardware: str = ""
    energy_joules: float | None = None
    energy_meter: str = ""


class MergeRecord(_File):
    """merge.json, beside a merged model: the proof of law 4. `skipped` as in TrainingRecord."""

    behaviour: str
    skipped: str = ""
    dtype: str = ""
    share: float = 1.0
    rows: int = 0
    logit_difference: float = 0.0
    argmax_agreement: float = 0.0
    perplexity_adapter: float = 0.0
    perplexity_merged: float = 0.0
    perplexity_base: float = 0.0
    difference_from_base: float = 0.0


class ExportRecord(_File):
    """export.json, beside an export: what it weighs, and how it differs from the merged model on held-out chats."""

    kind: str
    bytes: int
    rows: int
    logit_difference: float
    argmax_agreement: float
    perplexity: float
    perplexity_merged: float


class ManagedRecord(_File):
    """reports/managed/<behaviour>.json: what a fine-tuning service made, and of what. Hashes are SHA-256 of the files."""

    behaviour: str
    endpoint: str
    base_model: str
    fine_tuned_model: str
    job: str
    train_rows: int
    eval_rows: int
    train_hash: str
    eval_hash: str
    hyperparameters: dict[str, int | float]
    seed: int
    trained_tokens: int | None = None


class IndexRecord(_File):
    """index.json: the content every store is reconciled to. `records` maps a document to its chunks' record hashes."""

    fingerprint_id: str
    fingerprint: dict[str, str | int]
    content: str
    documents: int
    chunks: int
    records: dict[str, list[str]]


class Estimate(_File):
    """A mean with its 95% bootstrap interval over `n` items; all None when nothing could be measured."""

    mean: float | None
    low: float | None
    high: float | None
    n: int


class GateResult(_File):
    """One gate: `value` against `bound`; `passed` is None when it does not apply to this release."""

    name: str
    passed: bool | None
    value: float | None
    bound: float | None
    detail: str


class EvaluationVerdict(_File):
    """evaluation.json: arms × metrics, the gates, and which arm ships.

    `by_category` is task success by category and arm; `differences` the paired ones, such as "hybrid-rag".
    """

    mode: Literal["hybrid", "rag-only"]
    arm: Literal["rag", "hybrid"]
    reason: str
    arms: dict[str, dict[str, Estimate]]
    by_category: dict[str, dict[str, Estimate]]
    differences: dict[str, Estimate] = Field(default_factory=dict)
    gates: list[GateResult]
    passed: bool
    index_content: str
    eval_loss: dict[str, float]
