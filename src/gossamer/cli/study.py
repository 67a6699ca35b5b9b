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
    models: Annotated[
        Path | None,
        typer.Option(
            "--models",
            metavar="FOLDER",
            help="Where models that were trained, and what encoders made of images, are kept and found again. "
            "[default: .cache/models]",
            show_default=False,
        ),
    ] = None,
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
    models: Annotated[
        Path | None,
        typer.Option(
            "--models",
            metavar="FOLDER",
            help="Where models that were trained, and what encoders made of images, are kept and found again. "
            "[default: .cache/models]",
            show_default=False,
        ),
    ] = None,
    quick: _QuickOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure what a YAML file names, and train what it says is to be trained."""
    from gossamer.study.config_file import read_config

    settings = read_config(config)
    _run(settings.quick() if quick else settings, out, models=models, as_json=as_json)


def _run(config: StudyConfig, out: Path, *, models: Path | None = None, as_json: bool) -> None:
    from gossamer.study.runner import MODELS, run_study
    from gossamer.study.summary import REPORT, table

    with ProgressBars() as progress:
        outcome = run_study(config, out, models=models or MODELS, on_progress=progress)
    for failure in outcome.failures:
        print(f"failed: {failure}", file=sys.stderr)
    if as_json:
        print_json({"records": outcome.records, "n_resumed": outcome.n_resumed, "report": str(out / REPORT)})
        return
    lines = table(outcome.records)
    print_table(list(lines[0]), [list(line.values()) for line in lines])
    print(f"Report with figure: {out / REPORT}")
