"""The figures of a report, as PNG files: drawn with matplotlib, without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gossamer.arrays import AnyArray, OffsetArray, TextArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DENSE, SPARSE, RIGHT, WRONG, GREY = "#6b7280", "#0f766e", "#16a34a", "#dc2626", "#9ca3af"


def draw_nearest(
    path: Path,
    pixels: AnyArray,
    labels: TextArray,
    query_ids: Sequence[int],
    found: Mapping[str, AnyArray],
) -> None:
    """Draw queries, each with its nearest documents by each method; right ones framed green, wrong ones red.

    Parameters
    ----------
    path : Path
        Where the PNG goes.
    pixels : array, shape (n_docs, channels, height, width), uint8
        The pictures, queries and documents alike.
    labels : array of str, shape (n_docs,)
        Their classes.
    query_ids : sequence of int
        Which pictures are the queries drawn.
    found : mapping of method to array, shape (n_docs, at least 5)
        The doc_ids that each method found for every picture, itself excluded.
    """
    figure, axes = _grid(len(query_ids), 1 + 5 * len(found))
    for row, query in enumerate(query_ids):
        _draw_picture(axes[row, 0], pixels[query], frame=None)
        for place, doc_ids in enumerate(found.values()):
            for rank, doc_id in enumerate(doc_ids[query, :5]):
                color = RIGHT if labels[doc_id] == labels[query] else WRONG
                _draw_picture(axes[row, 1 + 5 * place + rank], pixels[doc_id], frame=color)
    axes[0, 0].set_title("query", fontsize=11)
    for place, name in enumerate(found):
        axes[0, 3 + 5 * place].set_title(f"five nearest, {name}", fontsize=11)
    _save(figure, path)


def draw_posting_lists(path: Path, list_lengths: OffsetArray, n_docs: int) -> None:
    """Draw the lengths of all posting lists, longest first, beside perfectly even ones.

    Parameters
    ----------
    path : Path
        Where the PNG goes.
    list_lengths : array, shape (dim,), int64
        How many documents hold each dimension.
    n_docs : int
        The number of documents, which makes lengths shares.
    """
    figure, axes = _plot("dimension, by length of its posting list", "documents in the list")
    lengths = np.sort(list_lengths)[::-1]
    axes.fill_between(np.arange(lengths.size), lengths, color=SPARSE, alpha=0.25, linewidth=0)
    axes.plot(lengths, color=SPARSE, label="posting lists")
    mean = lengths.mean()
    axes.axhline(
        mean, color=GREY, linestyle="--", label=f"even lists: {mean:,.0f} documents, {mean / n_docs:.2%} of all"
    )
    axes.set_xlim(0, lengths.size)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    _save(figure, path)


def draw_training(path: Path, history: Sequence[Mapping[str, Any]], dense_hit_rate: float, dense_flops: float) -> None:
    """Draw hit rate@1 against FLOPs per document over the training of a sparse encoder.

    Parameters
    ----------
    path : Path
        Where the PNG goes.
    history : sequence of mappings
        The rows of `TrainedEncoder.history`; those with a validation are drawn.
    dense_hit_rate, dense_flops : float
        The finished dense encoder on the same pictures, as the point to beat.
    """
    figure, axes = _plot("FLOPs per document (multiply-adds, log scale)", "hit rate@1 on unseen classes")
    history = [row for row in history if "flops_per_document" in row]
    flops, hits = ([float(row[name]) for row in history] for name in ("flops_per_document", "hit_rate_at_1"))
    axes.plot(flops, hits, "-o", color=SPARSE, markersize=5, label="sparse, over training")
    if history[-1].get("is_calibrated"):
        axes.plot(flops[-1:], hits[-1:], "D", color=SPARSE, markersize=9, label="sparse, small entries dropped")
    axes.plot([dense_flops], [dense_hit_rate], "s", color=DENSE, markersize=8, label="dense, trained")
    axes.axhline(dense_hit_rate, color=DENSE, linestyle=":", linewidth=1)
    axes.set_xscale("log")
    for at in {0, len(history) // 2, len(history) - 1}:
        axes.annotate(
            f"step {history[at]['step']}",
            (flops[at], hits[at]),
            textcoords="offset points",
            xytext=(6, -13),
            fontsize=9,
        )
    axes.legend(frameon=False, loc="lower right")
    _save(figure, path)


def draw_speed(path: Path, query_us: Mapping[str, float], hit_rates: Mapping[str, float]) -> None:
    """Draw each method's hit rate@1 against its time for a query: up and to the left is better."""
    figure, axes = _plot("µs per query (one thread, one query at a time, log scale)", "hit rate@1 on unseen classes")
    for name, time_us in query_us.items():
        color = SPARSE if "sparse" in name else DENSE
        axes.plot([time_us], [hit_rates[name]], "o", color=color, markersize=10)
        axes.annotate(
            name, (time_us, hit_rates[name]), textcoords="offset points", xytext=(0, 10), ha="center", fontsize=10
        )
    axes.set_xscale("log")
    times = list(query_us.values())
    axes.set_xlim(min(times) / 2.5, max(times) * 2.5)
    low, high = min(hit_rates.values()), max(hit_rates.values())
    margin = max(0.02, high - low)
    axes.set_ylim(low - margin, min(1.0, high + margin))
    _save(figure, path)


def _grid(n_rows: int, n_columns: int) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.85 * n_columns, 0.95 * n_rows + 0.3), dpi=110, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for each in axes.flat:
        each.set_xticks([])
        each.set_yticks([])
        each.set_frame_on(False)
    return figure, axes


def _plot(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=130, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _draw_picture(axes: Axes, picture: AnyArray, frame: str | None) -> None:
    axes.imshow(np.moveaxis(picture, 0, -1).squeeze(), cmap="gray", vmin=0, vmax=255)
    if frame:
        axes.set_frame_on(True)
        for spine in axes.spines.values():
            spine.set(color=frame, linewidth=2.5)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path)
