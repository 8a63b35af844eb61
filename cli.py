"""`freshtune`: the front door. Thin: every command reads params.yaml, calls one function of a room, and prints."""

import json
import logging
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Literal, ParamSpec, TypeVar

import typer

from advisor.commands import app as advise_app
from contracts import paths
from contracts.errors import FreshtuneError, InputError, StoreError
from contracts.files import read_json
from contracts.params import load_params
from training.commands import managed_app

app = typer.Typer(
    help="Keep an assistant true (changing facts are retrieved) and in voice (behaviour is trained), and prove both.\n\n"
    "Commands run at the root of a project, the folder with params.yaml. Start with: freshtune retrain",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(
    help="Data under DVC, and the way back to what an earlier run was made of.", no_args_is_help=True
)
app.add_typer(data_app, name="data")
app.add_typer(advise_app, name="advise")
index_app = typer.Typer(help="The live index: is it what was published, and the way back.", no_args_is_help=True)
app.add_typer(index_app, name="index")
app.add_typer(managed_app, name="managed")
hook_app = typer.Typer(help="Git hooks that reindex in the background when documents changed.", no_args_is_help=True)
app.add_typer(hook_app, name="hook")

P = ParamSpec("P")
R = TypeVar("R")
Json = Annotated[bool, typer.Option("--json", help="Print everything as one JSON object, for machines.")]


def _told(command: Callable[P, R]) -> Callable[P, R]:
    """A mistake of the user's becomes a message and an exit code; Ctrl-C becomes 130."""

    @wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except FreshtuneError as error:
            typer.secho(f"error: {error}", fg="red", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.secho("stopped; run the same command again to go on", fg="yellow", err=True)
            raise typer.Exit(130) from None

    return told


for _command in advise_app.registered_commands + managed_app.registered_commands:  # a room knows nothing of exit codes
    assert _command.callback
    _command.callback = _told(_command.callback)


def _quiet() -> None:
    """Keep what libraries tell their own developers out of a user's terminal and logs."""
    # torchao and bitsandbytes report at import which of their GPU kernels are missing.
    for noisy in ("torch.utils._pytree", "bitsandbytes", "bitsandbytes.backends.cpu.ops"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # bars are for terminals; a log gets lines


@app.command()
@_told
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
@_told
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
@_told
def ask(question: Annotated[str, typer.Argument(help="What a customer would type.")], as_json: Json = False) -> None:
    """Ask the released assistant one question; prints the answer, its sources, and what it cost."""
    _quiet()
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
@_told
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
@_told
def schedule(
    port: Annotated[int, typer.Option(help="Of the Prefect server, where one has to be started.")] = 4200,
) -> None:
    """Run the flows on the cron of params.yaml and on events until Ctrl-C, with a Prefect server and its UI."""
    from flows.schedule import run

    run(port)


@app.command()
@_told
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
@_told
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
    _quiet()
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
@_told
def export(
    kind: Annotated[Literal["bfloat16", "nf4", "gguf"], typer.Argument(help="gguf needs llama.cpp's converter.")],
    behaviour: Annotated[str | None, typer.Option(help="Instead of `assistant.behaviour`.")] = None,
    out: Annotated[Path | None, typer.Option(help="Instead of models/exports/BEHAVIOUR/KIND.")] = None,
    as_json: Json = False,
) -> None:
    """Write the merged model in another format, read it back, and compare it with the original on held-out pairs."""
    _quiet()
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
@_told
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
@_told
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
@_told
def stage(
    name: Annotated[str, typer.Argument(help="A stage of dvc.yaml, without its @behaviour.")],
    behaviour: Annotated[str | None, typer.Option(help="For the stages that run once for each.")] = None,
) -> None:
    """Run one stage in this process. dvc.yaml calls this; people type `dvc repro` or `freshtune retrain`."""
    _quiet()
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


@index_app.command("verify")
@_told
def index_verify(
    repair: Annotated[bool, typer.Option("--repair", help="Write anew what is not as it was published.")] = False,
    as_json: Json = False,
) -> None:
    """Read every stored chunk back, and compare it with what was published. Drift ends with exit code 2."""
    from dataclasses import asdict

    from retrieval.prove import verify
    from retrieval.store import open_store

    _quiet()
    store = open_store(load_params().retrieval)
    found = verify(store)
    if repair and not found.holds:
        from flows.reindex import run, summary

        typer.echo(summary(run(repair=True)), err=as_json)
        found = verify(store)
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
    if found.wrong:
        more = " …" if len(found.wrong) > 5 else ""
        raise StoreError(
            f"{store.place} holds something else than was published for {len(found.wrong)} documents"
            f" ({', '.join(found.wrong[:5])}{more}): mend them with `freshtune index verify --repair`"
        )
    if not found.holds:
        raise StoreError(
            f"{store.place} finds only {found.recall:.0%} of its own chunks: build it anew under other settings, or"
            " delete it and run `freshtune reindex`"
        )
    if not as_json:
        typer.echo(
            f"generation {found.generation} in {store.place}: {found.documents} documents, {found.chunks} chunks, all as"
            f" published; sampled recall {found.recall:.2f}"
        )


@index_app.command("rollback")
@_told
def index_rollback() -> None:
    """Lead readers back to the generation before the published one. The next reindex goes forward again."""
    from retrieval.index import rollback

    back = rollback(load_params().retrieval)
    typer.echo(
        f"readers see generation {back.generation} again (content {back.content[:12]}); the next `freshtune reindex`"
        " follows the documents, so mend those first"
    )


@hook_app.command("install")
@_told
def hook_install() -> None:
    """Write post-commit and post-merge hooks for this project. Hooks of others are never overwritten."""
    from flows.hook import LOG, install

    typer.echo(f"wrote {', '.join(map(str, install()))}; what they do is told in {LOG}")


@hook_app.command("remove")
@_told
def hook_remove() -> None:
    """Delete the hooks that `install` wrote."""
    from flows.hook import remove

    typer.echo(f"removed {', '.join(map(str, remove())) or 'nothing: there is none of ours'}")


@hook_app.command("fire", hidden=True)
@_told
def hook_fire(name: Annotated[str, typer.Argument(help="post-commit or post-merge.")]) -> None:
    """What the hooks call."""
    from flows.hook import BEFORE, fire

    if name not in BEFORE:
        raise typer.BadParameter(f"{name} must be one of {', '.join(BEFORE)}")
    typer.echo(fire(name))


@data_app.command("add")
@_told
def data_add(path: Annotated[Path, typer.Argument(help="A file or folder that git does not track.")]) -> None:
    """Put data under DVC; leaves a pointer (PATH.dvc) for git."""
    from flows.data import add

    pointer = add(path)
    typer.echo(f"{path} is under DVC; commit its pointer: git add {pointer}")


@data_app.command("log")
@_told
def data_log(as_json: Json = False) -> None:
    """List the snapshots of runs, the latest first, with what changed before each."""
    from dataclasses import asdict

    from flows.snapshot import log

    snapshots = log()
    if as_json:
        typer.echo(json.dumps([asdict(snapshot) for snapshot in snapshots], ensure_ascii=False))
        return
    for snapshot in snapshots:
        typer.echo(f"{snapshot.run}  {snapshot.commit[:12]}  {snapshot.made_at}")
        for note in snapshot.notes:
            typer.echo(f"    {note}")
    if not snapshots:
        typer.echo("no snapshots yet: `freshtune retrain` makes one before and after each run")


@data_app.command("restore")
@_told
def data_restore(
    run: Annotated[str, typer.Argument(help="A run of `freshtune data log`, or `latest`.")],
    wanted: Annotated[
        list[str] | None, typer.Argument(help="Paths to bring back; without any: data and params.yaml.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also over files with changes that git does not hold.")
    ] = False,
) -> None:
    """Bring the data and params of an earlier run back; the present state is snapshotted first."""
    from flows.data import restore

    restored = restore(run, wanted or (), force)
    typer.echo(
        f"restored from {restored.run}: {len(restored.written)} files written, {len(restored.removed)} removed;"
        f" what stood here before is snapshot {restored.kept}"
    )


@data_app.command("push")
@_told
def data_push(remote: Annotated[str, typer.Option(help="Instead of DVC's default remote.")] = "") -> None:
    """Send what is under DVC to a remote."""
    from flows.data import push

    typer.echo(push(remote))


@data_app.command("pull")
@_told
def data_pull(remote: Annotated[str, typer.Option(help="Instead of DVC's default remote.")] = "") -> None:
    """Fetch what is under DVC from a remote."""
    from flows.data import pull

    typer.echo(pull(remote))


if __name__ == "__main__":
    sys.exit(app())
