"""What all figures share: colors, axes, the ticks of a logarithmic scale, and the file that they end in."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DENSE, SPARSE, L1, RIGHT, WRONG, GREY = "#6b7280", "#0f766e", "#d97706", "#16a34a", "#dc2626", "#9ca3af"
LABEL_POINTS, TICK_POINTS = 12, 11  # readable at half size
_DPI = 130
_MOST_DECADES_WITH_2_AND_5 = 2.2


def plot(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """Return a figure of one pair of axes."""
    figure, (axes,) = stacked_plots(x_label, [y_label])
    return figure, axes


def stacked_plots(x_label: str, y_labels: list[str], *, height: float = 4.2) -> tuple[Figure, list[Axes]]:
    """Return a figure of axes below each other, with one x axis for all; ``height`` is of each, in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, height * len(y_labels)), dpi=_DPI, layout="constrained")
    stack = [axes for (axes,) in figure.subplots(len(y_labels), 1, sharex=True, squeeze=False)]
    for axes, y_label in zip(stack, y_labels, strict=True):
        axes.set_ylabel(y_label, fontsize=LABEL_POINTS)
        axes.tick_params(labelsize=TICK_POINTS)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    stack[-1].set_xlabel(x_label, fontsize=LABEL_POINTS)
    return figure, stack


def log_ticks(axes: Axes) -> None:
    """Put the x axis on a logarithmic scale, with numbers written out at 1, and where there is room at 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    subs = (1, 2, 5) if math.log10(high / low) < _MOST_DECADES_WITH_2_AND_5 else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1000 else f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def save(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG."""
    figure.savefig(path)
