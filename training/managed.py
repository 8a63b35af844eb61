"""The managed path: the same accepted pairs, trained by a fine-tuning service instead of on this machine.

Everything that was done is in a journal keyed by the hash of the exported pairs and the settings: a run that was killed
anywhere goes on where it was, and never uploads or starts anything twice.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel

from contracts import paths
from contracts.errors import BusyError, DataError, ModelError, ParamsError
from contracts.files import content_hash, read_json, write_json, write_text
from contracts.pairs import Pair
from contracts.params import Managed, Params
from contracts.prompts import training_messages
from contracts.verdicts import ManagedRecord, TrainingAdvice, ValidationVerdict
from training.encode import read_pairs
from training.finetuning_api import ENDED, FAILED, Api, Job, pause, printable

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Export:
    """Accepted pairs of one behaviour as OpenAI-format chats, one JSON object a line."""

    behaviour: str
    train: str
    evaluation: str

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the two files."""
        return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in self.files.items()}

    @property
    def files(self) -> dict[str, str]:
        """Text by the name of the split; an empty evaluation split is no file."""
        return {name: text for name, text in (("train", self.train), ("eval", self.evaluation)) if text}

    def rows(self, name: str) -> int:
        """Chats in one of the two."""
        return self.files.get(name, "").count("\n")


class Journal(BaseModel):
    """What the server has of one submission: ids, empty until they are known. `told` is the last event shown."""

    training_file: str = ""
    validation_file: str = ""
    job: str = ""
    told: str = ""


def export(params: Params, behaviour: str) -> Export:
    """The accepted pairs as training shows them: system message, passages as served, the assistant's words.

    Raises:
        DataError: validation accepted none, the advice is not to train, or neither has run.
    """
    if reason := _against(params, behaviour):
        raise DataError(reason)
    folder, top_k = paths.VALIDATED / behaviour, params.retrieval.top_k
    splits = [read_pairs(folder / f"{name}.jsonl", top_k) for name in ("train", "eval")]
    return Export(behaviour, *("".join(_line(pair, params.assistant.system) for pair in rows) for rows in splits))


def _line(pair: Pair, system: str) -> str:
    messages = training_messages(pair.messages, pair.passages, system)
    return json.dumps({"messages": messages}, ensure_ascii=False) + "\n"


def _against(params: Params, behaviour: str) -> str:
    """Why these pairs are not to be trained, here or elsewhere; empty: nothing speaks against it."""
    verdict = ValidationVerdict.model_validate(read_json(paths.VERDICT))
    found = next((each for each in verdict.behaviours if each.behaviour == behaviour), None)
    if found is None or not found.train_rows or (found.verdict == "refused" and not params.training.force):
        return f"validation accepted no pairs for {behaviour}: {found.advice if found else 'run `freshtune retrain`'}"
    advice = paths.train_advice(behaviour)
    skip = TrainingAdvice.model_validate(read_json(advice)).skip if advice.is_file() else ""
    return f"{behaviour} is not to be trained: {skip} ({paths.ADVICE_VERDICT} says why)" if skip else ""


def write_export(made: Export, out: Path) -> list[Path]:
    """Write `train.jsonl` and, where pairs are held out, `eval.jsonl` into `out`."""
    for name, text in made.files.items():
        write_text(out / f"{name}.jsonl", text)
    return [out / f"{name}.jsonl" for name in made.files]


def submit(params: Params, behaviour: str, tell: Tell, wait: bool = True) -> Job:
    """Upload the pairs, start a job, follow it to its end, and record the name of the model it made.

    Run again after a crash, it goes on; run again after a job failed, it starts another one with the same files.

    Raises:
        ParamsError: `managed` is null, or its key is not set.
        DataError: as `export`.
        ModelError: the server refuses, cannot be asked, or the job failed.
        BusyError: another process follows the same job, or it took longer than managed.timeout_hours.
    """
    settings = _settings(params)
    made = export(params, behaviour)
    work = _work(params, settings, made)
    work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work / "lock", timeout=0), Api(settings) as api:
            journal = _journal(work)
            _upload(api, journal, work, made, tell)
            if not journal.job:
                journal.job = api.start(_body(params, settings, journal)).id
                _keep(journal, work)
            tell(f"job {printable(journal.job)} for {settings.model} at {settings.endpoint}")
            job = _follow(api, journal, work, settings, tell) if wait else api.job(journal.job)
            return _ended(job, params, settings, made, journal, work)
    except Timeout:
        raise BusyError(f"another process submits these pairs (it holds {work / 'lock'}): wait for it") from None


def status(params: Params, behaviour: str, tell: Tell) -> Job | None:
    """Ask once how the job of the present pairs and settings is; None when none was started from here.

    Raises:
        ParamsError, DataError, ModelError: as `submit`.
    """
    settings = _settings(params)
    made = export(params, behaviour)
    work = _work(params, settings, made)
    journal = _journal(work)
    if not journal.job:
        return None
    with Api(settings) as api:
        job = api.job(journal.job)
        for event in api.events(journal.job)[-10:]:
            tell(printable(event.message))
    return _ended(job, params, settings, made, journal, work)


def _settings(params: Params) -> Managed:
    if params.managed is None:
        raise ParamsError(
            "`managed` is null in params.yaml, so there is no service to train at: give it an endpoint and a model, such"
            " as {endpoint: https://api.openai.com/v1, model: gpt-4.1-nano-2025-04-14, api_key_env: OPENAI_API_KEY}"
        )
    return params.managed


def _hyperparameters(settings: Managed) -> dict[str, int | float]:
    """Those that params set; the server chooses the rest."""
    given = {
        "n_epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "learning_rate_multiplier": settings.learning_rate_multiplier,
    }
    return {name: value for name, value in given.items() if value is not None}


def _body(params: Params, settings: Managed, journal: Journal) -> dict[str, object]:
    body = {
        "model": settings.model,
        "training_file": journal.training_file,
        "validation_file": journal.validation_file,
        "hyperparameters": _hyperparameters(settings),
        "suffix": settings.suffix,
        "seed": params.seed,
    }
    return {name: value for name, value in body.items() if value not in ("", None, {})}


def _work(params: Params, settings: Managed, made: Export) -> Path:
    """The folder of this submission, named by all that decides its result."""
    decisive = [settings.endpoint, settings.model, _hyperparameters(settings), settings.suffix, params.seed]
    return paths.MANAGED / f"{made.behaviour}-{content_hash([decisive, made.hashes])[:16]}"


def _journal(work: Path) -> Journal:
    path = work / "journal.json"
    return Journal.model_validate(read_json(path)) if path.is_file() else Journal()


def _keep(journal: Journal, work: Path) -> None:
    write_json(work / "journal.json", journal.model_dump())


def _upload(api: Api, journal: Journal, work: Path, made: Export, tell: Tell) -> None:
    for name, field in (("train", "training_file"), ("eval", "validation_file")):
        if name in made.files and not getattr(journal, field):
            content = made.files[name].encode()
            setattr(journal, field, api.upload(f"freshtune-{work.name}.{name}.jsonl", content))
            _keep(journal, work)
            tell(f"{name}: {made.rows(name)} chats, {len(content) / 1000:,.0f} kB")


def _follow(api: Api, journal: Journal, work: Path, settings: Managed, tell: Tell) -> Job:
    """Ask until the job has ended; the pauses grow while nothing happens."""
    end = time.monotonic() + settings.timeout_hours * 3600
    before, quiet = "", 0
    while True:
        job = api.job(journal.job)
        asked = api.retry_after
        news = _tell_events(api, journal, work, tell)
        if job.status != before:
            tell(f"{printable(job.status)}")
        if job.status in ENDED:
            return job
        quiet = 0 if news or job.status != before else quiet + 1
        before = job.status
        wait = pause(settings.poll_seconds, quiet, asked)
        if time.monotonic() + wait > end:
            raise BusyError(
                f"job {journal.job} is still {job.status} after managed.timeout_hours ({settings.timeout_hours:g}):"
                " it goes on at the server; run the same command again to follow it, or raise that knob"
            )
        time.sleep(wait)


def _tell_events(api: Api, journal: Journal, work: Path, tell: Tell) -> bool:
    """Show the events since the last one shown, before or after a crash; whether there were any."""
    events = api.events(journal.job)
    known = [event.id for event in events]
    fresh = events[known.index(journal.told) + 1 :] if journal.told in known else events
    for event in fresh:
        tell(f"  {printable(event.message)}")
    if fresh:
        journal.told = fresh[-1].id
        _keep(journal, work)
    return bool(fresh)


def _ended(job: Job, params: Params, settings: Managed, made: Export, journal: Journal, work: Path) -> Job:
    """Record what a job made, or forget one that failed, so that the next run starts another."""
    if job.status in FAILED:
        _keep(journal.model_copy(update={"job": "", "told": ""}), work)
        raise ModelError(
            f"job {printable(job.id)} at {settings.endpoint} {job.status} ({printable(job.reason)}): correct that, then"
            " run `freshtune managed submit` again; it starts another job with the same files"
        )
    if job.status not in ENDED:
        return job
    if not job.fine_tuned_model:
        raise ModelError(f"job {printable(job.id)} succeeded, but {settings.endpoint} names no model: ask the service")
    record = ManagedRecord(
        behaviour=made.behaviour,
        endpoint=settings.endpoint,
        base_model=settings.model,
        fine_tuned_model=job.fine_tuned_model,
        job=job.id,
        train_rows=made.rows("train"),
        eval_rows=made.rows("eval"),
        train_hash=made.hashes["train"],
        eval_hash=made.hashes.get("eval", ""),
        hyperparameters=_hyperparameters(settings),
        seed=params.seed,
        trained_tokens=job.trained_tokens,
    )
    write_json(paths.managed_record(made.behaviour), record.model_dump())
    return job
