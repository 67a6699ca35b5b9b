"""Tables of what learning_images.py recorded: sparse less dense, and FLOPs against ℓ1."""

import base64
from pathlib import Path
from statistics import stdev

import numpy as np
from learning_tables import T_95, Records, interval, read_records, replace_between, table, verdict, where_from
from numpy.typing import NDArray

GOALS = [(1.0, -0.01, 0.0), (0.25, -0.04, -0.02)]
"""FLOPs per document on characters never seen at most; what the hit rate must and shall be less dense."""


def write_images(path: Path, page: Path) -> str:
    """Write the tables into a page; return the first."""
    records = list({r["model"]: r for r in read_records(path)}.values())
    if not records:
        return "no records of images"
    against_dense = dense_table(records)
    parts = [where_from(records), "### Sparse against dense", against_dense, "### All encoders", model_table(records)]
    if any(r["regularizer"] == "l1" for r in records):
        parts += ["### FLOPs against ℓ1", l1_table(records)]
    replace_between(page, "images", parts)
    return against_dense


def dense_table(records: Records) -> str:
    """Return the hit rates of sparse encoders less those of dense ones of the same seed, query by query.

    For each bound the settings of which no seed costs more: of those with most seeds the most dimensions and FLOPs.
    """
    dense = {r["seed"]: r for r in records if r["target"] is None}
    rows = []
    for bound, must, aim in GOALS:
        settings = {(r["dim"], r["target"]) for r in of(records, "flops")}
        groups = [
            [r for r in of(records, "flops") if (r["dim"], r["target"]) == one and r["seed"] in dense]
            for one in sorted(settings)
        ]
        kept = [runs for runs in groups if runs and max(r["flops_per_document"] for r in runs) <= bound]
        if not kept:
            continue
        runs = max(kept, key=lambda runs: (len(runs), runs[0]["dim"], runs[0]["target"]))
        dim = runs[0]["dim"]
        gaps = np.array([hits(r).astype(float) - hits(dense[r["seed"]]) for r in runs])
        rows.append([
            f"≤ {bound:g}",
            f"{dim:,}",
            str(len(runs)),
            *(interval([r[key] for r in runs]) for key in ("flops_per_document", "nnz", "r_sub", "hit_rate")),
            interval([dense[r["seed"]]["hit_rate"] for r in runs]),
            f"{gaps.mean():+.4f} ± {half_interval(gaps, runs[0]['n_per_class']):.4f}".replace("-", "−"),
            f"≥ {must:g}".replace("-", "−"),
            verdict(float(gaps.mean()), must, aim),
        ])  # fmt: skip
    header = [
        "FLOPs per document",
        "dim",
        "seeds",
        "reached",
        "nnz",
        "R_sub",
        "hit rate@1",
        "dense",
        "difference",
        "must",
        "",
    ]
    return table(header, rows)


def half_interval(gaps: NDArray[np.float64], n_per_class: int) -> float:
    """Return half of a 95 % interval of the mean of differences, shape (n_seeds, n_queries).

    Queries of one character are alike, so that characters count and not queries. The part of the seeds is by
    Student's t, that of the characters by the normal distribution; they add up as squares.
    """
    by_class = gaps.mean(axis=0).reshape(-1, n_per_class).mean(axis=1)
    of_classes = 1.96 * stdev(by_class) / len(by_class) ** 0.5
    if len(gaps) == 1:
        return of_classes
    of_seeds = T_95[len(gaps)] * stdev(gaps.mean(axis=1)) / len(gaps) ** 0.5
    return float(np.hypot(of_classes, of_seeds))


_NEAR = 0.1  # in log FLOPs: a run of ℓ1 that stands for what is beyond its runs


def l1_table(records: Records) -> str:
    """Compare at the FLOPs that the FLOPs runs have; ℓ1 between two of its runs, on a line over log FLOPs.

    The difference is that to the ℓ1 run with the nearest FLOPs, query by query, where they lie within a tenth.
    """
    dim = max(r["dim"] for r in of(records, "l1"))
    records = [r for r in records if r["dim"] == dim]
    theirs = sorted((r["flops_per_document"], r["hit_rate"], r["r_sub"], r["nnz"]) for r in of(records, "l1"))
    flops, *figures = (np.array(column) for column in zip(*theirs, strict=True))
    seed = {r["seed"] for r in of(records, "l1")}
    rows = []
    for r in sorted((r for r in of(records, "flops") if r["seed"] in seed), key=lambda r: r["target"]):
        at = r["flops_per_document"]
        is_between = flops[0] <= at <= flops[-1]
        if not is_between and np.abs(np.log(flops / at)).min() > _NEAR:
            continue
        nearest = min(of(records, "l1"), key=lambda other: abs(np.log(other["flops_per_document"] / at)))
        gaps = hits(r)[None].astype(float) - hits(nearest)
        gap = f"{gaps.mean():+.4f} ± {half_interval(gaps, r['n_per_class']):.4f}".replace("-", "−")
        hit_rate, r_sub, nnz = (float(np.interp(np.log(at), np.log(flops), column)) for column in figures)
        rows.append([
            f"{at:.3f}", f"{r['hit_rate']:.4f}", f"{hit_rate:.4f}" + ("" if is_between else " (nearest)"),
            gap if abs(np.log(nearest["flops_per_document"] / at)) < _NEAR else "–",
            f"{r['r_sub']:.2f}", f"{r_sub:.2f}", f"{r['nnz']:.1f}", f"{nnz:.1f}",
            "FLOPs" if r["hit_rate"] > hit_rate else "ℓ1",
        ])  # fmt: skip
    names = [f"{what}, {name}" for what in ("hit rate@1", "R_sub", "nnz") for name in ("FLOPs", "ℓ1")]
    names.insert(2, "difference to the nearest")
    return table(["FLOPs per document", *names, "better"], rows)


def model_table(records: Records) -> str:
    keys = ("flops_per_document", "nnz", "r_sub", "hit_rate")
    ordered = sorted(records, key=lambda r: (r["dim"], r["regularizer"], r["target"] or 0.0, r["seed"]))
    rows = [
        [
            "dense" if r["target"] is None else r["regularizer"],
            f"{r['dim']:,}",
            "–" if r["target"] is None else f"{r['target']:g}",
            str(r["seed"]),
            *(f"{r[key]:.4g}" for key in keys),
            f"{r['minutes']:.1f}",
        ]
        for r in ordered
    ]
    header = [
        "encoder",
        "dim",
        "target on held-out",
        "seed",
        "FLOPs per document",
        "nnz",
        "R_sub",
        "hit rate@1",
        "minutes",
    ]
    return table(header, rows)


def of(records: Records, regularizer: str) -> Records:
    return [r for r in records if r["regularizer"] == regularizer]


def hits(record: dict) -> NDArray[np.bool_]:
    packed = np.frombuffer(base64.b64decode(record["hits"]), np.uint8)
    return np.unpackbits(packed, count=record["n_images"]).astype(bool)
