"""``gossamer study``: methods measured side by side on the user's own data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gossamer.cli.options import JsonOption
from gossamer.cli.printing import print_json, print_table
from gossamer.cli.progress import ProgressBars

if TYPE_CHECKING:
    from gossamer.study.config import StudyConfig
    from gossamer.study.runner import StudyOutcome

study = typer.Typer(no_args_is_help=True, help="Measure methods side by side: time against accuracy, on your own data.")

_OutOption = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="Where records, table, figure and page go. A study that was killed goes on there.",
        show_default=False,
    ),
]
_ModelsOption = Annotated[
    Path | None,
    typer.Option(
        "--models",
        metavar="FOLDER",
        help="Where models that were trained, and what encoders made of images, are kept and found again. "
        "[default: .cache/models]",
        show_default=False,
    ),
]
_QuickOption = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="At most 20,000 vectors or distractors and 200 queries, one seed, one round; of images, "
        "100 steps of training and one encoder a regularizer: minutes.",
    ),
]


@study.command()
def nearest(
    vectors: Annotated[
        Path, typer.Argument(metavar="VECTORS", help="A .npy of dense vectors, (n, dim).", show_default=False)
    ],
    *,
    out: _OutOption,
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="A .npy of queries. Without it, vectors drawn at random ask for their neighbours.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many neighbours are to be found.")] = 10,
    flops_per_document: Annotated[
        list[float],
        typer.Option("--flops-per-document", help="Fit a sparsifier that costs this, in minutes. Repeatable."),
    ] = [],  # noqa: B006
    seed: Annotated[list[int], typer.Option("--seed", min=0, help="Measure once for each. Repeatable.")] = [0],  # noqa: B006
    models: _ModelsOption = None,
    quick: _QuickOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find nearest neighbours of dense vectors by every method, at several settings of each."""
    from gossamer.datasets.embedding_files import read_dense
    from gossamer.study.config import NEAREST_NEIGHBOURS, QUICK_DOCUMENTS, StudyConfig, default_methods

    n_docs, dim = read_dense(vectors)[0].shape
    config = StudyConfig(
        protocol=NEAREST_NEIGHBOURS,
        documents=vectors,
        queries=queries,
        methods=default_methods(
            min(n_docs, QUICK_DOCUMENTS) if quick else n_docs, dim, k=k, budgets=flops_per_document
        ),
        seeds=tuple(seed),
        k=k,
    )
    _run(config.quick() if quick else config, out, models=models, as_json=as_json)


@study.command()
def run(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="A YAML file: data, methods, seeds.", show_default=False)
    ],
    *,
    out: _OutOption,
    models: _ModelsOption = None,
    quick: _QuickOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure what a YAML file names, and train what it says is to be trained."""
    from gossamer.study.config_file import read_config

    settings = read_config(config)
    _run(settings.quick() if quick else settings, out, models=models, as_json=as_json)


@study.command()
def ratings(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A CSV file: user, item, rating and perhaps timestamp.", show_default=False
        ),
    ],
    *,
    out: _OutOption,
    seed: Annotated[
        list[int], typer.Option("--seed", min=0, help="Split, train and measure once for each. Repeatable.")
    ] = [0, 1, 2, 3, 4],  # noqa: B006
    flops_per_item: Annotated[
        list[float], typer.Option("--flops-per-item", help="Budgets of the sparse towers. Repeatable.")
    ] = [2.0],  # noqa: B006
    models: Annotated[
        str, typer.Option("--models", help="Which to compare, with commas between.")
    ] = "popularity,item-knn,dense,sparse",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Batches that the towers learn from.")] = 300,
    min_rating: Annotated[
        float | None,
        typer.Option("--min-rating", help="Ratings below do not count. Without it, all do.", show_default=False),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One seed, 100 steps, one round: a minute or so.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Recommend items to users by dense and sparse two towers, item-kNN and popularity, on your own ratings."""
    from gossamer.study.ratings.config import RatingsStudyConfig
    from gossamer.study.ratings.runner import run_ratings_study
    from gossamer.study.ratings.summary import ratings_table

    config = RatingsStudyConfig(
        ratings=file,
        models=tuple(models.split(",")),
        flops_per_item=tuple(flops_per_item),
        seeds=tuple(seed),
        steps=steps,
        min_rating=min_rating,
    )
    with ProgressBars() as bars:
        outcome = run_ratings_study(config.quick() if quick else config, out, on_progress=bars, progress=True)
    _print_outcome(outcome, ratings_table(outcome.records), out, as_json=as_json)


def _run(config: StudyConfig, out: Path, *, models: Path | None, as_json: bool) -> None:
    from gossamer.study.runner import MODELS, run_study
    from gossamer.study.summary import table

    with ProgressBars() as progress:
        outcome = run_study(config, out, models=models or MODELS, on_progress=progress)
    _print_outcome(outcome, table(outcome.records), out, as_json=as_json)


def _print_outcome(outcome: StudyOutcome, lines: list[dict[str, str]], out: Path, *, as_json: bool) -> None:
    from gossamer.study.summary import REPORT

    for failure in outcome.failures:
        print(f"failed: {failure}", file=sys.stderr)
    if as_json:
        print_json({"records": outcome.records, "n_resumed": outcome.n_resumed, "report": str(out / REPORT)})
        return
    print_table(list(lines[0]), [list(line.values()) for line in lines])
    print(f"Report with figure: {out / REPORT}")
