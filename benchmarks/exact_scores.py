"""The exact scores that engines are judged by, computed in float64, and kept."""

import data_sets
import numpy as np
from data_cache import Arrays, cached
from data_sets import N_TIMED, K
from numpy.typing import NDArray

from gossamer import SparseEmbeddings

_QUERIES_AT_A_TIME = 20


def kth_scores(name: str, data: data_sets.DataSet) -> NDArray[np.float64]:
    """Return the exact 10th best score of each timed query, -inf where fewer share a dimension with it."""
    sizes = {"n": len(data.documents), "nnz": data.documents.nnz, "sum": float(data.documents.values.sum(dtype=float))}
    make = lambda: {"scores": _kth_scores(data.documents.to_scipy().astype(np.float64), data.queries)}  # noqa: E731
    return cached(f"exact-{name}", {**sizes, "k": K, "timed": N_TIMED}, "exact_scores.py", make=make)["scores"]


def dense_kth_scores(name: str) -> NDArray[np.float32]:
    """Return the exact 10th best score among the dense vectors, of each timed query."""

    def make() -> Arrays:
        documents, queries = data_sets.load_dense(name)
        blocks = [queries[:N_TIMED] @ documents[at : at + 20_000].T for at in range(0, len(documents), 20_000)]
        tops = np.hstack([np.partition(block, -K, axis=1)[:, -K:] for block in blocks])
        return {"scores": np.partition(tops, -K, axis=1)[:, -K]}

    sources = "omniglot_codes.py", "clinc150_codes.py", "exact_scores.py"
    return cached(f"exact-dense-{name}", {"k": K, "timed": N_TIMED}, *sources, make=make)["scores"]


def scores_of(data: data_sets.DataSet, query: int, doc_ids: NDArray) -> NDArray[np.float64]:
    """Return the scores of some documents for one query, in float64."""
    weights = np.zeros(data.queries.dim)
    row = data.queries[query : query + 1]
    weights[row.dims] = row.values
    return data.documents[doc_ids].to_scipy().astype(np.float64) @ weights


def _kth_scores(documents, queries: SparseEmbeddings) -> NDArray[np.float64]:
    found = np.empty(N_TIMED)
    for start in range(0, N_TIMED, _QUERIES_AT_A_TIME):
        some = queries[start : start + _QUERIES_AT_A_TIME].to_dense().astype(np.float64)
        for at, query in enumerate(some):
            scores = documents @ query
            best = np.partition(scores, -K)[-K]
            found[start + at] = best if best > 0 else -np.inf
    return found
