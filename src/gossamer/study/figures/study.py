"""The figures of a study: each a line for every method, through the points that its records hold."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from gossamer.study.figures.canvas import GREY, L1, SPARSE, TICK_POINTS, log_ticks, save, stacked_plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Lines: TypeAlias = Mapping[str, Sequence[tuple[float, float]]]
"""Points by the name of their line, in the order in which they are joined."""

_MARKERS = "osD^v<>p"
_SPARSE_COLORS = (SPARSE, "#65a30d", "#0369a1", "#7c3aed")
_OTHER_COLORS = ("#db2777", "#b45309", "#2563eb", "#92400e", "#475569", "#9333ea", "#dc2626", "#0891b2")
_LEGEND_COLUMNS, _LEGEND_ROW_INCHES = 3, 0.24
_ONE_BY_ONE, _RERANKED = "one query at a time", ", re-ranked"


def draw_curves(
    path: Path,
    points: Lines,
    *,
    accuracy: str,
    spreads: Lines | None = None,
    in_batches: Lines | None = None,
    batch_size: int | None = None,
) -> None:
    """Draw each method's accuracy against its time for a query: up and to the left is better.

    A point is hollow if another one is as fast and as accurate, and better in one of both. Exhaustive search has a
    star, and a dotted line at its accuracy.

    Parameters
    ----------
    path : Path
        Where the PNG goes.
    points : mapping of name to sequence of (microseconds, accuracy)
        In the order in which they are joined.
    accuracy : str
        What the accuracy is called.
    spreads : mapping of name to sequence of (lowest, highest), optional
        Of each point's accuracy over seeds: drawn as a bar.
    in_batches : mapping of name to sequence of (microseconds, accuracy), optional
        The same points with the times of queries asked in batches: drawn below, on the same scale.
    batch_size : int, optional
        How many queries such a batch holds.
    """
    panels = [points] if in_batches is None else [points, in_batches]
    labels = [accuracy] if in_batches is None else [f"{accuracy}\n{_ONE_BY_ONE}", f"{accuracy}\nin batches"]
    if batch_size is not None and in_batches is not None:
        labels[1] += f" of {batch_size:,}"
    alone = f", {_ONE_BY_ONE}" if in_batches is None else ""
    figure, stack = stacked_plots(f"µs per query (one thread{alone}, log scale)", labels, height=_height(points))
    for axes, lines in zip(stack, panels, strict=True):
        _draw_lines(axes, lines, spreads=spreads, hollow=_beaten(lines))
        for name in filter(_is_exhaustive, lines):
            axes.axhline(lines[name][0][1], color="black", linestyle=":", linewidth=1)
    _finish(figure, stack, is_log=True)
    save(figure, path)


def draw_distractors(path: Path, points: Lines, *, accuracy: str, spreads: Lines | None = None) -> None:
    """Draw each method's accuracy against how many distractors are searched; lines of (distractors, accuracy)."""
    figure, stack = stacked_plots("distractors searched (log scale)", [accuracy], height=_height(points))
    _draw_lines(stack[0], points, spreads=spreads)
    _finish(figure, stack, is_log=True)
    save(figure, path)


def draw_costs(path: Path, points: Lines, *, accuracy: str, spreads: Lines | None = None) -> None:
    """Draw accuracy against what a search computes, a line a regularizer; lines of (FLOPs per document, accuracy)."""
    x_label = "FLOPs per document (multiply-adds, log scale)"
    figure, stack = stacked_plots(x_label, [accuracy], height=_height(points))
    _draw_lines(stack[0], points, spreads=spreads)
    _finish(figure, stack, is_log=True)
    save(figure, path)


def draw_evenness(path: Path, points: Lines, *, is_share: bool) -> None:
    """Draw the sub-optimality ratio against sparsity, a line a regularizer.

    Parameters
    ----------
    path : Path
        Where the PNG goes.
    points : mapping of name to sequence of (nonzeros, ratio)
        In the order in which they are joined.
    is_share : bool
        Whether the nonzeros are percents of the dimensions, or a number a row.
    """
    x_label = "nonzero entries (percent of dimensions, log scale)" if is_share else "nonzeros per row (log scale)"
    figure, stack = stacked_plots(x_label, ["sub-optimality ratio R_sub"], height=_height(points))
    _draw_lines(stack[0], points, spreads=None)
    stack[0].axhline(1, color=GREY, linestyle="--", linewidth=1, label="1: perfectly even")
    _finish(figure, stack, is_log=True)
    save(figure, path)


def draw_list_lengths(path: Path, quantiles: Mapping[str, Sequence[float]]) -> None:
    """Draw the lengths of posting lists in ascending order, a line an index; flat is even.

    Parameters
    ----------
    path : Path
        Where the PNG goes.
    quantiles : mapping of name to sequence of float
        Of the lengths, ascending, evenly spaced from the shortest to the longest list.
    """
    lines = {
        name: [(100 * place / (len(lengths) - 1), length) for place, length in enumerate(lengths)]
        for name, lengths in quantiles.items()
    }
    label = "documents in the list (log scale)"
    figure, stack = stacked_plots("percent of dimensions, by length of their posting list", [label])
    _draw_lines(stack[0], lines, spreads=None)
    stack[0].set_yscale("symlog", linthresh=1)  # lists of no document are there, too
    stack[0].yaxis.set_major_formatter("{x:,.0f}")
    stack[0].set_ylim(bottom=0)
    _finish(figure, stack, is_log=False)
    save(figure, path)


def _draw_lines(axes: Axes, lines: Lines, *, spreads: Lines | None, hollow: Iterable[tuple[float, float]] = ()) -> None:
    beaten = set(hollow)
    for name, style in _styles(lines).items():
        points = lines[name]
        x, y = ([point[side] for point in points] for side in (0, 1))
        axes.plot(x, y, label=name, **style)
        for point in beaten.intersection(points):
            axes.plot(*point, **{**style, "linestyle": "none", "markerfacecolor": "white"})
        if spreads is not None:
            low, high = ([abs(y[i] - spread[side]) for i, spread in enumerate(spreads[name])] for side in (0, 1))
            axes.errorbar(x, y, yerr=[low, high], fmt="none", ecolor=style["color"], capsize=3, linewidth=1)


def _styles(lines: Lines) -> dict[str, dict[str, Any]]:
    """Return how each line is drawn: sparse ones thick, ℓ1 in one color, re-ranked ones dashed, exhaustive a star."""
    styles: dict[str, dict[str, Any]] = {}
    colors: dict[str, str] = {}
    sparse, others = itertools.cycle(_SPARSE_COLORS), itertools.cycle(_OTHER_COLORS)
    for name, marker in zip(lines, itertools.cycle(_MARKERS), strict=False):
        first_stage = name.removesuffix(_RERANKED)
        style = {"marker": marker, "markersize": 6, "linewidth": 1.2, "zorder": 2}
        style["linestyle"] = "--" if name.endswith(_RERANKED) else "-"
        if _is_exhaustive(name):
            style |= {"marker": "*", "markersize": 14}
            colors[first_stage] = "black"
        elif name.startswith(("sparse", "sparsifier")):
            style |= {"linewidth": 2.5, "markersize": 7, "zorder": 3}
            if first_stage not in colors:
                colors[first_stage] = L1 if "l1" in re.split(r"\W+", name) else next(sparse)
        elif first_stage not in colors:
            colors[first_stage] = next(others)
        styles[name] = {**style, "color": colors[first_stage]}
    return styles


def _is_exhaustive(name: str) -> bool:
    return "exhaustive" in name


def _beaten(lines: Lines) -> set[tuple[float, float]]:
    """Return the points that another one is no slower than, no less accurate than, and not equal to."""
    points = {point for line in lines.values() for point in line}
    return {
        point
        for point in points
        if any(other != point and other[0] <= point[0] and other[1] >= point[1] for other in points)
    }


def _height(lines: Lines) -> float:
    """Return the inches of a panel, with room for a legend of so many names below it."""
    return 4.0 + _LEGEND_ROW_INCHES * -(-len(lines) // _LEGEND_COLUMNS)


def _finish(figure: Figure, stack: Sequence[Axes], *, is_log: bool) -> None:
    for axes in stack:
        axes.margins(x=0.08, y=0.08)
        if is_log:
            log_ticks(axes)
    handles, _ = stack[0].get_legend_handles_labels()
    columns = min(_LEGEND_COLUMNS, len(handles))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=TICK_POINTS,
        handlelength=3,
    )
