"""Sparsifier on CLINC150: budgets, objectives, regularizers, dimensions, peers, and the cost of a training step.

Each part appends its records to results/learning_dense.jsonl; ``learning_report.py`` makes tables and figures of the
last record of each setting. ``--parts`` and ``--seeds`` run some of them.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from clinc150_dense import CANDIDATES, Corpus, judge, judge_sparse, load
from numpy.typing import NDArray
from records import append

from gossamer import SparseEmbeddings
from gossamer.baselines.exhaustive import ExhaustiveSearcher
from gossamer.learning import Sparsifier
from gossamer.metrics import dim_frequencies, flops_per_document, suboptimality_ratio

BUDGETS = (0.25, 1.0, 4.0)
FIVE_BUDGETS = (0.25, 0.5, 1.0, 2.0, 4.0)
SHORT = 200  # steps of the runs that are only compared with each other
N_SHARES = 64


def record(part: str, name: str, seed: int, **figures: object) -> None:
    append({"benchmark": "learning_dense", "part": part, "name": name, **figures}, seed=seed, is_quiet=True)
    shown = {key: value for key, value in figures.items() if isinstance(value, float | int)}
    print(part, name, seed, {key: round(value, 4) for key, value in shown.items()}, flush=True)


def fit(corpus: Corpus, seed: int, **settings: object) -> tuple[Sparsifier, dict]:
    """Fit the corpus; return the sparsifier and what was measured in training."""
    sparsifier = Sparsifier(**settings, random_state=seed, device="cpu").fit(corpus.documents)
    metrics = sparsifier.metrics_
    return sparsifier, {
        "minutes": metrics["training_seconds"] / 60,
        "flops_held_out": metrics["flops_per_document"],
        "steps": sparsifier.steps,
        "batch_size": sparsifier.batch_size,
        "dim": sparsifier.dim,
        "target": sparsifier.flops_per_document,
    }


def encoded(corpus: Corpus, sparsifier: Sparsifier) -> tuple[SparseEmbeddings, SparseEmbeddings]:
    return sparsifier.encode(corpus.documents), sparsifier.encode(corpus.queries)


def budgets(corpus: Corpus, seeds: list[int], targets: tuple[float, ...] = BUDGETS) -> None:
    """Fit at some budgets; keep the course of cost and weight."""
    for seed in seeds:
        for target in targets:
            sparsifier, measured = fit(corpus, seed, flops_per_document=target)
            figures = judge_sparse(corpus, *encoded(corpus, sparsifier))
            history = [
                [row["step"], row["weight"], row.get("held_out_flops_per_document")]
                for row in sparsifier.metrics_["history"]
            ]
            record("budgets", f"{target:g}", seed, **measured, **figures, history=history)


def objectives(corpus: Corpus, seeds: list[int]) -> None:
    for name in ("similarity", "squared-similarity", "contrastive", "reconstruction"):
        sparsifier, measured = fit(corpus, seeds[0], objective=name, steps=SHORT)
        record("objectives", name, seeds[0], **measured, **judge_sparse(corpus, *encoded(corpus, sparsifier)))


def regularizers(corpus: Corpus, seeds: list[int]) -> None:
    """Compare codes as trained, small entries dropped by one threshold for all dimensions: calibration evens them."""
    for name in ("flops", "l1", "none"):
        sparsifier, measured = fit(corpus, seeds[0], regularizer=name, steps=SHORT)
        sparsifier.network_.head.thresholds.zero_()
        documents, queries = encoded(corpus, sparsifier)
        shares = np.sort(dim_frequencies(documents))[:: len(dim_frequencies(documents)) // N_SHARES].tolist()
        record("frequencies", name, seeds[0], **measured, r_sub=suboptimality_ratio(documents), shares=shares)
        for target in FIVE_BUDGETS:
            theta = _one_threshold(documents, lambda p: float(p @ p), target)
            figures = judge_sparse(corpus, _above(documents, theta), _above(queries, theta))
            record("equal-flops", name, seeds[0], target=target, **figures)
            nnz = 64 * target**0.5
            theta = _one_threshold(documents, lambda p: float(p.sum()), nnz)
            kept = _above(documents, theta)
            figures = {"r_sub": suboptimality_ratio(kept), "flops_per_document": flops_per_document(kept, kept)}
            record("equal-nnz", name, seeds[0], target=nnz, nnz=kept.nnz / len(kept), **figures)


def dimensions(corpus: Corpus, seeds: list[int]) -> None:
    for dim in (256, 1024, 4096, 16384):
        sparsifier, measured = fit(corpus, seeds[0], dim=dim, steps=SHORT)
        record("dimensions", str(dim), seeds[0], **measured, **judge_sparse(corpus, *encoded(corpus, sparsifier)))


def step_time(corpus: Corpus, seeds: list[int]) -> None:
    """Time 200 pairs of training steps in turns, with the regularizer and without."""
    from gossamer.learning.regularizers import make_regularizer
    from gossamer.learning.sparsifier.config import SparsifierConfig
    from gossamer.learning.sparsifier.network import SparsifierNetwork
    from gossamer.learning.sparsifier.objectives import make_objective

    defaults = Sparsifier().get_params()
    del defaults["progress"]
    config = SparsifierConfig(width=corpus.documents.shape[1], **defaults)
    torch.manual_seed(seeds[0])
    network, objective = SparsifierNetwork(config), make_objective(config.objective, width=config.width, dim=config.dim)
    regularizer = make_regularizer(config.regularizer, dim=config.dim, is_nonnegative=True)
    optimizer = torch.optim.AdamW([*network.parameters(), *objective.parameters()], lr=1e-4, fused=True)
    rows = torch.from_numpy(corpus.documents)

    def step(batch: torch.Tensor, *, is_penalized: bool) -> float:
        start = time.thread_time()
        sparse = network(batch)
        loss = objective(sparse, batch)
        if is_penalized:
            loss = loss + 10.0 * regularizer(sparse)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return time.thread_time() - start

    times = np.zeros((200, 2))
    for pair in range(-5, 200):
        batch = rows[torch.randint(len(rows), (config.batch_size,))]
        for turn in ((0, 1), (1, 0))[pair % 2]:
            taken = step(batch, is_penalized=turn == 1)
            if pair >= 0:
                times[pair, turn] = taken
    ratio, (without, with_it) = float(np.median(times[:, 1] / times[:, 0])), np.median(times, axis=0).tolist()
    record("step", "flops", seeds[0], ratio=ratio, ms_without=1e3 * without, ms_with=1e3 * with_it, pairs=200)


def peers(corpus: Corpus, seeds: list[int]) -> None:
    """Compare dense, PCA, product quantization and LSH, and absolute top-k of a sparse autoencoder."""
    import faiss
    from sklearn.decomposition import PCA

    faiss.omp_set_num_threads(1)
    documents, queries = corpus.documents, corpus.queries
    width = documents.shape[1]

    def dense(name: str, find: Callable[[int], NDArray[np.int32]], n_bytes: float, flops: float) -> None:
        found = find(CANDIDATES)
        reranked = ExhaustiveRerank(corpus).search(found)
        figures = judge(corpus, found) | {"recall_reranked": judge(corpus, reranked)["recall"]}
        record("peers", name, seeds[0], **figures, bytes_per_document=float(n_bytes), flops_per_document=float(flops))

    exact = ExhaustiveSearcher(documents)
    dense("dense", lambda k: exact.search(queries, k=k).doc_ids, 4 * width, width)
    for n in (1, 48, 96):
        pca = PCA(n, random_state=seeds[0]).fit(documents)
        small = ExhaustiveSearcher(pca.transform(documents).astype(np.float32))
        asked = pca.transform(queries).astype(np.float32)
        dense(f"PCA, {n} dimensions", lambda k, s=small, q=asked: s.search(q, k=k).doc_ids, 4 * n, n)
    for m in (1, 16, 64):
        index = faiss.index_factory(width, f"PQ{m}x8", faiss.METRIC_INNER_PRODUCT)
        index.train(documents)
        index.add(documents)
        dense(f"product quantization, {m} bytes", lambda k, i=index: i.search(queries, k)[1].astype(np.int32), m, m)
    for bits in (64, 512, 1536, 3072):
        index = faiss.IndexLSH(width, bits, True)
        index.train(documents)
        index.add(documents)
        found = f"LSH, {bits} bits"
        dense(found, lambda k, i=index: i.search(queries, k)[1].astype(np.int32), bits / 8, bits / 64)
    top_k = {"activation": "top-k", "regularizer": "none"}
    for name, objective in (("reconstruction", "reconstruction"), ("our objective", "similarity")):
        sparsifier, measured = fit(corpus, seeds[0], steps=SHORT, objective=objective, **top_k)
        figures = judge_sparse(corpus, *encoded(corpus, sparsifier))
        record("peers", f"absolute top-64, {name}", seeds[0], **measured, **figures)


class ExhaustiveRerank:
    """Put candidates in order by exact dense scores."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    def search(self, candidates: NDArray[np.int32]) -> NDArray[np.int32]:
        found = np.full_like(candidates, -1)
        for row, (doc_ids, query) in enumerate(zip(candidates, self._corpus.queries, strict=True)):
            known = np.sort(doc_ids[doc_ids >= 0])
            order = np.argsort(-(self._corpus.documents[known] @ query), kind="stable")
            found[row, : known.size] = known[order]
        return found


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


PARTS = {
    "budgets": budgets, "objectives": objectives, "regularizers": regularizers, "dimensions": dimensions,
    "step": step_time, "peers": peers,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budgets", nargs="+", type=float, default=BUDGETS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus = load()
    for part in options.parts:
        if part == "budgets":
            budgets(corpus, options.seeds, tuple(options.budgets))
        else:
            PARTS[part](corpus, options.seeds)


if __name__ == "__main__":
    main()
