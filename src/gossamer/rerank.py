"""Search in two stages: candidates from a sparse index, then exact scores of dense embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gossamer.arrays import AnyArray, FloatArray, IntArray
from gossamer.embeddings import as_dense, as_embeddings
from gossamer.errors import ArgumentError, EmbeddingsError, ShapeError
from gossamer.results import SearchResult, check_count, check_k, empty_result

if TYPE_CHECKING:
    from gossamer.embeddings import SparseEmbeddings, SparseRows
    from gossamer.index import InvertedIndex

_QUERIES_PER_BLOCK = 1024  # bounds the memory of the candidates


class TwoStageQueries:
    """Queries with two halves, a sparse and a dense embedding of each; checked once, here.

    Parameters
    ----------
    sparse : SparseEmbeddings, or scipy CSR array or matrix, shape (n_queries, dim)
        The half that finds candidates.
    dense : array, shape (n_queries, dense_dim), float16, float32 or float64
        The half that puts them in order: row i is of the same query as row i of ``sparse``. Copied, as
        float32; the copy is read-only.

    Raises
    ------
    ShapeError
        If ``dense`` is not a matrix with a row for each row of ``sparse``.
    EmbeddingsError
        If the sparse rows are not valid (see `SparseEmbeddings`), or ``dense`` is of another dtype or not
        finite as float32.

    Examples
    --------
    >>> from gossamer import SparseEmbeddings
    >>> sparse = SparseEmbeddings.from_dense(np.float32([[0, 1], [1, 0], [1, 1]]))
    >>> queries = TwoStageQueries(sparse, np.float32([[3, 1, 2], [0, 1, 0], [5, 5, 5]]))
    >>> len(queries), queries[1:2].dense
    (3, array([[0., 1., 0.]], dtype=float32))
    """

    sparse: SparseEmbeddings
    dense: FloatArray

    def __init__(self, sparse: SparseRows, dense: AnyArray) -> None:
        sparse, dense = as_embeddings(sparse), np.asarray(dense)
        if dense.ndim != 2 or len(dense) != len(sparse):
            raise ShapeError(
                f"dense: expected shape ({len(sparse)}, dense_dim), a row for each sparse query; got {dense.shape}"
            )
        dense = np.array(as_dense(dense, name="dense"), order="C")
        self._set(sparse, dense)

    def _set(self, sparse: SparseEmbeddings, dense: FloatArray) -> None:
        dense.flags.writeable = False
        self.sparse, self.dense = sparse, dense

    def __len__(self) -> int:
        return len(self.dense)

    def __getitem__(self, rows: slice | AnyArray) -> TwoStageQueries:
        """Select queries by a slice, an array of row numbers, or a mask; always returns rows, never one."""
        selected = TwoStageQueries.__new__(TwoStageQueries)
        selected._set(self.sparse[rows], self.dense[rows])  # checked rows need no second check
        return selected

    def __repr__(self) -> str:
        return f"TwoStageQueries({len(self)} queries, dim {self.sparse.dim}, dense dim {self.dense.shape[1]})"


class TwoStageSearcher:
    """Search a sparse index for candidates, and put the best of them in order by dense inner products.

    The documents whose sparse score is above a threshold are the candidates; the ``candidates`` best of
    them are scored exactly with their dense embeddings. Safe to search from several threads at once.

    Parameters
    ----------
    index : InvertedIndex
        Finds the candidates, exactly.
    rerank : array, shape (n_docs, dense_dim), float16 or float32
        The dense embedding of each document of the index, in memory or memory-mapped. It is neither
        copied nor read as a whole: a search reads the rows of its candidates. Leave it unchanged.
    candidates : int
        R, how many candidates of a query are put in order, at least 1. A document that is not among them
        is not found, however good its dense score: recall and cost both grow with R.

    Raises
    ------
    ShapeError
        If ``rerank`` is not a matrix with a row for each document and at least one column.
    EmbeddingsError
        If ``rerank`` is not a NumPy array, or of another dtype.
    ArgumentError
        If ``candidates`` is not a whole number of at least 1.

    References
    ----------
    Paria et al., "Minimizing FLOPs to Learn Efficient Sparse Representations", ICLR 2020,
    arXiv:2004.05665: inverted index, threshold, the best of what is left, re-ranked with dense embeddings.

    Examples
    --------
    >>> from gossamer import InvertedIndex, SparseEmbeddings
    >>> sparse = SparseEmbeddings.from_dense(np.float32([[1, 0], [2, 0], [3, 0], [0, 1]]))
    >>> dense = np.float16([[0, 9], [0, 5], [0, 7], [0, 8]])
    >>> searcher = TwoStageSearcher(InvertedIndex.build(sparse), rerank=dense, candidates=2)
    >>> searcher.search(TwoStageQueries(sparse[:1], dense[:1]), k=3)  # documents 2 and 1 are candidates, 0 is not
    SearchResult(doc_ids=array([[ 2,  1, -1]], dtype=int32), scores=array([[ 63.,  45., -inf]], dtype=float32))
    """

    def __init__(self, index: InvertedIndex, *, rerank: AnyArray, candidates: int) -> None:
        if not isinstance(rerank, np.ndarray):
            raise EmbeddingsError(f"rerank: expected a NumPy array or memory map; got {type(rerank).__name__}")
        if rerank.ndim != 2 or len(rerank) != index.n_docs or rerank.shape[1] == 0:
            raise ShapeError(
                f"rerank: expected shape ({index.n_docs}, dense_dim), a row for each document of the index; "
                f"got {rerank.shape}"
            )
        if rerank.dtype not in (np.float16, np.float32):
            raise EmbeddingsError(
                f"rerank: expected float16 or float32; got dtype {rerank.dtype}. Convert it with .astype('float32')"
            )
        self.index, self.candidates = index, check_count(candidates, name="candidates")
        self.rerank = np.asarray(rerank)  # a view: of a memory map too, without the cost of its subclass

    @property
    def n_docs(self) -> int:
        """The number of documents."""
        return self.index.n_docs

    @property
    def size_bytes(self) -> int:
        """The bytes of the index and of the dense embeddings, in memory or mapped."""
        return self.index.size_bytes + self.rerank.nbytes

    def search(
        self, queries: TwoStageQueries, k: int = 10, *, min_score: float = 0.0, n_threads: int = 1
    ) -> SearchResult:
        r"""Return the k candidates of largest dense score for each query.

        A score is the inner product of dense embeddings,

        .. math:: \sum_{j=1}^{\text{dense\_dim}} q_j x_j

        the float32 sum of float32 products in ascending order of dimensions, one query at a time: its bits
        depend on nothing but the two rows. Equal scores are ordered by ascending doc_id. Places for which
        there is no candidate, as always when k > candidates, hold doc_id -1 and score -inf.

        Parameters
        ----------
        queries : TwoStageQueries
            What to search for.
        k : int
            How many documents, at least 1.
        min_score : float
            What a **sparse** score must exceed to make a candidate, as in `InvertedIndex.search`. Dense
            scores are not compared with it, and may be negative.
        n_threads : int
            How many threads share the search for candidates, at least 1; their order is made by one.

        Raises
        ------
        ShapeError
            If the queries have other numbers of dimensions, sparse or dense.
        EmbeddingsError
            If the dense score of a candidate is not finite: its row of ``rerank`` holds NaN or infinity, or
            the score or a partial sum of it exceeds float32. Rows of documents that are never candidates
            are not read and not checked.
        ArgumentError
            If the queries are of another type, k or n_threads is below 1, or min_score is not a number.
        """
        if not isinstance(queries, TwoStageQueries):
            raise ArgumentError(f"queries: expected TwoStageQueries(sparse, dense); got {type(queries).__name__}")
        k, dense_dim = check_k(k), self.rerank.shape[1]
        if queries.dense.shape[1] != dense_dim:
            raise ShapeError(
                f"queries: expected {dense_dim} dense dimensions, as in rerank; got {queries.dense.shape[1]}. "
                "Were they encoded with the model of the documents?"
            )
        found = empty_result(len(queries), k)
        n_candidates = min(self.candidates, max(self.n_docs, 1))
        # Where there are no queries, the index still checks the arguments.
        for first in range(0, max(len(queries), 1), _QUERIES_PER_BLOCK):
            block = queries[first : first + _QUERIES_PER_BLOCK]
            first_stage = self.index.search(block.sparse, n_candidates, min_score=min_score, n_threads=n_threads)
            rows = slice(first, first + len(block))
            ordered = best_candidates(first_stage.doc_ids, block.dense, self.rerank, k=k)
            found.doc_ids[rows], found.scores[rows] = ordered
        return found


def best_candidates(doc_ids: IntArray, queries: FloatArray, rerank: AnyArray, *, k: int) -> SearchResult:
    """Return the k candidates of largest dense score for each query, as `in_dense_order` orders them.

    Parameters
    ----------
    doc_ids : array, shape (n_queries, n), int32
        The candidates of each query, without duplicates, in any order; -1 where there is none.
    queries : array, shape (n_queries, dense_dim), float32
        The dense embeddings of the queries.
    rerank : array, shape (n_docs, dense_dim), float16 or float32
        Those of the documents.
    k : int
        How many.
    """
    found = empty_result(len(queries), k)
    for row, (candidates, query) in enumerate(zip(doc_ids, queries, strict=True)):
        best, scores = in_dense_order(candidates[candidates >= 0], query, rerank)
        found.doc_ids[row, : best.size] = best[:k]
        found.scores[row, : best.size] = scores[:k]
    return found


def in_dense_order(doc_ids: IntArray, query: FloatArray, rerank: AnyArray) -> tuple[IntArray, FloatArray]:
    """Return the candidates of one query and their dense scores, best first; ties by ascending doc_id.

    Parameters
    ----------
    doc_ids : array, shape (n,), int32
        The candidates, without duplicates, in any order.
    query : array, shape (dense_dim,), float32
        The dense embedding of the query.
    rerank : array, shape (n_docs, dense_dim), float16 or float32
        Those of the documents.

    Raises
    ------
    EmbeddingsError
        If a score is not finite.
    """
    doc_ids = np.sort(doc_ids)  # the stable sort below then leaves ties in this order
    with np.errstate(over="ignore", invalid="ignore"):
        scores = _inner_products(rerank[doc_ids], query)
    finite = np.isfinite(scores)
    if not finite.all():
        at = int(np.argmin(finite))
        raise EmbeddingsError(
            f"rerank: expected finite rows whose scores fit float32; document {doc_ids[at]} scores {scores[at]}"
        )
    order = np.argsort(-scores, kind="stable")
    return doc_ids[order], scores[order]


def _inner_products(rows: AnyArray, query: FloatArray) -> FloatArray:
    """Return the float32 sums, in ascending order of dimensions, of the float32 products with each row."""
    products = np.empty((query.size, len(rows)), np.float32)
    np.multiply(rows.T, query[:, None], out=products)
    # A matrix product's order of summation depends on shapes and machines. Over the slow axis add.reduce adds
    # row after row; a lone column has no slow axis and would be added pairwise, but accumulate never is.
    sums: FloatArray = np.add.reduce(products, axis=0) if len(rows) > 1 else np.add.accumulate(products)[-1]
    return sums
