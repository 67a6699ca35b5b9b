"""Search by k-of-d hash codes: the retrieval half of SDH, the paper's learned baseline.

Jeong and Song, "Efficient end-to-end learning for quantizable representations", ICML 2018,
arXiv:1805.05809. The half that learns the codes is `gossamer.learning.deep_hashing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gossamer.arrays import FloatArray
from gossamer.baselines.exhaustive import best_k
from gossamer.baselines.thresholded import largest_dims
from gossamer.embeddings import SparseEmbeddings, as_dense, as_embeddings
from gossamer.errors import ConfigError, ShapeError
from gossamer.rerank import TwoStageQueries
from gossamer.results import SearchResult, check_count, check_k, empty_result

if TYPE_CHECKING:
    from gossamer.embeddings import SparseRows


def k_of_d_codes(activations: FloatArray, n_active: int) -> SparseEmbeddings:
    r"""Return the hash code of each row: 1 in its ``n_active`` largest dimensions, 0 elsewhere.

    .. math:: \arg\max_{h \in \{0, 1\}^d, \|h\|_1 = k} h^T f(x)

    Equation (1) of Jeong and Song. Equal entries are taken from the lowest dimension on.

    Parameters
    ----------
    activations : array, shape (n, dim), float32
        What a network says of each row; signed, the largest count.
    n_active : int
        The ones of a code ("k"), at most ``dim``.

    Raises
    ------
    ConfigError
        If n_active exceeds dim.
    ArgumentError, ShapeError, EmbeddingsError
        If n_active is not a whole number of at least 1, or the rows are not a matrix of finite reals.

    Examples
    --------
    >>> k_of_d_codes(np.float32([[0.1, -3, 2, 0.5]]), 2).to_dense()
    array([[0., 0., 1., 1.]], dtype=float32)
    """
    activations = as_dense(activations, name="activations")
    n, dim = activations.shape
    if check_count(n_active, name="n_active") > dim:
        raise ConfigError(f"n_active: expected at most dim = {dim}; got {n_active}")
    dims = largest_dims(activations, n_active)
    return SparseEmbeddings(np.arange(n + 1) * n_active, dims.ravel(), np.ones(dims.size, np.float32), dim=dim)


class HashTableSearcher:
    """Score, of all documents, those that share a hash bucket with the query, by their dense embeddings.

    There is a bucket for each dimension of the codes; a document lies in those where its code is not 0.

    Parameters
    ----------
    codes : SparseEmbeddings, or scipy CSR array or matrix, shape (n_docs, dim)
        The hash code of each document; which entries are not 0 counts, their values do not.
    documents : array, shape (n_docs, dense_dim), float32
        Their dense embeddings.

    Raises
    ------
    ShapeError, EmbeddingsError
        If the two do not have as many rows, or are not valid; `search` also if the queries do not fit.

    Examples
    --------
    >>> dense = np.float32([[1, 2], [3, 1], [2, 2]])
    >>> codes = k_of_d_codes(np.float32([[9, 0, 0], [0, 9, 0], [9, 0, 0]]), 1)
    >>> found = HashTableSearcher(codes, dense).search(TwoStageQueries(codes[:1], dense[:1]), k=3)
    >>> found.doc_ids, found.scores  # document 1 lies in another bucket
    (array([[ 2,  0, -1]], dtype=int32), array([[  6.,   5., -inf]], dtype=float32))
    """

    def __init__(self, codes: SparseRows, documents: FloatArray) -> None:
        codes, self._dense = as_embeddings(codes), np.ascontiguousarray(as_dense(documents, name="documents"))
        if len(codes) != len(self._dense):
            raise ShapeError(f"documents: expected {len(codes)} rows, as in codes; got {len(self._dense)}")
        self.n_docs, self._dim = codes.shape
        rows = np.repeat(np.arange(self.n_docs, dtype=np.int32), codes.nnz_per_row)
        self._buckets = rows[np.argsort(codes.dims, kind="stable")]
        self._starts = np.zeros(codes.dim + 1, np.int64)
        np.cumsum(np.bincount(codes.dims, minlength=codes.dim), out=self._starts[1:])

    @property
    def size_bytes(self) -> int:
        """The bytes of the buckets and of the dense embeddings."""
        return self._buckets.nbytes + self._starts.nbytes + self._dense.nbytes

    def search(self, queries: TwoStageQueries, k: int = 10) -> SearchResult:
        """Return, of the documents in the query's buckets, the k of largest dense inner product."""
        k = check_k(k)
        if queries.sparse.dim != self._dim:
            raise ShapeError(f"queries: expected codes of {self._dim} dimensions; got {queries.sparse.dim}")
        if queries.dense.shape[1] != self._dense.shape[1]:
            expected = self._dense.shape[1]
            raise ShapeError(f"queries: expected {expected} dense dimensions; got {queries.dense.shape[1]}")
        found = empty_result(len(queries), k)
        for row, query in enumerate(queries.dense):
            dims = queries.sparse.dims[queries.sparse.indptr[row] : queries.sparse.indptr[row + 1]]
            if dims.size == 0:
                continue
            buckets = [self._buckets[self._starts[dim] : self._starts[dim + 1]] for dim in dims]
            candidates = np.unique(np.concatenate(buckets))
            best, scores = best_k(self._dense[candidates] @ query, k)
            found.doc_ids[row, : best.size] = candidates[best]
            found.scores[row, : best.size] = scores
        return found
