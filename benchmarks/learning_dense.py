"""Sparsifier on CLINC150: budgets, objectives, peers, and the cost of a training step; more in ``learning_codes.py``.

Each part appends its records to results/learning_dense.jsonl; ``learning_report.py`` makes tables and figures of the
last record of each setting. ``--parts`` and ``--seeds`` run some of them. Models are kept in ``--models``, and fitted
only if they are not there.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clinc150_dense import CANDIDATES, Corpus, judge, judge_sparse, load
from clinc150_models import SHORT, STORE, Models, encoded, record
from numpy.typing import NDArray

from gossamer.baselines.exhaustive import ExhaustiveSearcher
from gossamer.learning import Sparsifier
from gossamer.learning.model_store import ModelStore

BUDGETS = (0.25, 1.0, 4.0)


def budgets(models: Models, seeds: list[int], targets: tuple[float, ...] = BUDGETS) -> None:
    """Fit at some budgets; keep the course of cost and weight."""
    for seed in seeds:
        for target in targets:
            sparsifier, measured = models.fit(seed, flops_per_document=target)
            figures = judge_sparse(models.corpus, *encoded(models.corpus, sparsifier))
            history = [
                [row["step"], row["weight"], row.get("held_out_flops_per_document")]
                for row in sparsifier.metrics_["history"]
            ]
            record("budgets", f"{target:g}", seed, **measured, **figures, history=history)


def objectives(models: Models, seeds: list[int]) -> None:
    for name in ("similarity", "squared-similarity", "contrastive", "reconstruction"):
        sparsifier, measured = models.fit(seeds[0], objective=name, steps=SHORT)
        figures = judge_sparse(models.corpus, *encoded(models.corpus, sparsifier))
        record("objectives", name, seeds[0], **measured, **figures)


def step_time(models: Models, seeds: list[int]) -> None:
    """Time 200 pairs of training steps in turns, with the regularizer and without."""
    corpus = models.corpus
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


def dense_peers(models: Models, seeds: list[int]) -> None:
    """Compare dense rows, PCA and LSH: at the bytes of ours at 1 FLOP per document, at its operations, and others."""
    import faiss
    from sklearn.decomposition import PCA

    corpus = models.corpus
    documents, queries = corpus.documents, corpus.queries
    width = documents.shape[1]
    exact = ExhaustiveSearcher(documents)
    _peer(corpus, "dense", lambda k: exact.search(queries, k=k).doc_ids, seed=seeds[0], n_bytes=4 * width, flops=width)
    for n in (1, 48, 96, 134):
        pca = PCA(n, random_state=seeds[0]).fit(documents)
        small = ExhaustiveSearcher(pca.transform(documents).astype(np.float32))
        asked = pca.transform(queries).astype(np.float32)
        find = partial(_found, small, asked)
        _peer(corpus, f"PCA, {n} dimensions", find, seed=seeds[0], n_bytes=4 * n, flops=n)
    for bits in (64, 512, 1536, 4288):
        index = faiss.IndexLSH(width, bits, True)
        index.train(documents)
        index.add(documents)
        find = partial(_found_by_faiss, index, queries)
        _peer(corpus, f"LSH, {bits} bits", find, seed=seeds[0], n_bytes=bits / 8, flops=bits / 64)


def quantization(models: Models, seeds: list[int]) -> None:
    """Compare product quantization: at the operations of ours, a look-up a byte, and above."""
    import faiss

    corpus = models.corpus
    faiss.omp_set_num_threads(1)
    for m in (1, 16, 64):
        index = faiss.index_factory(corpus.documents.shape[1], f"PQ{m}x8", faiss.METRIC_INNER_PRODUCT)
        index.train(corpus.documents)
        index.add(corpus.documents)
        find = partial(_found_by_faiss, index, corpus.queries)
        _peer(corpus, f"product quantization, {m} bytes", find, seed=seeds[0], n_bytes=m, flops=m)


def top_k(models: Models, seeds: list[int]) -> None:
    """Compare absolute top-k of a sparse autoencoder, the recipe of CompresSAE, and top-k with our objective."""
    for name, objective in (("reconstruction", "reconstruction"), ("our objective", "similarity")):
        sparsifier, measured = models.fit(
            seeds[0], steps=SHORT, objective=objective, activation="top-k", regularizer="none"
        )
        figures = judge_sparse(models.corpus, *encoded(models.corpus, sparsifier))
        record("peers", f"absolute top-64, {name}", seeds[0], **measured, **figures)


def _found(searcher: ExhaustiveSearcher, queries: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    return searcher.search(queries, k=k).doc_ids


def _found_by_faiss(index: Any, queries: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    return index.search(queries, k)[1].astype(np.int32)


def _peer(
    corpus: Corpus, name: str, find: Callable[[int], NDArray[np.int32]], *, seed: int, n_bytes: float, flops: float
) -> None:
    found = find(CANDIDATES)
    reranked = ExhaustiveRerank(corpus).search(found)
    figures = judge(corpus, found) | {"recall_reranked": judge(corpus, reranked)["recall"]}
    record("peers", name, seed, **figures, bytes_per_document=float(n_bytes), flops_per_document=float(flops))


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


PARTS = {
    "budgets": budgets, "objectives": objectives, "step": step_time,
    "dense-peers": dense_peers, "quantization": quantization, "top-k": top_k,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budgets", nargs="+", type=float, default=BUDGETS)
    parser.add_argument("--models", type=Path, default=STORE, help="the folder of the model store")
    options = parser.parse_args()
    torch.set_num_threads(1)
    models = Models(load(), ModelStore(options.models))
    for part in options.parts:
        if part == "budgets":
            budgets(models, options.seeds, tuple(options.budgets))
        else:
            PARTS[part](models, options.seeds)


if __name__ == "__main__":
    main()
