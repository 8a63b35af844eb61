"""A release directory, put together from what the stages of a project wrote.

    release/
    ├── release.json    the manifest: what is pinned, and the SHA-256 of every other file
    ├── settings.json   the params that the assistant and the service read
    ├── model/          the merged model, or the base model when training was refused
    └── index/          a snapshot of the LanceDB store, with the content that was evaluated; none of a Weaviate

Nothing in it knows the machine or the folder that it was made in.
"""

import os
import shutil
from pathlib import Path

from assistant.release import pick_examples
from contracts import paths
from contracts.documents import Fingerprint
from contracts.errors import ReleaseError
from contracts.files import content_hash, file_hash, read_json, tree_hashes, write_json
from contracts.params import Params
from contracts.release import MANIFEST, Release
from contracts.verdicts import EvaluationVerdict, IndexRecord, MergeRecord
from retrieval.index import published_record
from retrieval.store import writer_lock


def assemble(params: Params, verdict: EvaluationVerdict, out: Path, code: str) -> Release:
    """Write the release that `verdict` proved to the new directory `out`.

    The id follows from what decides an answer (model, settings, index content, prompts, and `code`, a hash of the
    program that will serve it), so the same release has the same id whenever and wherever it is put together. A
    snapshot of the index has other bytes each time it is written: its content hash stands for it.

    Raises:
        ReleaseError: the model is missing, or the index is not the one that was evaluated.
        BusyError: a reindex is writing to the store.
        StoreError: the store cannot be read.
    """
    index = IndexRecord.model_validate(read_json(paths.INDEX))
    if verdict.index_content != index.content:
        raise ReleaseError(
            f"{paths.EVALUATION} judged index {verdict.index_content[:12]}, but {paths.INDEX} is {index.content[:12]}:"
            " run `dvc repro evaluate`, then package again"
        )
    behaviour = params.assistant.behaviour
    _write_model(verdict, behaviour, out / "model")
    _snapshot_index(params, index, out / "index")
    write_json(out / "settings.json", settings(params))
    files = tree_hashes(out)
    release = Release(
        id="",
        project=params.project,
        mode=verdict.mode,
        reason=verdict.reason,
        behaviour=behaviour,
        base_model=params.base_model,
        base_revision=str(read_json(paths.BASE / "source.json")["revision"]),
        data_hash=content_hash(tree_hashes(paths.VALIDATED / behaviour)),
        params_hash=file_hash(paths.PARAMS),
        fingerprint=Fingerprint.model_validate(index.fingerprint),
        index_content=index.content,
        system=params.assistant.system,
        examples=pick_examples(params) if verdict.mode == "rag-only" else [],  # a tuned model needs none
        snapshot=os.environ.get("FRESHTUNE_SNAPSHOT", ""),
        task_success=verdict.arms[verdict.arm]["task_success"].mean,
        files=files,
    )
    pinned = release.model_dump(
        mode="json", exclude={"id", "files", "params_hash", "snapshot", "task_success", "reason"}
    )
    stable = {name: digest for name, digest in files.items() if not name.startswith("index/")}
    release.id = content_hash([pinned, stable, code])[:12]
    write_json(out / MANIFEST, release.model_dump(mode="json"))
    return release


def settings(params: Params) -> dict[str, object]:
    """The part of params.yaml that travels: no path, address or schedule of the project."""
    return {
        "project": params.project,
        "dtype": params.dtype,
        "assistant": params.assistant.model_dump(mode="json"),
        "retrieval": params.retrieval.model_dump(mode="json"),
        "serving": params.serving.model_dump(mode="json", include={"api_key_env", "timeout_seconds"}),
    }


def _write_model(verdict: EvaluationVerdict, behaviour: str, out: Path) -> None:
    source = paths.BASE
    if verdict.mode == "hybrid":
        source = paths.merged(behaviour)
        record = MergeRecord.model_validate(read_json(source / "merge.json"))
        if record.skipped:
            raise ReleaseError(
                f"{source} holds no model ({record.skipped}), but a hybrid was evaluated: run `dvc repro`"
            )
    if not any(source.glob("*.safetensors")):
        raise ReleaseError(f"{source} holds no *.safetensors: run `dvc repro` to make the model again")
    for file in (p for p in source.rglob("*") if p.is_file()):
        target = out / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(file.resolve(), target)


def _link(source: Path, target: Path) -> None:
    """Hard-link half a gigabyte where the file system can, copy it where it cannot."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _snapshot_index(params: Params, index: IndexRecord, out: Path) -> None:
    """Copy the store; of a server the release holds the address alone, which stands in settings.json."""
    if not params.retrieval.on_server:
        if not paths.STORE.is_dir():
            raise ReleaseError(f"{paths.STORE} is missing: run `freshtune reindex` to fill the live store")
        with writer_lock(paths.STORE):
            shutil.copytree(paths.STORE, out)
    # The copy is asked, record by record, not the store: it is what will answer.
    content = published_record(params.retrieval, out).content
    if content != index.content:
        raise ReleaseError(
            f"the live store holds index {content[:12]}, but {index.content[:12]} was evaluated:"
            " run `dvc repro --force index`"
        )
