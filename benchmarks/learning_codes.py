"""Sparsifier on CLINC150: regularizers and dimensions compared, and what nonzeros cost, in FLOPs and in microseconds.

Each part appends its records to results/learning_dense.jsonl, of which ``learning_report.py`` makes tables and
figures. All models are of 200 steps and of one seed, to be compared with each other only; they are kept in
``--models``, and fitted only if they are not there.

Calibration gives each dimension a threshold and so evens any code. To see what a regularizer does by itself, codes
are compared as trained, too, small entries dropped by one threshold for all dimensions.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from clinc150_dense import judge_sparse, load
from clinc150_models import SHORT, STORE, Models, encoded, record
from learning_tables import read_records
from numpy.typing import NDArray
from records import RESULTS

from gossamer import InvertedIndex, SparseEmbeddings
from gossamer.learning.model_store import ModelStore
from gossamer.metrics import dim_frequencies, flops_per_document, suboptimality_ratio

BUDGETS = {
    "flops": (0.25, 0.5, 1.0, 2.0, 4.0),
    "l1": (0.25, 0.5, 1.0, 2.0, 4.0),
    "unbiased-flops": (0.25, 1.0, 4.0),
    "corpus-flops": (0.25, 1.0, 4.0),
    "none": (1.0,),
}
DIMS = (256, 512, 1024, 2048, 4096, 8192, 16384)
N_SHARES = 64
N_COPIES = 10  # of the corpus, when searches are timed: 180,000 documents, beside which a call's own time is small
N_TIMED, N_ROUNDS = 100, 7


def regularizers(models: Models, seed: int) -> None:
    """Compare calibrated codes of every regularizer at some budgets."""
    judged = judged_models()
    for name, targets in BUDGETS.items():
        for target in targets:
            if not models.has(seed, **_settings(name, target)):
                continue
            sparsifier, measured = models.fit(seed, **_settings(name, target))
            if ("regularizers", measured["model"]) in judged:
                continue
            figures = judge_sparse(models.corpus, *encoded(models.corpus, sparsifier))
            record("regularizers", name, seed, **measured, **figures)


def thresholds(models: Models, seed: int) -> None:
    """Compare codes as trained, at equal FLOPs and at equal nonzeros, by one threshold for all dimensions."""
    for name in ("flops", "l1", "none"):
        for target in BUDGETS["flops"]:
            settings = _settings(name, target if target in BUDGETS[name] else 1.0)
            if not models.has(seed, **settings):
                continue
            sparsifier, measured = models.fit(seed, **settings)
            sparsifier.network_.head.thresholds.zero_()
            documents, queries = encoded(models.corpus, sparsifier)
            if target == 1.0:
                shares = np.sort(dim_frequencies(documents))[:: len(dim_frequencies(documents)) // N_SHARES].tolist()
                r_sub = suboptimality_ratio(documents)
                record("frequencies", name, seed, **measured, r_sub=r_sub, shares=shares)
            theta = _one_threshold(documents, lambda p: float(p @ p), target)
            kept, asked = _above(documents, theta), _above(queries, theta)
            figures = judge_sparse(models.corpus, kept, asked) | {"target": target}
            if name != "none":
                figures |= {"query_us": _query_us(kept, asked), "n_docs": N_COPIES * len(kept)}
            record("equal-flops", name, seed, **measured | figures)
            nnz = 64 * target**0.5
            kept = _above(documents, _one_threshold(documents, lambda p: float(p.sum()), nnz))
            figures = {"r_sub": suboptimality_ratio(kept), "flops_per_document": flops_per_document(kept, kept)}
            record("equal-nnz", name, seed, **measured | figures | {"target": nnz, "nnz": kept.nnz / len(kept)})


def times(models: Models, seed: int) -> None:
    """Time searches of calibrated codes of some budgets."""
    for target in BUDGETS["flops"]:
        sparsifier, measured = models.fit(seed, **_settings("flops", target))
        documents, queries = encoded(models.corpus, sparsifier)
        figures = {
            "nnz": documents.nnz / len(documents),
            "flops_per_document": flops_per_document(queries, documents),
            "query_us": _query_us(documents, queries),
            "n_docs": N_COPIES * len(documents),
        }
        record("times", f"{target:g}", seed, **measured, **figures)


def dimensions(models: Models, seed: int) -> None:
    judged = judged_models()
    for dim in DIMS:
        if models.has(seed, dim=dim, steps=SHORT):
            sparsifier, measured = models.fit(seed, dim=dim, steps=SHORT)
            if ("dimensions", measured["model"]) in judged:
                continue
            figures = judge_sparse(models.corpus, *encoded(models.corpus, sparsifier))
            record("dimensions", str(dim), seed, **measured, **figures)


def judged_models() -> set[tuple[str, str]]:
    """Return the part and the model of each record: a model that is the same needs no second one."""
    return {(r["part"], r["model"]) for r in read_records(RESULTS / "learning_dense.jsonl") if "model" in r}


def _settings(regularizer: str, target: float) -> dict:
    return {"flops_per_document": target, "regularizer": regularizer, "steps": SHORT}


def _query_us(documents: SparseEmbeddings, queries: SparseEmbeddings) -> float:
    """Return the median microseconds of a query, each asked alone, the best of some rounds, on one thread."""
    copies = np.tile(np.arange(len(documents)), N_COPIES)
    index = InvertedIndex.build(documents[copies], plan="scan", sample_queries=queries[:2])
    asked = [queries[i : i + 1] for i in range(0, len(queries), len(queries) // N_TIMED)]
    seconds = np.empty((N_ROUNDS, len(asked)))
    for turn in range(N_ROUNDS):
        for number, query in enumerate(asked):
            start = time.perf_counter()
            index.search(query, k=10)
            seconds[turn, number] = time.perf_counter() - start
    return float(np.median(seconds.min(axis=0)) * 1e6)


def _kept(rows: SparseEmbeddings, theta: float) -> NDArray[np.bool_]:
    """Return which entries are above θ, or the largest of their row."""
    largest = np.maximum.reduceat(rows.values, rows.indptr[:-1])
    return (rows.values > theta) | (rows.values == np.repeat(largest, rows.nnz_per_row))


def _above(rows: SparseEmbeddings, theta: float) -> SparseEmbeddings:
    """Drop the entries of magnitude up to θ, all but a row's largest, and bring rows back to length 1."""
    kept = _kept(rows, theta)
    row = np.repeat(np.arange(len(rows)), rows.nnz_per_row)[kept]
    values = rows.values[kept]
    norms = np.sqrt(np.bincount(row, weights=np.square(values, dtype=np.float64)))
    indptr = np.append(0, np.cumsum(np.bincount(row, minlength=len(rows))))
    return SparseEmbeddings(indptr, rows.dims[kept], values / norms[row].astype(np.float32), dim=rows.dim)


def _one_threshold(rows: SparseEmbeddings, cost: Callable[[NDArray[np.float64]], float], target: float) -> float:
    """Find the threshold at which a cost of the frequencies meets its target, on an eighth of the rows."""
    sample = rows[::8]
    low, high = 0.0, 1.0
    for _ in range(14):
        middle = (low + high) / 2
        counts = np.bincount(sample.dims[_kept(sample, middle)], minlength=rows.dim)
        low, high = (middle, high) if cost(counts / len(sample)) > target else (low, middle)
    return high


PARTS = {"regularizers": regularizers, "thresholds": thresholds, "times": times, "dimensions": dimensions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", type=Path, default=STORE, help="the folder of the model store")
    parser.add_argument("--only-there", action="store_true", help="fit nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    models = Models(load(), ModelStore(options.models), trains=not options.only_there)
    for part in options.parts:
        PARTS[part](models, options.seed)


if __name__ == "__main__":
    main()
