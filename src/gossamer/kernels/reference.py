"""What the kernels compute, in plain NumPy: slow and obvious, and the definition of exactness.

A score is the float32 sum, from 0, of float32 products in ascending order of dimensions, each product
and each sum rounded.
"""

import numpy as np
from numpy.typing import NDArray

Rows = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]
"""``indptr``, ``dims`` and ``values`` of CSR rows."""


def score_documents(
    documents: Rows, query_dims: NDArray[np.int32], query_values: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the score of every document, and whether it shares a dimension with the query."""
    indptr, dims, values = documents
    scores, shares = np.zeros(indptr.size - 1, np.float32), np.zeros(indptr.size - 1, bool)
    for query_dim, weight in zip(query_dims, query_values, strict=True):
        entries = np.flatnonzero(dims == query_dim)
        doc_ids = np.searchsorted(indptr, entries, side="right") - 1
        scores[doc_ids] += weight * values[entries]
        shares[doc_ids] = True
    return scores, shares


def search(
    documents: Rows, queries: Rows, k: int, min_score: float, within: NDArray[np.int32] | None = None
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the best k documents of each query, as `gossamer.InvertedIndex.search` does, for any index."""
    indptr, dims, values = queries
    shape = indptr.size - 1, k
    found = np.full(shape, -1, np.int32), np.full(shape, -np.inf, np.float32)
    for q in range(shape[0]):
        entries = slice(indptr[q], indptr[q + 1])
        scores, shares = score_documents(documents, dims[entries], values[entries])
        # float64 holds every float32, so that this compares the real numbers.
        doc_ids = np.flatnonzero(shares & (scores.astype(np.float64) > min_score))
        doc_ids = doc_ids if within is None else doc_ids[np.isin(doc_ids, within)]
        found[0][q], found[1][q] = best(scores[doc_ids], doc_ids, k)
    return found


def best(
    scores: NDArray[np.float32], doc_ids: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the best k of some documents, best first; missing places hold -1 and -inf."""
    order = np.lexsort((doc_ids, -scores))[:k]
    missing = k - order.size
    return (
        np.append(doc_ids[order], np.full(missing, -1)).astype(np.int32),
        np.append(scores[order], np.full(missing, -np.inf)).astype(np.float32),
    )
