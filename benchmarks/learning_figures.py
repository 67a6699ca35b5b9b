"""Draw what learning_dense.py recorded."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

RED, BLUE, GREY = "#d62728", "#1f77b4", "#7f7f7f"
OURS = RED
COLORS = {"flops": RED, "l1": BLUE, "none": GREY}
LABELS = {"flops": "FLOPs", "l1": "ℓ1", "none": "no regularizer"}


def draw_all(records: list[dict], folder: Path) -> list[tuple[str, str]]:
    """Draw each figure for which there are records; return what it shows and its file's name."""
    parts = {record["part"] for record in records}
    plt.rcParams["font.size"] = 12
    figures = [
        ("Recall against FLOPs", "recall-against-flops", {"budgets", "peers"}, _recall),
        ("How often each dimension is used", "dimension-frequencies", {"frequencies"}, _frequencies),
        ("FLOPs and time against nonzeros", "flops-against-nnz", {"times", "equal-flops"}, _against_nnz),
        ("Hit rate against dimensions", "hit-rate-against-dim", {"dimensions"}, _dimensions),
        ("FLOPs and weight over training", "budget-over-training", {"budgets"}, _training),
    ]
    drawn = []
    for title, name, needed, draw in figures:
        if needed <= parts:
            n_panels = 2 if draw is _against_nnz else 1
            figure, axes = plt.subplots(1, n_panels, figsize=(1.6 + 4.0 * n_panels, 4.0), layout="constrained")
            draw(axes, records)
            for panel in figure.axes:
                panel.grid(alpha=0.25)
            figure.savefig(folder / f"{name}.png", dpi=110)
            plt.close(figure)
            drawn.append((title, f"{name}.png"))
    return drawn


def _of(records: list[dict], part: str) -> list[dict]:
    return [record for record in records if record["part"] == part]


def _recall(axes, records: list[dict]) -> None:
    runs = _of(records, "budgets")
    axes.scatter(
        [r["flops_per_document"] for r in runs], [r["recall"] for r in runs], color=OURS, s=40, label="Sparsifier"
    )
    axes.scatter(
        [r["flops_per_document"] for r in runs],
        [r["recall_reranked"] for r in runs],
        color=OURS, s=40, marker="^", facecolor="none", label="Sparsifier, 100 re-ranked",
    )  # fmt: skip
    kinds = [("PCA", BLUE), ("product", "#2ca02c"), ("LSH", "#9467bd"), ("absolute", "#ff7f0e"), ("dense", "#000000")]
    for kind, color in kinds:
        rows = [r for r in _of(records, "peers") if r["name"].startswith(kind)]
        if rows:
            points = sorted((r["flops_per_document"], r["recall"]) for r in rows)
            label = {"product": "product quantization", "absolute": "absolute top-64"}.get(kind, kind)
            axes.plot(*zip(*points, strict=True), "o-", color=color, lw=1, ms=5, label=label)
    axes.set_ylim(0, 1.02)
    axes.set_xscale("log")
    axes.set_xlabel("multiply-adds, table look-ups or 64-bit words per document")
    axes.set_ylabel("recall@10 of the exact dense neighbors")
    axes.legend(fontsize=8, frameon=False)


def _frequencies(axes, records: list[dict]) -> None:
    for record in _of(records, "frequencies"):
        shares = sorted(record["shares"], reverse=True)
        x = [(i + 0.5) / len(shares) for i in range(len(shares))]
        name = record["name"]
        axes.plot(x, shares, color=COLORS[name], lw=2, label=f"{LABELS[name]}, R_sub {record['r_sub']:.2f}")
    axes.set_yscale("symlog", linthresh=1e-3)
    axes.set_xlabel("dimensions, the most used first (share of all)")
    axes.set_ylabel("share of rows in which it is not zero")
    axes.set_title("As trained, nothing calibrated", fontsize=11)
    axes.legend(frameon=False)


def _against_nnz(axes, records: list[dict]) -> None:
    even = _of_each(_of(records, "times"))
    curves = [("FLOPs, calibrated", "#000000", even)]
    for name in ("flops", "l1"):
        rows = [r for r in _of(records, "equal-flops") if r["name"] == name]
        curves.append((f"{LABELS[name]}, one threshold", COLORS[name], _of_each(rows)))
    panels = (
        (axes[0], 1, "FLOPs per document", [0.25, 0.5, 1, 2, 4]),
        (axes[1], 2, "µs of a query", [50, 100, 200, 400, 800]),
    )
    for panel, number, label, ticks in panels:
        for title, color, points in curves:
            panel.plot(
                [p[0] for p in points], [p[number] for p in points], "o-", color=color, lw=1.5, ms=5, label=title
            )
        nnz, values = [p[0] for p in even], [p[number] for p in even]
        panel.plot(nnz, [values[-1] * (n / nnz[-1]) ** 2 for n in nnz], "--", color=GREY, lw=1.5, label="slope 2")
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xticks([16, 32, 64, 128], ["16", "32", "64", "128"])
        panel.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.minorticks_off()
        panel.set_xlabel("nonzeros of a row")
        panel.set_ylabel(label)
    axes[0].legend(frameon=False, fontsize=11)


def _of_each(rows: list[dict]) -> list[tuple[float, float, float]]:
    """Return nonzeros, FLOPs and microseconds of some records, ascending."""
    return sorted((r["nnz"], r["flops_per_document"], r.get("query_us", float("nan"))) for r in rows)


def _dimensions(axes, records: list[dict]) -> None:
    rows = sorted((r["dim"], r["hit_rate"], r["recall"]) for r in _of(records, "dimensions"))
    dims, rates, recalls = zip(*rows, strict=True)
    axes.plot(dims, rates, "o-", color=RED, label="hit rate@1 of the intent")
    axes.plot(dims, recalls, "s-", color=BLUE, label="recall@10 of the dense neighbors")
    axes.set_ylim(0.5, 1.0)
    axes.set_xscale("log", base=2)
    axes.set_xticks(dims, [f"{dim:,}" for dim in dims], rotation=30)
    axes.minorticks_off()
    axes.set_xlabel("dimensions, at one FLOP per document")
    axes.legend(frameon=False)


def _training(axes, records: list[dict]) -> None:
    runs = [r for r in _of(records, "budgets") if r["seed"] == 0]
    other = axes.twinx()
    for run, color in zip(sorted(runs, key=lambda r: r["target"]), ("#2ca02c", RED, BLUE), strict=False):
        steps, weights, costs = zip(*run["history"], strict=True)
        seen = [(step, cost) for step, cost in zip(steps, costs, strict=True) if cost is not None]
        axes.plot(*zip(*seen, strict=True), color=color, lw=2, label=f"budget {run['name']}")
        other.plot(steps, weights, color=color, lw=1, ls=":")
    axes.set_yscale("log")
    axes.set_xlabel("steps")
    axes.set_ylabel("FLOPs per document before calibration (lines)")
    other.set_yscale("symlog", linthresh=1)
    other.set_ylabel("weight λ (dotted)")
    axes.legend(frameon=False)
