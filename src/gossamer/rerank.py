"""Search in two stages: candidates from a sparse index, then exact scores of dense embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gossamer.arrays import AnyArray, FloatArray, IntArray
from gossamer.embeddings import as_dense, as_embeddings
from gossamer.errors import ArgumentError, EmbeddingsError, ShapeError
from gossamer.results import NO_DOCUMENT, SearchResult, check_count, check_k, empty_result

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

    def at_least(self, magnitude: float) -> TwoStageQueries:
        """Return the queries without sparse entries of smaller magnitude; see `SparseEmbeddings.at_least`."""
        kept = TwoStageQueries.__new__(TwoStageQueries)
        kept._set(self.sparse.at_least(magnitude), self.dense)
        return kept

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
        if len(queries) <= _QUERIES_PER_BLOCK:  # none, too: the index still checks the arguments
            return self._search_block(queries, k, min_score=min_score, n_threads=n_threads)
        found = empty_result(len(queries), k)
        for first in range(0, len(queries), _QUERIES_PER_BLOCK):
            rows = slice(first, first + _QUERIES_PER_BLOCK)
            block = self._search_block(queries[rows], k, min_score=min_score, n_threads=n_threads)
            found.doc_ids[rows], found.scores[rows] = block
        return found

    def _search_block(self, queries: TwoStageQueries, k: int, *, min_score: float, n_threads: int) -> SearchResult:
        n_candidates = min(self.candidates, max(self.n_docs, 1))
        first_stage = self.index.search(queries.sparse, n_candidates, min_score=min_score, n_threads=n_threads)
        return best_candidates(first_stage.doc_ids, queries.dense, self.rerank, k=k)


def best_candidates(doc_ids: IntArray, queries: FloatArray, rerank: AnyArray, *, k: int) -> SearchResult:
    """Return the k candidates of largest dense score for each query, ties by ascending doc_id.

    Parameters
    ----------
    doc_ids : array, shape (n_queries, n), int32
        The candidates of each query, without duplicates; where there are fewer than n, -1 after them.
    queries : array, shape (n_queries, dense_dim), float32
        The dense embeddings of the queries.
    rerank : array, shape (n_docs, dense_dim), float16 or float32
        Those of the documents.
    k : int
        How many.

    Raises
    ------
    EmbeddingsError
        If a score is not finite.
    """
    from gossamer.kernels import call
    from gossamer.kernels.dense_order import order_candidates

    found = SearchResult(np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.float32))
    bad = np.array([NO_DOCUMENT, 0.0])
    if rerank.dtype == np.float32:
        call(order_candidates, doc_ids, doc_ids, queries, rerank, *found, bad)
    else:
        for row in range(len(queries)):
            chosen, one = doc_ids[row][doc_ids[row] >= 0], slice(row, row + 1)
            rows = rerank[chosen].astype(np.float32)
            places = np.arange(chosen.size, dtype=np.int32)
            part = found.doc_ids[one], found.scores[one]
            call(order_candidates, chosen[None], places[None], queries[one], rows, *part, bad)
    if bad[0] != NO_DOCUMENT:
        raise EmbeddingsError(
            f"rerank: expected finite rows whose scores fit float32; document {bad[0]:.0f} scores {bad[1]}"
        )
    return found
