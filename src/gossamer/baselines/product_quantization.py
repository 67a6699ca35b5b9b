"""Approximate dense search by product quantization, with and without inverted lists, by FAISS.

Jégou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search", IEEE TPAMI 33(1), 2011.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer.arrays import FloatArray
from gossamer.baselines.faiss_library import import_faiss, search_faiss
from gossamer.baselines.training_rows import draw_training_rows
from gossamer.embeddings import as_dense
from gossamer.errors import ConfigError
from gossamer.results import SearchResult, check_count, check_k

_MOST_BITS = 8
_TRAINING_ROWS = 16_384
_TRAINING_ROWS_PER_LIST = 39  # what FAISS asks for
_BYTES_PER_DOC_ID = 8  # FAISS's ids are of 64 bits


class ProductQuantizationSearcher:
    """Search documents that are kept as one centroid number for each of several parts of a row.

    Parameters
    ----------
    documents : array, shape (n_docs, dim), float32
        What is searched.
    n_parts : int
        Parts of a row; must divide ``dim``.
    bits_per_part : int
        Bits of a centroid's number, 1 to 8: 2 to that many centroids are learned for each part.
    n_training_rows : int
        From how many documents, drawn at random, they are learned, at most; at least as many as centroids.
        FAISS asks for 39 a centroid; more take longer, as most of the build does.
    seed : int
        Of the draw.

    Raises
    ------
    MissingDependencyError
        If FAISS is not installed.
    ConfigError
        If n_parts does not divide dim, bits_per_part is out of range, or there are too few documents.
    ArgumentError, ShapeError, EmbeddingsError
        If a count is not a whole number of at least 1, or the documents are not a matrix of finite reals;
        so does `search` for queries.
    """

    def __init__(
        self,
        documents: FloatArray,
        *,
        n_parts: int,
        bits_per_part: int = 8,
        n_training_rows: int = _TRAINING_ROWS,
        seed: int = 0,
    ) -> None:
        faiss = import_faiss("product quantization")
        documents = np.ascontiguousarray(as_dense(documents, name="documents"))
        self.n_docs, self.dim = documents.shape
        _check_parts(self.dim, n_parts, bits_per_part)
        self._index = faiss.IndexPQ(self.dim, n_parts, bits_per_part, faiss.METRIC_INNER_PRODUCT)
        _quiet(self._index.pq)
        if self.n_docs:
            training_rows = draw_training_rows(documents, n_training_rows, seed=seed)
            _check_rows(len(training_rows), 2**bits_per_part, "bits_per_part")
            self._index.train(training_rows)
            self._index.add(documents)
        self.size_bytes = self.n_docs * self._index.code_size + self.dim * 2**bits_per_part * 4

    def search(self, queries: FloatArray, k: int = 10) -> SearchResult:
        """Return k documents of large approximate inner product for each query, shape (n_queries, k)."""
        return search_faiss(self._index, as_dense(queries, name="queries", dim=self.dim), check_k(k))


class IvfPqSearcher:
    """Search product-quantized documents in the inverted lists (IVF) whose centroids score highest.

    Parameters
    ----------
    documents : array, shape (n_docs, dim), float32
        What is searched.
    n_lists : int
        Lists that the documents are shared out to by k-means ("nlist").
    n_probes : int
        Lists that a search opens ("nprobe"), at most ``n_lists``.
    n_training_rows : int, optional
        From how many documents all centroids are learned, at most; 16,384, or 39 a list if that is more, if not
        given.
    n_parts, bits_per_part, seed : int
        As in `ProductQuantizationSearcher`; what is quantized is the difference to the list's centroid.

    Raises
    ------
    MissingDependencyError, ConfigError, ArgumentError, ShapeError, EmbeddingsError
        As in `ProductQuantizationSearcher`; also if n_probes exceeds n_lists, or n_lists the rows to learn from.
    """

    def __init__(
        self,
        documents: FloatArray,
        *,
        n_lists: int,
        n_probes: int,
        n_parts: int,
        bits_per_part: int = 8,
        n_training_rows: int | None = None,
        seed: int = 0,
    ) -> None:
        faiss = import_faiss("IVF-PQ")
        documents = np.ascontiguousarray(as_dense(documents, name="documents"))
        self.n_docs, self.dim = documents.shape
        _check_parts(self.dim, n_parts, bits_per_part)
        if check_count(n_probes, name="n_probes") > check_count(n_lists, name="n_lists"):
            raise ConfigError(f"n_probes: expected at most n_lists = {n_lists}; got {n_probes}")
        self._centroids = faiss.IndexFlatIP(self.dim)  # FAISS does not keep it alive
        self._index = faiss.IndexIVFPQ(
            self._centroids, self.dim, n_lists, n_parts, bits_per_part, faiss.METRIC_INNER_PRODUCT
        )
        _quiet(self._index, self._index.pq)
        self._index.nprobe = n_probes
        if self.n_docs:
            if n_training_rows is None:
                n_training_rows = max(_TRAINING_ROWS, _TRAINING_ROWS_PER_LIST * n_lists)
            training_rows = draw_training_rows(documents, n_training_rows, seed=seed)
            _check_rows(len(training_rows), 2**bits_per_part, "bits_per_part")
            _check_rows(len(training_rows), n_lists, "n_lists")
            self._index.train(training_rows)
            self._index.add(documents)
        codes = self.n_docs * (self._index.code_size + _BYTES_PER_DOC_ID)
        self.size_bytes = codes + (2**bits_per_part + n_lists) * self.dim * 4

    def search(self, queries: FloatArray, k: int = 10) -> SearchResult:
        """Return k documents of large approximate inner product for each query, shape (n_queries, k).

        Where the opened lists hold fewer than k documents, places are left empty.
        """
        return search_faiss(self._index, as_dense(queries, name="queries", dim=self.dim), check_k(k))


def _check_parts(dim: int, n_parts: int, bits_per_part: int) -> None:
    if dim % check_count(n_parts, name="n_parts"):
        raise ConfigError(f"n_parts: expected a divisor of dim {dim}; got {n_parts}")
    if check_count(bits_per_part, name="bits_per_part") > _MOST_BITS:
        raise ConfigError(f"bits_per_part: expected 1 to {_MOST_BITS}; got {bits_per_part}")


def _check_rows(n_rows: int, n_centroids: int, setting: str) -> None:
    if n_rows < n_centroids:
        raise ConfigError(
            f"{setting}: its {n_centroids} centroids are learned from as many documents at least; got {n_rows}"
        )


def _quiet(*quantizers: Any) -> None:
    """Keep FAISS from writing to stderr that more rows to learn from would be better."""
    for quantizer in quantizers:
        quantizer.cp.min_points_per_centroid = 1
