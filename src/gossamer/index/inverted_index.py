"""The inverted index: checks its arguments, then calls kernels."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from gossamer.arrays import IntArray, OffsetArray
from gossamer.catalog import Catalog
from gossamer.embeddings import as_embeddings
from gossamer.errors import ArgumentError, EmbeddingsError, ShapeError
from gossamer.index import storage
from gossamer.index.building import build_contents
from gossamer.index.contents import BLOCKS, LISTS, MAX_DOCS, PARTS, PLANS, ROWS, IndexContents, Layout, Plan
from gossamer.index.cost import ExpectedCost, expected_cost
from gossamer.index.searching import Engine
from gossamer.index.subsets import SubsetCache
from gossamer.results import SearchResult, check_count, check_k, empty_result

if TYPE_CHECKING:
    from gossamer.embeddings import SparseEmbeddings, SparseRows

_MAX_FLOAT32 = float(np.finfo(np.float32).max)
_ZERO = np.float32(0)
_MAX_QUERIES_PER_BLOCK = 1024
_MAX_RANKS = 1 << 21  # the workspace of a block of queries, in results: 16 MiB


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
        self._engine = Engine(contents)
        self._subsets = SubsetCache(contents)
        self.n_docs, self.dim = contents.n_docs, contents.dim
        if catalog is not None:
            self.catalog = catalog

    @classmethod
    def build(
        cls,
        rows: SparseRows,
        *,
        catalog: Catalog | None = None,
        plan: Literal["auto"] | Plan = "auto",
        sample_queries: SparseRows | None = None,
    ) -> InvertedIndex:
        """Index rows, which become documents 0 to n - 1, in O(nnz).

        Parameters
        ----------
        rows : SparseEmbeddings, or scipy CSR array or matrix, shape (n, dim)
            Of any sign; no rows, and rows without any nonzero, are all right.
        catalog : Catalog, optional
            What the rows are called; without it a row's key is its number.
        plan : {"auto", "scan", "split", "block-max"}
            How to search; results are the same to the bit. ``"scan"`` bounds the score of every document;
            ``"split"`` leaves out the dimensions of a query that promise least; ``"block-max"`` puts similar rows
            together and opens only the blocks of rows that can matter. ``"auto"`` builds all of them for 4,096 rows
            and more, measures them, and keeps the fastest: `layout` tells. It takes the longest.
        sample_queries : SparseEmbeddings, or scipy CSR array or matrix, shape (n_sample, dim), optional
            Queries like those to come, to measure with; a hundred are enough. Some of the rows if not given.

        Raises
        ------
        EmbeddingsError
            If the rows are not valid (see `SparseEmbeddings`), or more than 2**31 - 1.
        ShapeError
            If the catalog does not name as many rows, or the sample has another number of dimensions.
        ArgumentError
            If there is no such plan.
        """
        rows = as_embeddings(rows)
        if plan != "auto" and plan not in PLANS:
            raise ArgumentError(f"plan: expected 'auto', {', '.join(map(repr, PLANS))}; got {plan!r}")
        if len(rows) > MAX_DOCS:
            raise EmbeddingsError(f"rows: expected at most {MAX_DOCS}; got {len(rows)}. Build several indexes")
        catalog = Catalog(n=len(rows)) if catalog is None else catalog
        if catalog.n != len(rows):
            raise ShapeError(f"catalog: expected names for {len(rows)} rows; got {catalog.n}")
        sample = None if sample_queries is None else as_embeddings(sample_queries)
        if sample is not None and sample.dim != rows.dim:
            raise ShapeError(f"sample_queries: expected {rows.dim} dimensions, as in the rows; got {sample.dim}")
        contents = build_contents(
            rows, plan=None if plan == "auto" else plan, sample=sample, fingerprint=catalog.fingerprint
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
        effort: float = 1.0,
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
            empty. The fewer, the less time it takes. What was made of the last subset is kept, and after some
            queries it gets posting lists of its own if these are quicker. An array that is read-only and no view of
            another is looked at once; any other is compared with the last one in every call.
        effort : float
            Above 0; 1 searches exactly. With less, documents are passed over whose score cannot exceed the k-th
            best by that factor: none of those found is wrong, but of the k best some may be missing. It
            takes effect under the plans ``"split"`` and ``"block-max"``, and saves the more time the smaller it is.
        n_threads : int
            How many threads share the queries, at least 1; as many as there are processors are used at most.

        Raises
        ------
        ShapeError
            If the queries have another number of dimensions, or within is not a vector.
        EmbeddingsError
            If the queries are not valid (see `SparseEmbeddings`).
        ArgumentError
            If k or n_threads is below 1, effort not above 0 and at most 1, or below 1 while min_score is
            negative, min_score is not a number, or within is not of dtype int32, not ascending, or not in the index.
        """
        queries, k = self._checked_queries(queries), check_k(k)
        threshold, n_threads = _checked_threshold(min_score), check_count(n_threads, name="n_threads")
        if effort != 1:
            _check_effort(effort, min_score)
        engine, subset = self._engine, None
        if within is not None and (subset := self._subsets.get(within)) is not None:
            if subset.doc_ids.size == 0:
                return empty_result(len(queries), k)
            if (own := subset.engine_for(len(queries))) is not None:
                engine, subset = own, None
        n_queries = len(queries)
        found = SearchResult(np.empty((n_queries, k), np.int32), np.empty((n_queries, k), np.float32))
        if n_threads > 1:
            n_threads = min(n_threads, os.cpu_count() or 1)
        most = _MAX_RANKS // (2 * k)
        size = 1 if n_queries == 1 else max(1, min(_MAX_QUERIES_PER_BLOCK, most, -(-n_queries // n_threads)))
        if size >= n_queries:
            engine.search(queries, threshold, subset, effort, found)
            return found

        def search_from(first: int) -> None:
            block = slice(first, first + size)
            part = SearchResult(found.doc_ids[block], found.scores[block])
            engine.search(queries[block], threshold, subset, effort, part)

        starts = range(0, n_queries, size)
        if n_threads == 1:
            for first in starts:
                search_from(first)
        else:
            with ThreadPoolExecutor(n_threads) as pool:
                list(pool.map(search_from, starts))
        return found

    def expected_cost(self, queries: SparseRows) -> ExpectedCost:
        """Tell what searching for each query will touch and take, before it is done.

        Parameters
        ----------
        queries : SparseEmbeddings, or scipy CSR array or matrix, shape (n_queries, dim)
            What would be searched for.

        Returns
        -------
        ExpectedCost
            ``postings``, those of documents, or of blocks under block max, and ``microseconds``, of a search one by
            one, on one thread, for 10 documents, on the machine that built the index.

        Raises
        ------
        ShapeError, EmbeddingsError
            As `search` does.
        """
        return expected_cost(self._engine, self._checked_queries(queries))

    def _checked_queries(self, queries: SparseRows) -> SparseEmbeddings:
        queries = as_embeddings(queries)
        if queries.dim != self.dim:
            raise ShapeError(
                f"queries: expected {self.dim} dimensions, as in the index; got {queries.dim}. "
                "Were they encoded with the model the index was built from?"
            )
        return queries

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
    def layout(self) -> Layout:
        """How the index is searched: its plan, and what was measured to choose it."""
        return self._contents.layout

    @property
    def nnz(self) -> int:
        """The number of nonzeros of all documents."""
        return self._contents.arrays["rows.values"].size

    @property
    def size_bytes(self) -> int:
        """The bytes of rows, posting lists and blocks, in memory or mapped; keys and labels are not counted."""
        arrays = self._contents.arrays
        return sum(arrays[name].nbytes for name in ROWS + LISTS + BLOCKS + PARTS if name in arrays)

    @property
    def list_lengths(self) -> OffsetArray:
        """The number of postings of each dimension, shape (dim,), int64."""
        return self._engine.lengths

    def __repr__(self) -> str:
        return f"InvertedIndex({self.n_docs} documents, dim {self.dim}, {self.nnz} nonzeros, {self.layout.plan})"


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


def _check_effort(effort: float, min_score: float) -> None:
    if not isinstance(effort, Real) or not 0 < effort <= 1:
        raise ArgumentError(f"effort: expected a number above 0 and at most 1; got {effort!r}")
    if min_score < 0:
        raise ArgumentError(f"effort: below 1 it needs a min_score of at least 0; got effort {effort}, {min_score}")
