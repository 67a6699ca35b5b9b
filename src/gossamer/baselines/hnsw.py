"""Approximate dense search: a navigable small-world graph (HNSW), by FAISS or hnswlib.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical
Navigable Small World graphs", 2016, arXiv:1603.09320.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from gossamer.arrays import FloatArray
from gossamer.embeddings import as_dense
from gossamer.errors import MissingDependencyError
from gossamer.results import SearchResult, check_k, empty_result


class HnswSearcher:
    """Search dense embeddings approximately, by a FAISS HNSW graph over inner products.

    Parameters
    ----------
    documents : array, shape (n_docs, dim), float32
        What is searched.
    n_links : int
        Links of a node; twice as many on the bottom layer ("M").
    build_effort : int
        Nodes considered while building ("efConstruction").
    search_effort : int
        Nodes considered by a search ("efSearch"); FAISS takes k where that is larger.

    Raises
    ------
    MissingDependencyError
        If FAISS is not installed.
    ShapeError, EmbeddingsError
        If the documents are not a matrix of finite reals; so does `search` for queries.
    """

    def __init__(
        self, documents: FloatArray, *, n_links: int = 32, build_effort: int = 200, search_effort: int = 64
    ) -> None:
        if importlib.util.find_spec("faiss") is None:
            raise MissingDependencyError("HNSW needs FAISS, which is not installed: pip install 'gossamer[bench]'")
        import faiss

        documents = np.ascontiguousarray(as_dense(documents, name="documents"))
        self.n_docs, self.dim = documents.shape
        self._graph: Any = faiss.IndexHNSWFlat(self.dim, n_links, faiss.METRIC_INNER_PRODUCT)
        self._graph.hnsw.efConstruction = build_effort
        self._graph.hnsw.efSearch = search_effort
        self._graph.add(documents)
        # Vectors, and 2 M links of four bytes for each node on the bottom layer, which holds nearly all.
        self.size_bytes = documents.nbytes + self.n_docs * 2 * n_links * 4

    def search(self, queries: FloatArray, k: int = 10) -> SearchResult:
        """Return k documents of large inner product for each query, shape (n_queries, k)."""
        k = check_k(k)
        queries = np.ascontiguousarray(as_dense(queries, name="queries", dim=self.dim))
        if self.n_docs == 0:
            return empty_result(len(queries), k)
        scores, doc_ids = self._graph.search(queries, k)
        scores[doc_ids < 0] = float("-inf")
        return SearchResult(doc_ids.astype("int32"), scores)
