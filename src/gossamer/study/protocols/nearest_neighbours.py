"""Nearest neighbours of dense vectors: how many of the best k a search finds.

Recall@10 as at ann-benchmarks (Aumüller, Bernhardsson and Faithfull, "ANN-Benchmarks", Information Systems
87, 2020): a result counts if it scores as much as the k-th best does, so that a tie is not a miss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gossamer.arrays import AnyArray, DoubleArray, FloatArray, IntArray
from gossamer.errors import ShapeError
from gossamer.results import NO_DOCUMENT, SearchResult, check_k, excluding_self

K = 10
_ROUNDING = 1e-6  # of a score, relative to the product of the norms: what float32 sums may differ by


@dataclass(frozen=True, kw_only=True)
class NearestNeighbours:
    """How many of the true nearest neighbours were found."""

    recall: float
    k: int
    n_queries: int
    n_documents: int


def nearest_neighbours(
    found: SearchResult,
    exact: SearchResult,
    queries: FloatArray,
    documents: FloatArray,
    *,
    own_ids: AnyArray | None = None,
    k: int = K,
) -> NearestNeighbours:
    """Compute recall@k by true score: the inner product of the dense vectors.

    Parameters
    ----------
    found : SearchResult, shape (n_queries, at least k), or one more where own_ids are given
        The very lists that were timed; their scores do not count.
    exact : SearchResult, of such shape
        What exhaustive search found.
    queries : array, shape (n_queries, dim), float32
        The dense vectors that were asked.
    documents : array, shape (n_docs, dim), float32
        Those that were searched.
    own_ids : array, shape (n_queries,), optional
        Where the queries are documents themselves: their doc_ids, left out of both lists.
    k : int
        Of how many.

    Raises
    ------
    ShapeError
        If there are not as many lists as queries, or they are too short.
    """
    k = check_k(k)
    if own_ids is not None:
        found, exact = excluding_self(found, own_ids), excluding_self(exact, own_ids)
    for name, result in (("found", found), ("exact", exact)):
        if len(result.doc_ids) != len(queries) or result.doc_ids.shape[1] < k:
            raise ShapeError(f"{name}: expected shape ({len(queries)}, at least k = {k}); got {result.doc_ids.shape}")
    n_right = n_wanted = 0
    for row, query in enumerate(np.asarray(queries, np.float64)):
        wanted = _true_scores(exact.doc_ids[row, :k], query, documents)
        if wanted.size == 0:
            continue
        ids = found.doc_ids[row, :k]
        norms = np.linalg.norm(query) * np.linalg.norm(documents[ids[ids != NO_DOCUMENT]], axis=1)
        n_right += int(np.count_nonzero(_true_scores(ids, query, documents) >= wanted.min() - _ROUNDING * norms))
        n_wanted += wanted.size
    recall = n_right / n_wanted if n_wanted else 1.0
    return NearestNeighbours(recall=recall, k=k, n_queries=len(queries), n_documents=len(documents))


def _true_scores(doc_ids: IntArray, query: DoubleArray, documents: FloatArray) -> DoubleArray:
    scores: DoubleArray = documents[doc_ids[doc_ids != NO_DOCUMENT]].astype(np.float64) @ query
    return scores
