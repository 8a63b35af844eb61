"""`freshtune data | index | hook`: data under DVC, the live index, and git hooks."""

import json
from pathlib import Path
from typing import Annotated

import typer

from contracts.errors import StoreError
from contracts.params import load_params

data_app = typer.Typer(
    help="Data under DVC, and the way back to what an earlier run was made of.", no_args_is_help=True
)
index_app = typer.Typer(help="The live index: is it what was published, and the way back.", no_args_is_help=True)
hook_app = typer.Typer(help="Git hooks that reindex in the background when documents changed.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print everything as one JSON object, for machines.")]


@index_app.command("verify")
def index_verify(
    repair: Annotated[bool, typer.Option("--repair", help="Write anew what is not as it was published.")] = False,
    as_json: Json = False,
) -> None:
    """Read every stored chunk back, and compare it with what was published. Drift ends with exit code 2."""
    from dataclasses import asdict

    from retrieval.prove import verify
    from retrieval.store import open_store

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
def index_rollback() -> None:
    """Lead readers back to the generation before the published one. The next reindex goes forward again."""
    from retrieval.index import rollback

    back = rollback(load_params().retrieval)
    typer.echo(
        f"readers see generation {back.generation} again (content {back.content[:12]}); the next `freshtune reindex`"
        " follows the documents, so mend those first"
    )


@hook_app.command("install")
def hook_install() -> None:
    """Write post-commit and post-merge hooks for this project. Hooks of others are never overwritten."""
    from flows.hook import LOG, install

    typer.echo(f"wrote {', '.join(map(str, install()))}; what they do is told in {LOG}")


@hook_app.command("remove")
def hook_remove() -> None:
    """Delete the hooks that `install` wrote."""
    from flows.hook import remove

    typer.echo(f"removed {', '.join(map(str, remove())) or 'nothing: there is none of ours'}")


@hook_app.command("fire", hidden=True)
def hook_fire(name: Annotated[str, typer.Argument(help="post-commit or post-merge.")]) -> None:
    """What the hooks call."""
    from flows.hook import BEFORE, fire

    if name not in BEFORE:
        raise typer.BadParameter(f"{name} must be one of {', '.join(BEFORE)}")
    typer.echo(fire(name))


@data_app.command("add")
def data_add(path: Annotated[Path, typer.Argument(help="A file or folder that git does not track.")]) -> None:
    """Put data under DVC; leaves a pointer (PATH.dvc) for git."""
    from flows.data import add

    pointer = add(path)
    typer.echo(f"{path} is under DVC; commit its pointer: git add {pointer}")


@data_app.command("log")
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
def data_push(remote: Annotated[str, typer.Option(help="Instead of DVC's default remote.")] = "") -> None:
    """Send what is under DVC to a remote."""
    from flows.data import push

    typer.echo(push(remote))


@data_app.command("pull")
def data_pull(remote: Annotated[str, typer.Option(help="Instead of DVC's default remote.")] = "") -> None:
    """Fetch what is under DVC from a remote."""
    from flows.data import pull

    typer.echo(pull(remote))
