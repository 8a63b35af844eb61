"""`freshtune managed`: the accepted pairs as files, at a fine-tuning service, and how far it is."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

managed_app = typer.Typer(
    help="Have a fine-tuning service train the accepted pairs, instead of this machine. Knobs: `managed` in params.yaml.",
    no_args_is_help=True,
)

Behaviour = Annotated[str | None, typer.Option(help="One of behaviours; by default assistant.behaviour.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object, for machines.")]


@managed_app.command("export")
def export(
    behaviour: Behaviour = None,
    out: Annotated[Path | None, typer.Option(help="The folder for the files; by default below .freshtune.")] = None,
    as_json: Json = False,
) -> None:
    """Write the accepted pairs as OpenAI-format chats: train.jsonl and eval.jsonl. Sends nothing."""
    from contracts import paths
    from training import managed

    params, name = _chosen(behaviour)
    made = managed.export(params, name)
    written = managed.write_export(made, out or paths.MANAGED / "export" / name)
    if as_json:
        _print_json({"files": [str(path) for path in written], "sha256": made.hashes})
        return
    for path in written:
        typer.echo(f"{path}: {made.rows(path.stem)} chats")


@managed_app.command("submit")
def submit(
    behaviour: Behaviour = None,
    wait: Annotated[bool, typer.Option(help="Follow the job to its end, or return once it is started.")] = True,
    as_json: Json = False,
) -> None:
    """Upload the pairs, start a job, follow it to its end. Stopped or killed, run it again: it goes on."""
    from training import managed

    params, name = _chosen(behaviour)
    _print_job(managed.submit(params, name, _progress(as_json), wait), name, as_json)


@managed_app.command("status")
def status(behaviour: Behaviour = None, as_json: Json = False) -> None:
    """Ask once how the job of the present pairs and settings is."""
    from training import managed

    params, name = _chosen(behaviour)
    job = managed.status(params, name, _progress(as_json))
    if job:
        _print_job(job, name, as_json)
    elif as_json:
        _print_json({"job": None})
    else:
        typer.echo("these pairs were not submitted with these settings: run `freshtune managed submit`")


def _chosen(behaviour: str | None) -> tuple[Any, str]:
    from contracts.errors import InputError
    from contracts.params import load_params

    params = load_params()
    name = behaviour or params.assistant.behaviour
    if name not in params.behaviours:
        raise InputError(
            f"--behaviour is {name}, which params.yaml does not list: one of {', '.join(params.behaviours)}"
        )
    return params, name


def _progress(as_json: bool) -> Any:
    return lambda line: typer.echo(line, err=as_json)


def _print_job(job: Any, behaviour: str, as_json: bool) -> None:
    from contracts import paths

    if as_json:
        _print_json({"job": job.id, "status": job.status, "model": job.fine_tuned_model})
    elif job.fine_tuned_model:
        typer.echo(f"model {job.fine_tuned_model}; recorded in {paths.managed_record(behaviour)}")
    else:
        typer.echo(f"job {job.id} is {job.status}; `freshtune managed submit` follows it to its end")


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))
