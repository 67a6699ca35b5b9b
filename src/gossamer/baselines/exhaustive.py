"""Exhaustive dense search: score every document by a matrix product, keep the best k."""

import numpy as np

from gossamer.arrays import FloatArray, IntArray
from gossamer.embeddings import as_dense
from gossamer.results import SearchResult, check_k, empty_result

_SCORES_PER_BLOCK = 1 << 24


def best_k(scores: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    """Return the best k documents of one query, equal scores by ascending doc_id.

    Parameters
    ----------
    scores : array, shape (n_docs,), float32
        The score of every document.
    k : int
        How many; at most ``n_docs`` are returned.
    """
    candidates = np.arange(scores.size)
    if k < scores.size:
        kth = np.partition(scores, scores.size - k)[scores.size - k]
        candidates = np.flatnonzero(scores >= kth)
    chosen = candidates[np.argsort(-scores[candidates], kind="stable")[:k]]
    return chosen.astype(np.int32), scores[chosen]


class ExhaustiveSearcher:
    """Search dense embeddings exactly, by NumPy's matrix product.

    Scores are BLAS sums: they may differ from the sparse index's by rounding.

    Parameters
    ----------
    documents : array, shape (n_docs, dim), float32
        Also float16 and float64, which are converted.

    Raises
    ------
    ShapeError, EmbeddingsError
        If the documents are not a matrix of finite reals; so does `search` for queries.
    """

    def __init__(self, documents: FloatArray) -> None:
        self.documents = np.ascontiguousarray(as_dense(documents, name="documents"))

    @property
    def n_docs(self) -> int:
        """The number of documents."""
        return len(self.documents)

    @property
    def size_bytes(self) -> int:
        """The bytes of the document matrix."""
        return self.documents.nbytes

    def search(self, queries: FloatArray, k: int = 10) -> SearchResult:
        """Return the k documents of largest inner product for each query, shape (n_queries, k)."""
        k = check_k(k)
        queries = as_dense(queries, name="queries", dim=self.documents.shape[1])
        found = empty_result(len(queries), k)
        block = max(1, _SCORES_PER_BLOCK // max(self.n_docs, 1))
        for start in range(0, len(queries), block):
            scores = queries[start : start + block] @ self.documents.T
            for row, row_scores in enumerate(scores, start):
                doc_ids, best = best_k(row_scores, k)
                found.doc_ids[row, : doc_ids.size] = doc_ids
                found.scores[row, : doc_ids.size] = best
        return found
