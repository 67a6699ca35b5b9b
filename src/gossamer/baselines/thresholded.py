"""Sparse search without learning: the largest entries of dense embeddings, in an inverted index."""

from __future__ import annotations

import numpy as np

from gossamer.arrays import AnyArray, FloatArray
from gossamer.embeddings import SparseEmbeddings, as_dense
from gossamer.errors import ConfigError
from gossamer.index import InvertedIndex
from gossamer.results import SearchResult, check_count, check_k


class ThresholdedSearcher:
    """Search by the inner product of each row's entries of largest magnitude; signs are kept.

    Queries are thresholded within `search`, and so within its time. Results score above 0, as those of a sparse
    index do: whole blocks of documents can then be skipped.

    Parameters
    ----------
    documents : array, shape (n_docs, dim), float32
        What is searched.
    nnz_per_row : int
        The entries kept of each document, at most ``dim``.
    nnz_per_query : int, optional
        The entries kept of each query; as many as of a document if not given.

    Raises
    ------
    ConfigError
        If more entries are to be kept than there are.
    ArgumentError, ShapeError, EmbeddingsError
        If a count is not a whole number of at least 1, or the documents are not a matrix of finite reals;
        so does `search` for queries.
    """

    def __init__(self, documents: FloatArray, *, nnz_per_row: int, nnz_per_query: int | None = None) -> None:
        documents = as_dense(documents, name="documents")
        if nnz_per_query is not None:
            _check_kept(nnz_per_query, documents.shape[1], name="nnz_per_query")
        self._nnz_per_query = nnz_per_row if nnz_per_query is None else nnz_per_query
        self.index = InvertedIndex.build(keep_largest(documents, nnz_per_row, name="documents"))

    @property
    def n_docs(self) -> int:
        """The number of documents."""
        return self.index.n_docs

    @property
    def size_bytes(self) -> int:
        """The bytes of the index."""
        return self.index.size_bytes

    def search(self, queries: FloatArray, k: int = 10) -> SearchResult:
        """Return the k best documents of a score above 0, shape (n_queries, k): the others share too little."""
        queries = as_dense(queries, name="queries", dim=self.index.dim)
        kept = keep_largest(queries, self._nnz_per_query, name="queries")
        return self.index.search(kept, check_k(k))


def keep_largest(rows: AnyArray, nnz_per_row: int, *, name: str) -> SparseEmbeddings:
    """Return the entries of largest magnitude of each row; of equal ones those of the lowest dimensions.

    Parameters
    ----------
    rows : array, shape (n, dim), float16, float32 or float64
        Of finite values.
    nnz_per_row : int
        How many are kept; zeros among them are dropped.
    name : str
        What an error calls the rows.

    Examples
    --------
    >>> keep_largest(np.float32([[1, -3, 2], [0, 5, 0]]), 2, name="rows").to_dense()
    array([[ 0., -3.,  2.],
           [ 0.,  5.,  0.]], dtype=float32)
    """
    rows = as_dense(rows, name=name)
    n, dim = rows.shape
    _check_kept(nnz_per_row, dim, name="nnz_per_row")
    dims = largest_dims(np.abs(rows), nnz_per_row)
    values = np.take_along_axis(rows, dims, axis=1)
    return SparseEmbeddings(np.arange(n + 1) * nnz_per_row, dims.ravel(), values.ravel(), dim=dim)


def largest_dims(rows: FloatArray, n: int) -> AnyArray:
    """Return the dimensions of the n largest entries of each row, ascending, ties by lowest: shape (rows, n)."""
    return np.sort(np.argsort(-rows, axis=1, kind="stable")[:, :n], axis=1)


def _check_kept(nnz: int, dim: int, *, name: str) -> None:
    if check_count(nnz, name=name) > dim:
        raise ConfigError(f"{name}: expected at most dim = {dim}; got {nnz}")
