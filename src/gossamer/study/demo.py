"""The demo: learn dense and sparse embeddings of real images, search both, and compare.

The images are split by class, as in open-set identification: the encoders learn from the background
alphabets of Omniglot and are judged on characters that they have never seen.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gossamer.arrays import AnyArray
from gossamer.files import check_output, replaced_folder
from gossamer.index import InvertedIndex
from gossamer.learning.encoder import EncoderConfig
from gossamer.learning.encoding import encode, encode_dense
from gossamer.learning.training import TrainedEncoder, TrainingConfig, train_encoder
from gossamer.metrics import dead_dims
from gossamer.study.comparison import DENSE, SPARSE, Comparison, MethodRow, compare
from gossamer.study.demo_data import DemoData, load_demo_data
from gossamer.study.figures import draw_nearest, draw_posting_lists, draw_speed, draw_training
from gossamer.study.report import Report, ReportFigure, ReportRow, write_report

REPORT = "report.html"
IMAGE_SIZE = 32
_N_WATCHED_CLASSES = 100
_N_QUERIES_DRAWN = 8

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class DemoRecipe:
    """How the demo trains; both encoders share backbone, steps, batches and augmentation.

    Parameters
    ----------
    steps : int
        Batches that each encoder learns from.
    seed : int
        Of weights, batches and augmentation.
    """

    steps: int = 1600
    seed: int = 0

    def encoder(self, kind: str) -> EncoderConfig:
        """Return what to build: a dense encoder as people use them, or a sparse one of high dimension."""
        if kind == "dense":
            return EncoderConfig(dim=128, activation="none", image_size=IMAGE_SIZE)
        return EncoderConfig(dim=4096, activation="relu", image_size=IMAGE_SIZE)

    def training(self, kind: str) -> TrainingConfig:
        """Return how to train it: with the regularizer, and calibrated after, only if it is sparse."""
        settings: dict[str, Any] = {"steps": self.steps, "seed": self.seed, "device": "cpu"}
        if kind == "dense":
            return TrainingConfig(regularizer="none", **settings)
        return TrainingConfig(**settings)


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """The outcome of the demo."""

    rows: list[MethodRow]
    summary: str
    """The data: what was learned from, what was searched."""
    notice: str
    """What the reader must know before the figures: which data were used, if not Omniglot."""
    n_dead_dims: int
    n_zero_rows: int
    validations: dict[str, list[dict[str, Any]]]
    """Of each encoder, on 100 of the unseen classes as training went: rows of `TrainedEncoder.history`."""
    recipe: DemoRecipe
    minutes: float

    @property
    def remarks(self) -> str:
        """What the table does not say."""
        sparse = next(row for row in self.rows if row.method == SPARSE)
        return (
            f"Of the sparse embeddings, {self.n_dead_dims} of {sparse.dim:,} dimensions are dead (zero in every row), "
            f"and {self.n_zero_rows} rows are all zero. Times are medians: one thread, one query at a time, in turns. "
            f"{self.recipe.steps:,} steps for each encoder, seed {self.recipe.seed}, {self.minutes:.1f} minutes in all."
        )

    def record(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        return asdict(self)


def run_demo(
    out: Path, recipe: DemoRecipe, *, overwrite: bool = False, on_progress: OnProgress | None = None
) -> DemoResult:
    """Train, search, measure and report: the main job on real images, in minutes.

    Parameters
    ----------
    out : Path
        The folder for the report, its figures, ``results.json``, both models and the index.
    recipe : DemoRecipe
        How much to train, and from which seed.
    overwrite : bool
        Whether the folder of an earlier demo may be replaced.
    on_progress : callable, optional
        Called with what is being done, how much of it is done, and how much there is. Training draws
        bars of its own on stderr.

    Raises
    ------
    OutputExistsError
        If ``out`` exists and may not be replaced.
    """
    on_progress = on_progress or _no_progress
    check_output(out, overwrite=overwrite, marker=REPORT)
    start = time.perf_counter()
    data = load_demo_data(IMAGE_SIZE, on_progress)
    dense, sparse = (_train(kind, data, recipe) for kind in ("dense", "sparse"))
    dense_rows = encode_dense(dense.encoder, data.search.pixels, on_progress=_stage(on_progress, "encode, dense"))
    sparse_rows = encode(sparse.encoder, data.search.pixels, on_progress=_stage(on_progress, "encode, sparse"))
    catalog = replace(data.search.catalog, fingerprint=sparse.encoder.fingerprint)
    index = InvertedIndex.build(sparse_rows, catalog=catalog)
    comparison = compare(
        dense_rows, sparse_rows, index, data.search.labels, on_progress=_stage(on_progress, "search, in turns")
    )
    with replaced_folder(out) as folder:
        dense.encoder.save_pretrained(folder / "model-dense", metrics=dense.metrics)
        sparse.encoder.save_pretrained(folder / "model-sparse", metrics=sparse.metrics)
        index.save(folder / "index")
        _draw(folder, data, comparison, index, dense=dense, sparse=sparse)
        result = DemoResult(
            rows=comparison.rows,
            summary=data.description,
            notice=data.notice,
            n_dead_dims=dead_dims(sparse_rows).size,
            n_zero_rows=int(np.count_nonzero(sparse_rows.nnz_per_row == 0)),
            validations={"dense": dense.validations, "sparse": sparse.validations},
            recipe=recipe,
            minutes=round((time.perf_counter() - start) / 60, 2),
        )
        record = json.dumps(result.record(), indent=2, ensure_ascii=False)
        (folder / "results.json").write_text(record + "\n", encoding="utf-8")
        write_report(folder / REPORT, _report(result))
    return result


def _train(kind: str, data: DemoData, recipe: DemoRecipe) -> TrainedEncoder:
    """Train one encoder on the classes to learn from, watched on some of the others."""
    unseen = np.unique(data.search.labels)
    watched = np.random.default_rng(recipe.seed).choice(unseen, min(_N_WATCHED_CLASSES, unseen.size), replace=False)
    return train_encoder(
        data.train,
        recipe.encoder(kind),
        recipe.training(kind),
        validation=data.search.take(np.isin(data.search.labels, watched)),
        progress=True,
        description=f"train, {kind}",
    )


def _draw(
    folder: Path,
    data: DemoData,
    comparison: Comparison,
    index: InvertedIndex,
    *,
    dense: TrainedEncoder,
    sparse: TrainedEncoder,
) -> None:
    draw_nearest(
        folder / "nearest.png",
        data.search.pixels,
        data.search.labels,
        _queries_to_draw(data.search.labels),
        {name: comparison.found[name] for name in (DENSE, SPARSE)},
    )
    draw_posting_lists(folder / "posting-lists.png", index.list_lengths, index.n_docs)
    draw_training(folder / "training.png", sparse.validations, dense.validations[-1])
    draw_speed(
        folder / "speed.png",
        {row.method: row.query_us for row in comparison.rows},
        {row.method: row.hit_rate_at_1 for row in comparison.rows},
    )


def _queries_to_draw(labels: AnyArray) -> list[int]:
    """Choose the first picture of classes spread evenly over all, so that nobody picks the pretty ones."""
    _, first = np.unique(labels, return_index=True)
    return [int(first[at]) for at in np.linspace(0, first.size - 1, min(_N_QUERIES_DRAWN, first.size)).astype(int)]


def _report(result: DemoResult) -> Report:
    dense, sparse = (next(row for row in result.rows if row.method == name) for name in (DENSE, SPARSE))
    return Report(
        title="Gossamer: sparse search against dense search",
        summary=(
            f"{result.summary} Exact sparse search took {sparse.query_us:.0f} µs a query and dense search "
            f"{dense.query_us:.0f} µs, at a hit rate@1 of {sparse.hit_rate_at_1:.3f} and {dense.hit_rate_at_1:.3f}."
        ),
        notice=result.notice,
        columns=list(sparse.cells()),
        rows=[ReportRow(cells=list(row.cells().values()), is_sparse=row is sparse) for row in result.rows],
        explanation=(
            "Every picture is a query, itself excluded; the hit rate@k is the share of queries with a picture of the "
            "same class among their k nearest. FLOPs per document are the multiply-adds that scoring one document "
            "takes: for sparse embeddings, the postings touched divided by the number of documents. R_sub is how many "
            "times more the embeddings cost than perfectly even ones. The speed-up is over exhaustive dense search."
        ),
        figures=_FIGURES,
        provenance=result.remarks,
    )


_FIGURES = (
    ReportFigure(
        file="speed.png",
        title="Time against accuracy",
        caption="Up and to the left is better. A hundredth of the FLOPs is not a hundredth of the time: the call "
        "itself, and the start of each posting list, cost the same.",
    ),
    ReportFigure(
        file="nearest.png",
        title="Nearest neighbours",
        caption="Each row is a query, of classes spread evenly over all, and what was found. A green frame is the "
        "query's class, a red one is not.",
    ),
    ReportFigure(
        file="posting-lists.png",
        title="Lengths of the posting lists",
        caption="How many documents hold each dimension. The closer to the dashed line, the fewer FLOPs the same "
        "number of nonzeros costs.",
    ),
    ReportFigure(
        file="training.png",
        title="Hit rate against FLOPs over training",
        caption="Both encoders on 100 of the unseen classes. The sparse one learns first, while its embeddings are "
        "still dense, is then made sparse by the growing weight of the regularizer, and at last loses its small "
        "entries.",
    ),
)


def _stage(on_progress: OnProgress, name: str) -> Callable[[int, int], None]:
    return lambda done, total: on_progress(name, done, total)


def _no_progress(stage: str, done: int, total: int) -> None:
    pass
