"""Where things lie in a project directory. All relative: every command runs at the project's root."""

from pathlib import Path

PARAMS = Path("params.yaml")

# Outputs of dvc.yaml's stages.
MODELS = Path("models")
BASE = MODELS / "base"
ADAPTERS = MODELS / "adapters"
MERGED = MODELS / "merged"
EXPORTS = MODELS / "exports"  # asked for by hand: no output of a stage
VALIDATED = Path("data/validated")
REPORTS = Path("reports")
AUDIT = REPORTS / "audit.json"
VALIDATION = REPORTS / "validation"
VERDICT = VALIDATION / "verdict.json"
ADVICE = REPORTS / "advice"
ADVICE_VERDICT = ADVICE / "advice.json"
INDEX = REPORTS / "index.json"
EVALUATION = REPORTS / "evaluation"
RECEIPT = REPORTS / "package.json"

# Written by the retrain flow, from the outputs above.
REPORT_JSON = REPORTS / "report.json"
REPORT_HTML = REPORTS / "report.html"

# Live state that DVC must not own: stores, caches, checkpoints, locks. Ignored by git.
STATE = Path(".freshtune")
STORE = STATE / "lancedb"
EMBEDDINGS = STATE / "embeddings"
MANIFESTS = STATE / "manifests"
CHECKPOINTS = STATE / "checkpoints"
MANAGED = STATE / "managed"
LOCK = STATE / "writer.lock"
RUNS = STATE / "runs"
RELEASED = STATE / "released.json"  # what the last release measured, for the advice of the next run


def adapter(behaviour: str) -> Path:
    """The adapter of one behaviour, with training.json beside the weights."""
    return ADAPTERS / behaviour


def merged(behaviour: str) -> Path:
    """The merged model of one behaviour, with merge.json beside the weights."""
    return MERGED / behaviour


def managed_record(behaviour: str) -> Path:
    """What a fine-tuning service made of one behaviour's pairs: the name of its model, and what went in."""
    return REPORTS / "managed" / f"{behaviour}.json"


def train_advice(behaviour: str) -> Path:
    """Whether one behaviour is to be trained: apart from the advice, so that its figures make no training stale."""
    return ADVICE / "train" / f"{behaviour}.json"


def examples(behaviour: str) -> Path:
    """The teachable pairs that serve as few-shot examples where no model is tuned."""
    return VALIDATION / "examples" / f"{behaviour}.jsonl"
