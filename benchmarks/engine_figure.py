"""Draw time against recall: one panel a data set, one colour an engine."""

import math
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

COLORS = {
    "gossamer": "#d62728", "sindi": "#1f77b4", "seismic": "#2ca02c", "seismic full": "#98df8a",
    "kannolo": "#9467bd", "sparse_dot_topn": "#8c564b", "scipy": "#7f7f7f",
    "faiss flat": "#000000", "faiss HNSW": "#ff7f0e", "faiss IVF-PQ": "#bcbd22",
}  # fmt: skip
_LOWEST_RECALL = 0.8
_SIZE = 6.0, 4.2  # inches a panel


def draw(rows: dict[str, list[dict]], titles: dict[str, str], path: Path) -> None:
    """Draw the settings that were tried, thin, and those that were timed in turns, thick."""
    rows = {data: found for data, found in rows.items() if len({row["engine"] for row in found}) > 2}
    n_columns = min(2, len(rows))
    n_lines = -(-len(rows) // n_columns)
    figure, axes = plt.subplots(
        n_lines,
        n_columns,
        figsize=(_SIZE[0] * n_columns, _SIZE[1] * n_lines + 0.8),
        squeeze=False,
        layout="constrained",
    )
    handles = {}
    for panel, (data, found) in zip(axes.flat, rows.items(), strict=False):
        most = max(row["n"] for row in found)
        for row in found:
            engine = next(name for name in COLORS if row["engine"] in (name, *(f"gossamer {p}" for p in _plans(name))))
            handles.setdefault(engine, _draw_row(panel, row, COLORS[engine], is_subset=row["n"] < most))
        _label(panel, titles[data])
    for panel in axes.flat[len(rows) :]:
        panel.axis("off")
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=5, fontsize=13, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _plans(name: str) -> tuple[str, ...]:
    return ("scan", "block-max", "split") if name == "gossamer" else ()


def _draw_row(panel, row: dict, color: str, *, is_subset: bool):
    points = sorted((_scale(recall), us) for _, recall, us in row["sweep"] if recall >= _LOWEST_RECALL)
    if len(points) > 1 and not row["engine"].startswith("gossamer"):
        front = [p for p in points if not any(q[0] >= p[0] and q[1] < p[1] for q in points)]
        panel.plot(*zip(*front, strict=True), color=color, lw=1.2, alpha=0.6)
    marker = "s" if is_subset else "*" if row["engine"] == "gossamer" else "o"
    at = _scale(max(row["recall"], _LOWEST_RECALL))
    return panel.scatter(
        at, row["p50_us"], color=color, marker=marker, s=180 if marker == "*" else 70, zorder=3, edgecolor="white"
    )


def _scale(recall: float) -> float:
    """Stretch what is near 1: the places of misses of 0.1, 0.01 and 0.001 are evenly spaced, 1 is next."""
    return -math.log10(max(1 - recall, 1e-4))


def _label(panel, title: str) -> None:
    ticks = (0.8, 0.9, 0.99, 0.999, 1.0)
    panel.set_yscale("log")
    panel.set_title(title.split(":", maxsplit=1)[0], fontsize=15)
    panel.set_xlabel("recall@10", fontsize=13)
    panel.set_ylabel("µs per query (p50)", fontsize=13)
    panel.xaxis.set_major_locator(FixedLocator([_scale(tick) for tick in ticks]))
    panel.set_xticklabels([str(tick) for tick in ticks])
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda us, _: f"{us:,.0f}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.set_xlim(_scale(_LOWEST_RECALL) - 0.15, _scale(1.0) + 0.25)
    panel.tick_params(labelsize=12)
    panel.grid(alpha=0.25)
