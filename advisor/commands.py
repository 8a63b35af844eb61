"""`freshtune advise`: each command reads its flags, calls one pure function, and prints. Needs no model, no project."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

app = typer.Typer(
    help="RAG, fine-tuning, or both? Rules with their reasons and costs, from flags or from this project's evidence.",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print everything as one JSON object, for machines.")]
Queries = Annotated[str, typer.Option("--monthly-queries", help="Such as 100000, 100k.")]
Latency = Annotated[str, typer.Option("--latency-requirement", help="Such as 50ms, 2s, none.")]
Examples = Annotated[str, typer.Option("--training-data", help='Good examples, such as 200, "200 examples", 1.5k.')]
Price = Annotated[
    list[str] | None,
    typer.Option("--price", help="NAME=DOLLARS instead of a figure of advisor/prices.yaml; repeatable."),
]


@app.command()
def analyze(
    knowledge_changes: Annotated[str, typer.Option(help="Such as daily, bi-weekly, every 3 days, never.")] = "never",
    needs_citations: Annotated[str, typer.Option(help="Must answers name their source? yes or no.")] = "no",
    style_requirements: Annotated[str, typer.Option(help="low, medium or high.")] = "low",
    training_data: Examples = "none",
    latency_requirement: Latency = "none",
    monthly_queries: Queries = "10k",
    price: Price = None,
    as_json: Json = False,
) -> None:
    """Recommend from flags; one that is left out speaks for nothing."""
    from advisor import inputs as read
    from advisor import text
    from advisor.prices import cost
    from advisor.rules import advise, flips

    given = read.Inputs(
        changes=read.read_pace("--knowledge-changes", knowledge_changes),
        citations=read.read_yes("--needs-citations", needs_citations),
        style=read.read_style("--style-requirements", style_requirements),
        examples=read.read_count("--training-data", training_data),
        latency=read.read_duration("--latency-requirement", latency_requirement),
        queries=read.read_count("--monthly-queries", monthly_queries),
    )
    prices = _prices(price)
    advice, changes = advise(given), flips(given)
    spent = cost(advice.retrieve, advice.train, given.queries, prices)
    if as_json:
        _print_json(
            {
                "inputs": {
                    "knowledge_changes": read.pace(given.changes),
                    "needs_citations": given.citations,
                    "style_requirements": given.style,
                    "training_data": given.examples,
                    "latency_requirement_seconds": given.latency,
                    "monthly_queries": given.queries,
                },
                **asdict(advice),
                "monthly_cost": spent.monthly | {"total": spent.total},
                "one_time_cost": spent.one_time,
                "flips": [flip.model_dump() for flip in changes],
                "prices": prices.model_dump(),
            }
        )
        return
    typer.echo(
        text.analysis(advice.recommendation, advice.reasoning, advice.warnings, spent.monthly, spent.one_time, changes),
        nl=False,
    )


@app.command()
def checklist(
    answers: Annotated[
        str | None, typer.Option(help='y or n to the nine questions in order: "n n y y y y n y n", or nnyyyynyn.')
    ] = None,
    ready: Annotated[str | None, typer.Option(help="y or n to the ten points before fine-tuning, in order.")] = None,
    as_json: Json = False,
) -> None:
    """Go through nine questions to a tier, and through ten points before fine-tuning.

    Asks on a terminal. Without one, or to read it first, it prints the lists; flags answer them.
    """
    from advisor import checklist as lists
    from advisor import text
    from contracts.errors import InputError

    ten = lists.read_answers("--ready", ready, len(lists.POINTS)) if ready is not None else None
    asks = answers is None and not as_json and sys.stdin.isatty() and sys.stdout.isatty()
    if answers is not None:
        nine = lists.read_answers("--answers", answers, len(lists.QUESTIONS))
    elif asks:
        nine = _asked(question.text for question in lists.QUESTIONS)
        typer.echo()
    elif ready is not None:
        raise InputError(
            "--ready is given without --answers: which points count depends on where those lead, so add them"
        )
    elif as_json:
        return _print_json({"questions": [asdict(question) for question in lists.QUESTIONS], "points": lists.POINTS})
    else:
        return typer.echo(text.questions(), nl=False)

    found = lists.tier(nine)
    if not as_json:
        typer.echo(text.tier(found), nl=False)
    if asks and ten is None and found.recommendation != lists.RAG:
        typer.echo()
        ten = _asked(f"{point}?" for point in lists.POINTS)
    still = None if ten is None else lists.missing(ten, found.recommendation)
    if as_json:
        _print_json(asdict(found) | {"answers": nine, "ready": ten, "open": still})
    elif still is not None:
        typer.echo("\n" + text.points(still, found.recommendation), nl=False)


def _asked(texts: Iterable[str]) -> list[bool]:
    return [typer.confirm(f"{n}. {text}") for n, text in enumerate(texts, start=1)]


@app.command()
def compare(
    monthly_queries: Queries = "10k",
    months: Annotated[int, typer.Option(min=1, max=120, help="How far to look.")] = 24,
    svg: Annotated[Path | None, typer.Option(help="Write the plot to this file, too.")] = None,
    price: Price = None,
    as_json: Json = False,
) -> None:
    """Compare RAG, fine-tuned and hybrid over time: build, API, hosting, work, break-even points, a plot."""
    from itertools import combinations

    from advisor import text
    from advisor.compare import break_even, options
    from advisor.inputs import read_count
    from advisor.plot import svg_plot
    from contracts.errors import InputError
    from contracts.files import write_text

    queries, prices = read_count("--monthly-queries", monthly_queries), _prices(price)
    four = options(prices)
    if svg:
        try:
            write_text(svg, svg_plot(four, months, queries))
        except OSError as error:
            raise InputError(f"--svg {svg} cannot be written ({error.strerror}): name another file") from None
    if as_json:
        _print_json(
            {
                "months": months,
                "monthly_queries": queries,
                "options": [
                    {"name": o.name, **o.parts(months, queries), "total": o.spent(months, queries),
                     "monthly": o.monthly(queries), "spent": [o.spent(month, queries) for month in range(months + 1)]}
                    for o in four
                ],
                "break_even": [asdict(break_even(a, b, months, queries)) for a, b in combinations(four, 2)],
                "prices": prices.model_dump(),
            }
        )  # fmt: skip
        return
    typer.echo(text.comparison(four, months, queries, prices.dated), nl=False)
    if svg:
        typer.echo(f"\nthe plot is in {svg}")


@app.command()
def signals(
    data_freshness: Annotated[str, typer.Option(help="How often it changes: daily, every 3 days, yearly.")],
    knowledge: Annotated[Literal["facts", "style", "both"], typer.Option(help="What the model lacks.")],
    training_data: Examples,
    latency_requirement: Latency,
    infrastructure: Annotated[
        Literal["vector-store", "gpu", "both", "neither"], typer.Option(help="What there is to run on.")
    ],
    audit: Annotated[Literal["sources", "behaviour", "both", "neither"], typer.Option(help="What must be shown.")],
    as_json: Json = False,
) -> None:
    """Score six signals, each for retrieval or for training."""
    from advisor import inputs as read
    from advisor import text
    from advisor.signals import Side, score

    sides: dict[str, Side] = {
        "facts": "retrieval",
        "style": "training",
        "vector-store": "retrieval",
        "gpu": "training",
        "sources": "retrieval",
        "behaviour": "training",
        "both": "both",
        "neither": "neither",
    }
    found = score(
        read.read_pace("--data-freshness", data_freshness),
        sides[knowledge],
        read.read_count("--training-data", training_data),
        read.read_duration("--latency-requirement", latency_requirement),
        sides[infrastructure],
        sides[audit],
    )
    if as_json:
        _print_json(asdict(found))
    else:
        typer.echo(text.signals(found), nl=False)


@app.command()
def project(as_json: Json = False) -> None:
    """Recommend from what this project measured, and say what becomes of training.

    Reads the audit, the validation, params.yaml, and what the last release measured.
    """
    from advisor import text
    from advisor.project import advise_project
    from contracts.params import load_params

    verdict = advise_project(load_params())
    if as_json:
        _print_json(verdict.model_dump())
    else:
        typer.echo("\n".join(text.project(each) for each in verdict.behaviours), nl=False)


def _prices(given: list[str] | None) -> Any:
    from advisor.prices import load_prices
    from contracts.errors import InputError

    pairs = [text.partition("=") for text in given or []]
    if wrong := next((name for name, sign, _ in pairs if not sign), None):
        raise InputError(f"--price is {wrong!r}: write NAME=DOLLARS, such as vector_db_monthly=25")
    return load_prices({name.strip(): amount.strip() for name, _, amount in pairs})


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))
