"""The figures of the demo: pictures found, posting lists, training, and time against accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gossamer.arrays import AnyArray, OffsetArray, TextArray
from gossamer.study.figures.canvas import DENSE, GREY, RIGHT, SPARSE, WRONG, log_ticks, plot, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
    figure, axes = _grid(len(query_ids), 1 + 6 * len(found))  # a column stays empty before each method
    for row, query in enumerate(query_ids):
        _draw_picture(axes[row, 0], pixels[query], frame=None)
        for place, doc_ids in enumerate(found.values()):
            for rank, doc_id in enumerate(doc_ids[query, :5]):
                color = RIGHT if labels[doc_id] == labels[query] else WRONG
                _draw_picture(axes[row, 2 + 6 * place + rank], pixels[doc_id], frame=color)
    axes[0, 0].set_title("query", fontsize=11)
    for place, name in enumerate(found):
        axes[0, 4 + 6 * place].set_title(f"five nearest, {name}", fontsize=11)
    save(figure, path)


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
    figure, axes = plot("dimension, by length of its posting list", "documents in the list")
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
    save(figure, path)


def draw_training(path: Path, validations: Sequence[Mapping[str, Any]], dense: Mapping[str, Any]) -> None:
    """Draw hit rate@1 against FLOPs per document over the training of a sparse encoder.

    Parameters
    ----------
    path : Path
        Where the PNG goes.
    validations : sequence of mappings
        `TrainedEncoder.validations` of the sparse encoder.
    dense : mapping
        The last validation of a dense encoder on the same images: the point to beat.
    """
    figure, axes = plot("FLOPs per document (multiply-adds, log scale)", "hit rate@1 on unseen classes")
    flops, hits = ([float(row[name]) for row in validations] for name in ("flops_per_document", "hit_rate_at_1"))
    axes.plot(flops, hits, "-o", color=SPARSE, markersize=5, label="sparse, over training")
    if validations[-1].get("is_calibrated"):
        axes.plot(flops[-1:], hits[-1:], "D", color=SPARSE, markersize=9, label="sparse, small entries dropped")
    level = float(dense["hit_rate_at_1"])
    axes.plot([dense["flops_per_document"]], [level], "s", color=DENSE, markersize=8, label="dense, trained")
    axes.axhline(level, color=DENSE, linestyle=":", linewidth=1)
    axes.margins(x=0.12, y=0.12)
    log_ticks(axes)
    for at in {0, len(validations) // 2, len(validations) - 1}:
        point = flops[at], hits[at]
        axes.annotate(
            f"step {validations[at]['step']}",
            point,
            textcoords="offset points",
            xytext=(0, -15),
            ha="center",
            fontsize=9,
        )
    axes.legend(frameon=False, loc="best")
    save(figure, path)


def draw_speed(path: Path, query_us: Mapping[str, float], hit_rates: Mapping[str, float]) -> None:
    """Draw each method's hit rate@1 against its time for a query: up and to the left is better."""
    figure, axes = plot("µs per query (one thread, one query at a time, log scale)", "hit rate@1 on unseen classes")
    for place, (name, time_us) in enumerate(query_us.items()):
        color, below = SPARSE if "sparse" in name else DENSE, place % 2 == 1  # neighbors' names must not overlap
        axes.plot([time_us], [hit_rates[name]], "o", color=color, markersize=10)
        axes.annotate(
            f"{name}: {time_us:.0f} µs, {hit_rates[name]:.3f}",
            (time_us, hit_rates[name]),
            textcoords="offset points",
            xytext=(0, -18 if below else 11),
            ha="center",
            fontsize=10,
        )
    times = list(query_us.values())
    axes.set_xlim(min(times) / 2.5, max(times) * 2.5)
    log_ticks(axes)
    low, high = min(hit_rates.values()), max(hit_rates.values())
    margin = max(0.02, high - low)
    axes.set_ylim(low - margin, min(1.0, high + margin))
    save(figure, path)


def _grid(n_rows: int, n_columns: int) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.85 * n_columns, 0.95 * n_rows + 0.3), dpi=110, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for each in axes.flat:
        each.set_xticks([])
        each.set_yticks([])
        each.set_frame_on(False)
    return figure, axes


def _draw_picture(axes: Axes, picture: AnyArray, frame: str | None) -> None:
    axes.imshow(np.moveaxis(picture, 0, -1).squeeze(), cmap="gray", vmin=0, vmax=255)
    if frame:
        axes.set_frame_on(True)
        for spine in axes.spines.values():
            spine.set(color=frame, linewidth=2.5)
