"""Any dense baseline with a second stage: its best candidates, put in order by true inner products."""

from __future__ import annotations

import numpy as np

from gossamer.arrays import FloatArray
from gossamer.embeddings import as_dense
from gossamer.errors import ShapeError
from gossamer.rerank import best_candidates
from gossamer.results import Searcher, SearchResult, check_count, check_k


class RerankedSearcher:
    """Ask a searcher of dense queries for candidates and order them by dense inner products.

    For a sparse index, whose queries have two halves, there is `gossamer.TwoStageSearcher`.

    Parameters
    ----------
    first_stage : Searcher of dense queries
        Finds the candidates.
    documents : array, shape (n_docs, dim), float32
        The dense embedding of each document; kept as it is, not copied.
    candidates : int
        R, how many candidates of a query are put in order, at least 1. No others are found.

    Raises
    ------
    ShapeError, EmbeddingsError
        If the documents are not a matrix of finite reals with a row for each of the searcher's.
    ArgumentError
        If candidates is not a whole number of at least 1.
    """

    def __init__(self, first_stage: Searcher[FloatArray], documents: FloatArray, *, candidates: int) -> None:
        self.first_stage, self._dense = first_stage, as_dense(documents, name="documents")
        if len(self._dense) != first_stage.n_docs:
            raise ShapeError(f"documents: expected {first_stage.n_docs} rows, as in first_stage; got {len(documents)}")
        self.candidates = check_count(candidates, name="candidates")

    @property
    def n_docs(self) -> int:
        """The number of documents."""
        return self.first_stage.n_docs

    @property
    def size_bytes(self) -> int:
        """The bytes of the first stage and of the dense embeddings."""
        return self.first_stage.size_bytes + self._dense.nbytes

    def search(self, queries: FloatArray, k: int = 10) -> SearchResult:
        """Return the k candidates of largest inner product for each query, ties by ascending doc_id."""
        k = check_k(k)
        queries = np.ascontiguousarray(as_dense(queries, name="queries", dim=self._dense.shape[1]))
        first_stage = self.first_stage.search(queries, min(self.candidates, max(self.n_docs, 1)))
        return best_candidates(first_stage.doc_ids, queries, self._dense, k=k)
