"""The inverted index: checks its arguments, then calls kernels."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gossamer.arrays import OffsetArray
from gossamer.catalog import Catalog
from gossamer.embeddings import as_embeddings
from gossamer.errors import ArgumentError, EmbeddingsError, ShapeError
from gossamer.index import storage
from gossamer.index.storage import MAX_DOCS, MAX_WINDOW, IndexContents
from gossamer.results import SearchResult, check_count, check_k

if TYPE_CHECKING:
    from gossamer.embeddings import SparseEmbeddings, SparseRows

_MAX_FLOAT32 = float(np.finfo(np.float32).max)
_MAX_QUERIES_PER_CALL = 64  # an interrupt from the keyboard waits for one call of the kernel


class InvertedIndex:
    """Exact search by inner product over sparse embeddings of any sign; never changes once built.

    Made by `build` or `open`, not by calling the class. Safe to search from several threads at once.

    Attributes
    ----------
    n_docs, dim : int
        The number of documents and of dimensions.

    Examples
    --------
    >>> from gossamer import SparseEmbeddings
    >>> documents = SparseEmbeddings.from_dense(np.float32([[0, 2, 0], [1, 0, -1], [0, 1, 0]]))
    >>> found = InvertedIndex.build(documents).search(documents[:1], k=2)
    >>> found.doc_ids, found.scores
    (array([[0, 2]], dtype=int32), array([[4., 2.]], dtype=float32))
    """

    def __init__(self, contents: IndexContents, catalog: Catalog | None = None) -> None:
        self._contents = contents
        self.n_docs, self.dim = contents.n_docs, contents.dim
        if catalog is not None:
            self.catalog = catalog

    @classmethod
    def build(cls, rows: SparseRows, *, catalog: Catalog | None = None) -> InvertedIndex:
        """Index rows, which become documents 0 to n - 1, in O(nnz).

        Parameters
        ----------
        rows : SparseEmbeddings, or scipy CSR array or matrix, shape (n, dim)
            Of any sign; no rows, and rows without any nonzero, are all right.
        catalog : Catalog, optional
            What the rows are called; without it a row's key is its number.

        Raises
        ------
        EmbeddingsError
            If the rows are not valid (see `SparseEmbeddings`), or more than 2**31 - 1.
        ShapeError
            If the catalog does not name as many rows.
        """
        from gossamer.kernels.postings import build_postings

        rows = as_embeddings(rows)
        if len(rows) > MAX_DOCS:
            raise EmbeddingsError(f"rows: expected at most {MAX_DOCS}; got {len(rows)}. Build several indexes")
        catalog = Catalog(n=len(rows)) if catalog is None else catalog
        if catalog.n != len(rows):
            raise ShapeError(f"catalog: expected names for {len(rows)} rows; got {catalog.n}")
        arrays = build_postings(rows.indptr, rows.dims, rows.values, rows.dim, MAX_WINDOW)
        for array in arrays:
            array.flags.writeable = False
        contents = IndexContents(
            n_docs=len(rows),
            dim=rows.dim,
            window=MAX_WINDOW,
            fingerprint=catalog.fingerprint,
            arrays=dict(zip(storage.POSTINGS, arrays, strict=True)),
        )
        return cls(contents, catalog)

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool = False) -> InvertedIndex:
        """Open an index that `save` wrote.

        The posting lists are memory-mapped, so that this reads little, and keys and labels are read when
        `catalog` is first asked for. The index goes on working when the folder is overwritten or removed.

        Parameters
        ----------
        folder : str or Path
            What `save` wrote.
        verify : bool
            Whether to read the whole file and compare its checksums.

        Raises
        ------
        NotFoundError
            If there is no index in the folder.
        FormatError
            If a file is missing, truncated or damaged; without ``verify``, damage that leaves all lengths
            as they were goes unseen, and searches may then return wrong results.
        VersionError
            If a newer Gossamer wrote the index.
        """
        return cls(storage.read(Path(folder), verify=verify))

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the index to a folder, as ``docs/index-format.md`` says.

        A process that is killed meanwhile leaves the old index, or none if there was none, or the new one.
        Only one process at a time may save to a folder.

        Raises
        ------
        OutputExistsError
            If the folder exists, unless it holds an index and ``overwrite`` is set.
        NotFoundError
            If its parent does not exist.
        """
        storage.write(Path(folder), self._contents, self.catalog, overwrite=overwrite)

    def search(self, queries: SparseRows, k: int = 10, *, min_score: float = 0.0, n_threads: int = 1) -> SearchResult:
        """Return the k best documents of each query, exactly.

        A document is found if it shares a dimension with the query and its score is above ``min_score``.
        A score is the float32 sum of float32 products in ascending order of dimensions; its bits do not
        depend on anything else. Equal scores are ordered by ascending doc_id. Places for which there is no
        document, as when k > n_docs or a query is all zero, hold doc_id -1 and score -inf.

        Parameters
        ----------
        queries : SparseEmbeddings, or scipy CSR array or matrix, shape (n_queries, dim)
            What to search for. `SparseEmbeddings` are not checked again.
        k : int
            How many documents, at least 1.
        min_score : float
            Compared with the scores as real numbers; may be negative, and -inf finds every document that
            shares a dimension.
        n_threads : int
            How many threads share the queries, at least 1.

        Raises
        ------
        ShapeError
            If the queries have another number of dimensions.
        EmbeddingsError
            If the queries are not valid (see `SparseEmbeddings`).
        ArgumentError
            If k or n_threads is below 1, or min_score is not a number.
        """
        queries, k = as_embeddings(queries), check_k(k)
        threshold, n_threads = _checked_threshold(min_score), check_count(n_threads, name="n_threads")
        if queries.dim != self.dim:
            raise ShapeError(
                f"queries: expected {self.dim} dimensions, as in the index; got {queries.dim}. "
                "Were they encoded with the model the index was built from?"
            )
        n_queries = len(queries)
        found = SearchResult(np.empty((n_queries, k), np.int32), np.empty((n_queries, k), np.float32))
        size = min(_MAX_QUERIES_PER_CALL, n_queries // (4 * n_threads) + 1)
        parts = [slice(first, min(first + size, n_queries)) for first in range(0, n_queries, size)]
        if n_threads == 1 or len(parts) == 1:
            for part in parts:
                self._search_part(queries, part, threshold, found)
        else:
            with ThreadPoolExecutor(min(n_threads, os.cpu_count() or 1)) as pool:
                list(pool.map(lambda part: self._search_part(queries, part, threshold, found), parts))
        return found

    def _search_part(self, queries: SparseEmbeddings, part: slice, threshold: np.float32, found: SearchResult) -> None:
        """Write the results of some of the queries, in workspace of its own."""
        from gossamer.kernels import call, window_scan

        k = min(found.doc_ids.shape[1], self.n_docs)
        call(
            window_scan.search,
            *self._contents.postings,
            self.n_docs,
            self.dim,
            self._contents.window,
            queries.indptr[part.start : part.stop + 1],
            queries.dims,
            queries.values,
            threshold,
            np.empty(MAX_WINDOW, np.float32),
            np.empty(2 * k, np.uint64),
            found.doc_ids[part],
            found.scores[part],
        )

    @cached_property
    def catalog(self) -> Catalog:
        """What the documents are called, and the model they come from.

        Raises
        ------
        FormatError
            If the keys or labels of an opened index are damaged.
        """
        return storage.read_catalog(self._contents)

    @property
    def nnz(self) -> int:
        """The number of postings: of nonzeros of all documents."""
        return self._contents.arrays["postings.ids"].size

    @property
    def size_bytes(self) -> int:
        """The bytes of the posting lists, in memory or mapped; keys and labels are not counted."""
        return sum(array.nbytes for array in self._contents.postings)

    @property
    def list_lengths(self) -> OffsetArray:
        """The number of postings of each dimension, shape (dim,), int64; counted anew at each call."""
        lengths: OffsetArray = np.diff(self._contents.arrays["postings.offsets"]).reshape(-1, self.dim).sum(axis=0)
        return lengths

    def __repr__(self) -> str:
        return f"InvertedIndex({self.n_docs} documents, dim {self.dim}, {self.nnz} postings)"


def _checked_threshold(min_score: float) -> np.float32:
    """Return a float32 that a score exceeds exactly if it exceeds ``min_score`` as a real number."""
    if not isinstance(min_score, Real) or not -math.inf <= min_score <= math.inf:  # NaN
        raise ArgumentError(f"min_score: expected a number, -inf and inf included; got {min_score!r}")
    threshold = np.float32(max(-_MAX_FLOAT32, min(min_score, _MAX_FLOAT32)))  # no score is as large
    # The largest float32 that is not above: a float32 above the one is above the other.
    if float(threshold) <= min_score:
        return threshold
    with np.errstate(over="ignore", under="ignore"):
        return np.nextafter(threshold, np.float32(-np.inf))
