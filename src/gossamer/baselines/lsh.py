"""Approximate dense search by random hyperplanes (LSH), by FAISS: every document's bits are compared.

Charikar, "Similarity Estimation Techniques from Rounding Algorithms", STOC 2002.
"""

from __future__ import annotations

import numpy as np

from gossamer.arrays import FloatArray
from gossamer.baselines.faiss_library import import_faiss, ties_by_doc_id
from gossamer.embeddings import as_dense
from gossamer.results import SearchResult, check_count, check_k, empty_result


class LshSearcher:
    """Search by the signs of random projections: the score is the inner product of codes of −1 and 1.

    It ranks as the angle does, so it is for rows of one length. Many documents tie; re-rank with
    `gossamer.baselines.reranked.RerankedSearcher` for true scores.

    Parameters
    ----------
    documents : array, shape (n_docs, dim), float32
        What is searched.
    n_bits : int
        Hyperplanes: bits of a code, kept in whole bytes. Up to ``dim`` they are orthogonal.
        Drawing them takes a time that grows with the cube of the larger of the two.

    Raises
    ------
    MissingDependencyError
        If FAISS is not installed.
    ArgumentError, ShapeError, EmbeddingsError
        If n_bits is not a whole number of at least 1, or the documents are not a matrix of finite reals;
        so does `search` for queries.
    """

    def __init__(self, documents: FloatArray, *, n_bits: int) -> None:
        faiss = import_faiss("LSH")
        documents = np.ascontiguousarray(as_dense(documents, name="documents"))
        self.n_docs, self.dim = documents.shape
        self.n_bits = check_count(n_bits, name="n_bits")
        self._index = faiss.IndexLSH(self.dim, self.n_bits)  # draws the hyperplanes from a seed of its own
        self._index.add(documents)
        self.size_bytes = self.n_docs * self._index.code_size + self.n_bits * self.dim * 4

    def search(self, queries: FloatArray, k: int = 10) -> SearchResult:
        """Return the k documents whose codes differ in the fewest bits, shape (n_queries, k)."""
        k = check_k(k)
        queries = np.ascontiguousarray(as_dense(queries, name="queries", dim=self.dim))
        if self.n_docs == 0:
            return empty_result(len(queries), k)
        differing, doc_ids = self._index.search(queries, k)
        scores = np.float32(self.n_bits) - 2 * differing
        scores[doc_ids < 0] = -np.inf
        return ties_by_doc_id(SearchResult(doc_ids.astype(np.int32), scores))
