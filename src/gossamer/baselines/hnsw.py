"""Approximate dense search: a navigable small-world graph (HNSW), by FAISS.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical
Navigable Small World graphs", 2016, arXiv:1603.09320.
"""

from __future__ import annotations

import numpy as np

from gossamer.arrays import FloatArray
from gossamer.baselines.faiss_library import import_faiss, search_faiss
from gossamer.embeddings import as_dense
from gossamer.errors import ConfigError
from gossamer.results import SearchResult, check_count, check_k

_FEWEST_LINKS = 2  # with one, FAISS divides by the logarithm of 1


class HnswSearcher:
    """Search dense embeddings approximately, by a FAISS HNSW graph over inner products.

    Parameters
    ----------
    documents : array, shape (n_docs, dim), float32
        What is searched.
    n_links : int
        Links of a node, at least 2; twice as many on the bottom layer ("M").
    build_effort : int
        Nodes considered while building ("efConstruction").
    search_effort : int
        Nodes considered by a search ("efSearch"); FAISS takes k where that is larger.

    Raises
    ------
    MissingDependencyError
        If FAISS is not installed.
    ConfigError
        If n_links is 1.
    ArgumentError, ShapeError, EmbeddingsError
        If a count is not a whole number of at least 1, or the documents are not a matrix of finite reals;
        so does `search` for queries.
    """

    def __init__(
        self, documents: FloatArray, *, n_links: int = 32, build_effort: int = 200, search_effort: int = 64
    ) -> None:
        faiss = import_faiss("HNSW")
        documents = np.ascontiguousarray(as_dense(documents, name="documents"))
        self.n_docs, self.dim = documents.shape
        check_count(build_effort, name="build_effort")
        check_count(search_effort, name="search_effort")
        if check_count(n_links, name="n_links") < _FEWEST_LINKS:
            raise ConfigError(f"n_links: expected at least {_FEWEST_LINKS}; got {n_links}")
        self._graph = faiss.IndexHNSWFlat(self.dim, n_links, faiss.METRIC_INNER_PRODUCT)
        self._graph.hnsw.efConstruction = build_effort
        self._graph.hnsw.efSearch = search_effort
        self._graph.add(documents)
        # Vectors, and 2 M links of four bytes for each node on the bottom layer, which holds nearly all.
        self.size_bytes = documents.nbytes + self.n_docs * 2 * n_links * 4

    def search(self, queries: FloatArray, k: int = 10) -> SearchResult:
        """Return k documents of large inner product for each query, shape (n_queries, k)."""
        return search_faiss(self._graph, as_dense(queries, name="queries", dim=self.dim), check_k(k))
