"""Exhaustive dense search by FAISS: the yardstick where speed counts.

For one query FAISS keeps the best k while it scores; `gossamer.baselines.exhaustive` writes all scores down
and selects after, by NumPy alone.
"""

from __future__ import annotations

import numpy as np

from gossamer.arrays import FloatArray
from gossamer.baselines.faiss_library import import_faiss, search_faiss
from gossamer.embeddings import as_dense
from gossamer.results import SearchResult, check_k


class FlatSearcher:
    """Search dense embeddings exactly, by a FAISS flat index over inner products.

    Parameters
    ----------
    documents : array, shape (n_docs, dim), float32
        Also float16 and float64, which are converted. FAISS copies them.

    Raises
    ------
    MissingDependencyError
        If FAISS is not installed.
    ShapeError, EmbeddingsError
        If the documents are not a matrix of finite reals; so does `search` for queries.
    """

    def __init__(self, documents: FloatArray) -> None:
        faiss = import_faiss("exhaustive search by FAISS")
        documents = np.ascontiguousarray(as_dense(documents, name="documents"))
        self.n_docs, self.dim = documents.shape
        self.size_bytes = documents.nbytes
        self._index = faiss.IndexFlatIP(self.dim)
        self._index.add(documents)

    def search(self, queries: FloatArray, k: int = 10) -> SearchResult:
        """Return the k documents of largest inner product for each query, shape (n_queries, k)."""
        return search_faiss(self._index, as_dense(queries, name="queries", dim=self.dim), check_k(k))
