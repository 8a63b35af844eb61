"""`freshtune`: the front door. Thin: every command reads params.yaml, calls one function of a room, and prints."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from advisor.commands import app as advise_app
from contracts import paths
from contracts.errors import FreshtuneError, InputError
from contracts.files import read_json
from contracts.params import load_params
from flows.commands import data_app, hook_app, index_app
from training.commands import managed_app


def _quiet() -> None:
    """Keep what libraries tell their own developers out of a user's terminal and logs."""
    # torchao and bitsandbytes report at import which of their GPU kernels are missing.
    for noisy in ("torch.utils._pytree", "bitsandbytes", "bitsandbytes.backends.cpu.ops"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # bars are for terminals; a log gets lines


class Told(TyperGroup):
    """A mistake of the user's becomes a message and an exit code, Ctrl-C 130, in this command and all below it."""

    def invoke(self, ctx: Any) -> Any:
        _quiet()
        try:
            return super().invoke(ctx)
        except FreshtuneError as error:
            typer.secho(f"error: {error}", fg="red", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.secho("stopped; run the same command again to go on", fg="yellow", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=Told,
    help="Keep an assistant true (changing facts are retrieved) and in voice (behaviour is trained), and prove both.\n\n"
    "Commands run at the root of a project, the folder with params.yaml. Start with: freshtune retrain",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
for _name, _group in {
    "data": data_app,
    "index": index_app,
    "hook": hook_app,
    "advise": advise_app,
    "managed": managed_app,
}.items():
    app.add_typer(_group, name=_name)

Json = Annotated[bool, typer.Option("--json", help="Print everything as one JSON object, for machines.")]


@app.command()
def retrain(
    params_file: Annotated[
        Path | None, typer.Option("--params", help="Run another params file, as a project of its own.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="Where that project lies; by default below .freshtune/projects.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring everything up to date: snapshot, stale stages, report card.

    Rebuilds only what changed. Validated pairs become a model, documents an index, both together a Bento, and the four arms
    say whether it may ship. Stop it at any time; the next run goes on where it stopped.
    """
    if params_file:
        from flows.project import default_directory, project

        os.chdir(project(into or default_directory(params_file), params_file))
    from rich.console import Console

    from evaluation.report import print_card
    from flows.retrain import run

    report = run()
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False))
        return
    print_card(report, Console())
    if not report["ran"]:
        typer.echo("\nnothing changed since the last run: nothing was rebuilt")
    if params_file:
        typer.echo(f"\nthis project lies in {Path.cwd()}: type the commands above there")


@app.command()
def reindex(
    source: Annotated[str | None, typer.Option(help="Read this folder instead of documents.path.")] = None,
    store: Annotated[
        str | None, typer.Option(help="Fill this instead of retrieval.store: http(s)://host:port/index, or a folder.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Read this source alone (its name, or `documents`); the rest stays as it is. Repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    allow_mass_delete: Annotated[
        bool, typer.Option("--allow-mass-delete", help="Also when more than retrieval.max_delete_share would go.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring the live index up to the documents, at the cost of what changed. Trains nothing."""
    from dataclasses import asdict

    from flows.reindex import run, summary

    report = run(source, dry_run, allow_mass_delete, store, only=only)
    typer.echo(json.dumps(asdict(report), ensure_ascii=False) if as_json else summary(report))


@app.command()
def ask(question: Annotated[str, typer.Argument(help="What a customer would type.")], as_json: Json = False) -> None:
    """Ask the released assistant one question; prints the answer, its sources, and what it cost."""
    from assistant.release import open_release
    from serving.serve import released

    assistant = open_release(released(), paths.STORE if paths.STORE.is_dir() else None)
    if assistant.retriever:
        assistant.retriever.search(question, 1)  # loads the embedder, which the figures below are not about
    answer = assistant.answer(question)
    if as_json:
        typer.echo(answer.model_dump_json())
        return
    typer.echo(answer.text)
    if answer.sources:
        typer.echo()
    cited = {citation.number for citation in answer.citations}
    for source in answer.sources:
        mark = "*" if source.number in cited else " "
        date = f", {source.updated_at}" if source.updated_at else ""
        typer.echo(f"{mark}[{source.number}] {source.title} > {source.heading} ({source.document}{date})")
    timings = answer.timings
    typer.echo(
        f"\n{answer.route}, release {answer.release}: {timings.total:.0f} ms ({timings.retrieve:.0f} retrieval,"
        f" {timings.generate:.0f} generation), {answer.prompt_tokens} + {answer.answer_tokens} tokens,"
        f" confidence {answer.confidence:.2f}"
    )
    for problem in answer.problems:
        typer.secho(f"degraded: {problem}", fg="yellow")


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="Instead of serving.port.")] = None,
    host: Annotated[
        str | None, typer.Option(help="Instead of serving.host; beyond loopback a key is required.")
    ] = None,
) -> None:
    """Serve the released Bento: POST /answer, POST /stream, GET /health, a chat page at /. Ctrl-C ends it whole."""
    from serving.serve import serve as run

    run(load_params(), port=port, host=host)


@app.command()
def schedule(
    port: Annotated[int, typer.Option(help="Of the Prefect server, where one has to be started.")] = 4200,
) -> None:
    """Run the flows on the cron of params.yaml and on events until Ctrl-C, with a Prefect server and its UI."""
    from flows.schedule import run

    run(port)


@app.command()
def audit(
    source: Annotated[
        str | None, typer.Option(help="One entry of `sources`, `documents`, or any folder in git or under DVC.")
    ] = None,
    glob: Annotated[str, typer.Option(help="Which files, where --source is a folder.")] = "**/*.md",
    plot: Annotated[Path | None, typer.Option(help="Write when everything changed, as .svg or .html.")] = None,
    save_history: Annotated[
        Path | None, typer.Option(help="Write the past that was read as a file for documents.history.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Stable documents and all sections too.")] = False,
    as_json: Json = False,
) -> None:
    """How often does each document and section change? Hence: retrieve on which schedule, or stable enough to teach."""
    from rich.console import Console

    from flows.audit import judge
    from retrieval.audit_report import print_audit, write_plot

    verdict = judge(source, glob, save_history)
    if plot:
        write_plot(verdict, plot)
    if as_json:
        typer.echo(verdict.model_dump_json())
    else:
        print_audit(verdict, Console(), every)


@app.command()
def validate(
    files: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Files or globs: JSONL, JSON, CSV, Parquet, XLSX; or hub:ORG/NAME."),
    ],
    columns: Annotated[
        str, typer.Option(help="Your names for our columns: prompt=instruction,response=response.")
    ] = "",
    against: Annotated[
        Path | None, typer.Option(help="Documents whose facts may not be taught, or the audit.json of a project.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Count tokens as this model does; by default models/base, where it is.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write train, eval, quarantine and Data Docs into this folder.")
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Write PATH.fixed.jsonl with what is teachable, repaired where that is safe.")
    ] = False,
    as_json: Json = False,
) -> None:
    """May these pairs be taught? Works on any files; at a project's root its `validation` settings count.

    Exits with 0 when the pairs are ready or limited, 1 when they are refused, 2 when the input is bad.
    """
    from flows.check import settings_and_sides
    from validation import check, report

    settings, sides, seed = settings_and_sides(against, base)
    judged = check.check(files, check.parse_columns(columns), settings, sides, seed)
    if out:
        check.write_out(judged, out)
    fixed = check.write_repaired(judged, settings, sides, seed) if fix else {}
    if as_json:
        typer.echo(json.dumps(check.as_json(judged, fixed), ensure_ascii=False))
    else:
        report.print_summary(check.as_verdict(judged), str(out) if out else "")
        for file, rows in fixed.items():
            typer.echo(f"  {rows} rows that may be taught: {file}")
    if judged.verdict.verdict == "refused":
        raise typer.Exit(1)


@app.command()
def export(
    kind: Annotated[Literal["bfloat16", "nf4", "gguf"], typer.Argument(help="gguf needs llama.cpp's converter.")],
    behaviour: Annotated[str | None, typer.Option(help="Instead of `assistant.behaviour`.")] = None,
    out: Annotated[Path | None, typer.Option(help="Instead of models/exports/BEHAVIOUR/KIND.")] = None,
    as_json: Json = False,
) -> None:
    """Write the merged model in another format, read it back, and compare it with the original on held-out pairs."""
    from training.stages import export as written

    params = load_params()
    record = written(params, behaviour or params.assistant.behaviour, kind, out)
    if as_json:
        typer.echo(record.model_dump_json())
        return
    typer.echo(
        f"{kind}: {record.bytes / 2**20:.0f} MiB; argmax equal on {record.argmax_agreement:.1%} of the places,"
        f" perplexity {record.perplexity:.3f} (merged {record.perplexity_merged:.3f})"
    )


@app.command()
def status(as_json: Json = False) -> None:
    """Say what is stale and why, which release stands, and how it did."""
    from flows import graph
    from flows.retrain import forced, prepare

    prepare()
    stale = graph.stale() | {name: [reason] for name, reason in forced().items()}
    receipt = read_json(paths.RECEIPT) if paths.RECEIPT.is_file() else None
    if as_json:
        typer.echo(json.dumps({"stale": stale, "release": receipt}, ensure_ascii=False))
        return
    for name in graph.stages():
        typer.echo(f"{name:16}{'; '.join(stale[name]) if name in stale else 'up to date'}")
    if receipt is None:
        typer.echo("no release yet: run `freshtune retrain`")
    elif receipt["blocked"]:
        typer.echo(f"the last release was blocked: {receipt['blocked']}")
    else:
        typer.echo(f"release {receipt['tag']} ({receipt['mode']})")


@app.command()
def profile(
    name: Annotated[str | None, typer.Argument(help="One of them; without it they are listed.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write its values into params.yaml; comments stay.")] = False,
    as_json: Json = False,
) -> None:
    """Params for a kind of machine: list the profiles, show what one would change and why, apply it."""
    from dataclasses import asdict

    from flows import profiles

    if name is None:
        if apply:
            raise InputError(f"--apply is given without a profile: name one of {', '.join(profiles.available())}")
        found = profiles.available()
        width = max(map(len, found))
        text = "\n".join(f"{each:{width}}  {told}" for each, told in found.items())
        typer.echo(json.dumps(found, ensure_ascii=False) if as_json else text)
        return
    changes = profiles.apply(name) if apply else profiles.difference(name)
    if as_json:
        rows = [asdict(change) for change in changes]
        typer.echo(json.dumps({"profile": name, "applied": apply, "changes": rows}, ensure_ascii=False))
        return
    if not apply:
        typer.echo(profiles.head(name) + "\n")
    typer.echo(profiles.table(changes) or f"params.yaml already says all that {name} says")
    if changes:
        typer.echo(
            "\nwritten to params.yaml" if apply else f"\n`freshtune profile {name} --apply` writes this to params.yaml"
        )


@app.command(hidden=True)
def stage(
    name: Annotated[str, typer.Argument(help="A stage of dvc.yaml, without its @behaviour.")],
    behaviour: Annotated[str | None, typer.Option(help="For the stages that run once for each.")] = None,
) -> None:
    """Run one stage in this process. dvc.yaml calls this; people type `dvc repro` or `freshtune retrain`."""
    from flows.inputs import require_watched

    params = load_params()
    require_watched(params)
    match name:
        case "base":
            from training.stages import base

            base(params)
        case "audit":
            from retrieval.stages import audit

            audit(params)
        case "validate":
            from validation.stages import validate

            validate(params)
        case "advise":
            from advisor.stages import advise

            advise(params)
        case "train" | "merge":
            import training.stages

            if behaviour not in params.behaviours:
                raise typer.BadParameter(f"--behaviour must be one of {', '.join(params.behaviours)}")
            getattr(training.stages, name)(params, behaviour)
        case "index":
            from retrieval.stages import index

            index(params)
        case "evaluate":
            from evaluation.stages import evaluate

            evaluate(params)
        case "package":
            from serving.stages import package

            package(params)
        case _:
            raise typer.BadParameter(f"{name} is no stage: see dvc.yaml")


if __name__ == "__main__":
    sys.exit(app())
