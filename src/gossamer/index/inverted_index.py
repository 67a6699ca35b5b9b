"""The inverted index: checks its arguments, then calls kernels."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gossamer.arrays import IntArray, OffsetArray
from gossamer.catalog import Catalog
from gossamer.embeddings import as_embeddings
from gossamer.errors import ArgumentError, EmbeddingsError, ShapeError
from gossamer.index import storage
from gossamer.index.storage import MAX_DOCS, MAX_WINDOW, IndexContents
from gossamer.results import SearchResult, check_count, check_k, empty_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from gossamer.embeddings import SparseEmbeddings, SparseRows

_MAX_FLOAT32 = float(np.finfo(np.float32).max)
_ZERO = np.float32(0)
_MAX_QUERIES_PER_BLOCK = 1024
_MAX_RANKS = 1 << 21  # the workspace of a block of queries, in results: 16 MiB
_MAX_WORK_PER_CALL = 1 << 14  # windows × queries: an interrupt from the keyboard waits for one call of the kernel
_MIN_QUERIES_SHARING = 8  # fewer queries hardly share posting lists
_ALL_DOCUMENTS = np.empty(0, np.int32)
_ALL_DOCUMENTS.flags.writeable = False


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
        self._postings = contents.postings
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

    def search(
        self,
        queries: SparseRows,
        k: int = 10,
        *,
        min_score: float = 0.0,
        within: IntArray | None = None,
        n_threads: int = 1,
    ) -> SearchResult:
        """Return the k best documents of each query, exactly.

        A document is found if it shares a dimension with the query and its score is above ``min_score``.
        A score is the float32 sum of float32 products in ascending order of dimensions; its bits do not
        depend on anything else. Equal scores are ordered by ascending doc_id. Places for which there is no
        document, as when k > n_docs or a query is all zero, hold doc_id -1 and score -inf.

        Many queries in one call take less time each than one by one, the more of them the less.

        Parameters
        ----------
        queries : SparseEmbeddings, or scipy CSR array or matrix, shape (n_queries, dim)
            What to search for. `SparseEmbeddings` are not checked again.
        k : int
            How many documents, at least 1.
        min_score : float
            Compared with the scores as real numbers; may be negative, and -inf finds every document that
            shares a dimension.
        within : array, shape (n,), int32, optional
            The doc_ids to search among, ascending, without duplicates; all if not given, nothing is found if
            empty. Time falls with their number in batches; a single query gains below a hundredth or so of the
            documents (``docs/benchmarks.md``).
        n_threads : int
            How many threads share the queries, at least 1; as many as there are processors are used at most.

        Raises
        ------
        ShapeError
            If the queries have another number of dimensions, or within is not a vector.
        EmbeddingsError
            If the queries are not valid (see `SparseEmbeddings`).
        ArgumentError
            If k or n_threads is below 1, min_score is not a number, or within is not of dtype int32, not
            ascending, or not in the index.
        """
        queries, k = as_embeddings(queries), check_k(k)
        threshold, n_threads = _checked_threshold(min_score), check_count(n_threads, name="n_threads")
        if queries.dim != self.dim:
            raise ShapeError(
                f"queries: expected {self.dim} dimensions, as in the index; got {queries.dim}. "
                "Were they encoded with the model the index was built from?"
            )
        within = _ALL_DOCUMENTS if within is None else _checked_within(within, self.n_docs)
        if within is not _ALL_DOCUMENTS and within.size == 0:
            return empty_result(len(queries), k)
        n_queries = len(queries)
        found = SearchResult(np.empty((n_queries, k), np.int32), np.empty((n_queries, k), np.float32))
        if n_threads > 1:
            n_threads = min(n_threads, os.cpu_count() or 1)
        size = max(1, min(_MAX_QUERIES_PER_BLOCK, _MAX_RANKS // (2 * k), -(-n_queries // n_threads)))
        if size >= n_queries:
            self._search_block(queries, threshold, within, found)
            return found

        def search_from(first: int) -> None:
            block = slice(first, first + size)
            part = SearchResult(found.doc_ids[block], found.scores[block])
            self._search_block(queries[block], threshold, within, part)

        starts = range(0, n_queries, size)
        if n_threads == 1:
            for first in starts:
                search_from(first)
        else:
            with ThreadPoolExecutor(n_threads) as pool:
                list(pool.map(search_from, starts))
        return found

    def _search_block(
        self, queries: SparseEmbeddings, threshold: np.float32, within: IntArray, found: SearchResult
    ) -> None:
        """Write the results of some queries, in workspace of its own."""
        call, scan = _kernels()
        n_queries, k = found.doc_ids.shape
        window, k = self._contents.window, min(k, self.n_docs)
        if n_queries < _MIN_QUERIES_SHARING:
            list_dims, query_lists = queries.dims, np.arange(queries.dims.size)
        else:
            list_dims, query_lists = np.unique(queries.dims, return_inverse=True)
            list_dims.flags.writeable = False  # numba compiles a kernel for each kind of array
        workspace = (
            np.empty(MAX_WINDOW, np.float32),
            np.empty(n_queries, np.int64),
            np.empty(n_queries, np.float32),
            np.empty((n_queries, 2 * k), np.uint64),
        )
        n_windows, step = max(1, -(-self.n_docs // window)), max(1, _MAX_WORK_PER_CALL // max(1, n_queries))
        for first in range(0, n_windows, step):
            call(
                scan,
                *self._postings,
                self.n_docs,
                self.dim,
                window,
                first,
                min(first + step, n_windows),
                queries.indptr,
                queries.values,
                query_lists,
                list_dims,
                within,
                threshold,
                *workspace,
                *found,
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


@cache
def _kernels() -> tuple[Callable[..., None], Any]:
    """Import the kernels with the first search; importing them again takes a microsecond."""
    from gossamer.kernels import call, window_scan

    return call, window_scan.search


def _checked_threshold(min_score: float) -> np.float32:
    """Return a float32 that a score exceeds exactly if it exceeds ``min_score`` as a real number."""
    if type(min_score) is float and min_score == 0:  # the usual one, at once
        return _ZERO
    if not isinstance(min_score, Real) or not -math.inf <= min_score <= math.inf:  # NaN
        raise ArgumentError(f"min_score: expected a number, -inf and inf included; got {min_score!r}")
    threshold = np.float32(max(-_MAX_FLOAT32, min(min_score, _MAX_FLOAT32)))  # no score is as large
    # The largest float32 that is not above: a float32 above the one is above the other.
    if float(threshold) <= min_score:
        return threshold
    with np.errstate(over="ignore", under="ignore"):
        return np.nextafter(threshold, np.float32(-np.inf))


def _checked_within(within: IntArray, n_docs: int) -> IntArray:
    """Return the subset as kernels take it: contiguous and read-only."""
    doc_ids: IntArray = np.ascontiguousarray(within).view()
    if np.ndim(within) != 1:
        raise ShapeError(f"within: expected a vector of doc_ids; got shape {np.shape(within)}")
    if doc_ids.dtype != np.int32:
        raise ArgumentError(
            f"within: expected doc_ids of dtype int32; got {doc_ids.dtype}. Convert with .astype('int32')"
        )
    if doc_ids.size:
        falls = doc_ids[1:] <= doc_ids[:-1]
        if falls.any():
            place = int(np.argmax(falls))
            raise ArgumentError(
                f"within: expected ascending doc_ids; got {doc_ids[place + 1]} after {doc_ids[place]}. "
                "Use numpy.unique(within)"
            )
        if doc_ids[0] < 0 or doc_ids[-1] >= n_docs:
            outside = doc_ids[0] if doc_ids[0] < 0 else doc_ids[-1]
            raise ArgumentError(f"within: expected doc_ids from 0 to n_docs - 1 = {n_docs - 1}; got {outside}")
    doc_ids.flags.writeable = False
    return doc_ids
