"""Exhaustive dense search: score every document by a matrix product, keep the best k."""

import numpy as np

from gossamer.arrays import FloatArray, IntArray
from gossamer.errors import EmbeddingsError, ShapeError
from gossamer.results import SearchResult, check_k, empty_result

_SCORES_PER_BLOCK = 1 << 24


def check_dense(array: FloatArray, *, name: str, dim: int | None = None) -> FloatArray:
    """Return ``array`` as C-contiguous float32 rows.

    Raises
    ------
    ShapeError
        If it is not a matrix, or not of ``dim`` columns where that is given.
    EmbeddingsError
        If it holds NaN or infinities, or is not of a floating dtype.
    """
    array = np.asarray(array)
    if array.ndim != 2 or (dim is not None and array.shape[1] != dim):
        raise ShapeError(f"{name}: expected shape (n, {'dim' if dim is None else dim}); got {array.shape}")
    if array.dtype.kind != "f":
        raise EmbeddingsError(f"{name}: expected float16, float32 or float64; got dtype {array.dtype}")
    array = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(array).all():
        raise EmbeddingsError(f"{name}: expected finite values; row {np.argmin(np.isfinite(array).all(axis=1))} is not")
    return array


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
        self.documents = check_dense(documents, name="documents")

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
        queries = check_dense(queries, name="queries", dim=self.documents.shape[1])
        found = empty_result(len(queries), k)
        block = max(1, _SCORES_PER_BLOCK // max(self.n_docs, 1))
        for start in range(0, len(queries), block):
            scores = queries[start : start + block] @ self.documents.T
            for row, row_scores in enumerate(scores, start):
                doc_ids, best = best_k(row_scores, k)
                found.doc_ids[row, : doc_ids.size] = doc_ids
                found.scores[row, : doc_ids.size] = best
        return found
