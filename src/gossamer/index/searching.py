"""A block of queries, from checked arguments through the kernels to results."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gossamer.arrays import AnyArray, OffsetArray
from gossamer.index.contents import BLOCKS, LISTS, MAX_WINDOW, PARTS, ROWS, IndexContents

if TYPE_CHECKING:
    from gossamer.embeddings import SparseEmbeddings
    from gossamer.index.subsets import Subset
    from gossamer.results import SearchResult

_MAX_WORK_PER_CALL = 1 << 14  # windows × queries: an interrupt from the keyboard waits for one call of the kernel
_MIN_QUERIES_SHARING = 8  # fewer queries hardly share posting lists
_NUMBERS = np.arange(1024)  # of the entries of a query: to make them anew takes longer
_ALL_ROWS = np.empty(0, np.uint64)
_MAX_DENSE = 1 << 16  # places of a query in memory, so that no dimension of a damaged file lies outside


class Engine:
    """Calls the kernels on the arrays of one index; several threads may do so at once."""

    def __init__(self, contents: IndexContents) -> None:
        self.contents, self.layout = contents, contents.layout
        layout, dim = contents.layout, contents.dim
        self.rows, self.lists = contents.group(ROWS), contents.group(LISTS)
        self.lengths = list_lengths(self.lists, dim)
        self.lengths.flags.writeable = False
        self._shape = dim, contents.window, layout.longest, layout.capacity, layout.radius, layout.lowest
        self.touched_lengths = self.lengths
        self._n_windows = max(1, -(-contents.n_docs // contents.window))
        self._has_blocks = layout.plan == "block-max"
        if self._has_blocks:
            self._n_block_windows = max(1, -(-contents.n_docs // (contents.window * layout.block_size)))
            self.blocks, self._parts = contents.group(BLOCKS), contents.group(PARTS)
            self.touched_lengths = list_lengths(self.blocks, dim)
            self._block_shape = (
                layout.block_size, layout.part_size, contents.window, layout.block_longest, layout.block_capacity
            )  # fmt: skip
        self._local = threading.local()

    def search(
        self,
        queries: SparseEmbeddings,
        threshold: np.float32,
        subset: Subset | None,
        effort: float,
        found: SearchResult,
    ) -> None:
        """Write the results of some queries, of all documents or of a subset that is not empty."""
        call, scan, open_blocks, score_members, n_columns = _kernels()
        n_queries, k = found.doc_ids.shape
        layout, n_docs = self.layout, self.contents.n_docs
        if n_queries < _MIN_QUERIES_SHARING:
            list_dims = queries.dims
            query_lists = _NUMBERS[: list_dims.size] if list_dims.size <= _NUMBERS.size else np.arange(list_dims.size)
        else:
            list_dims, query_lists = np.unique(queries.dims, return_inverse=True)
            list_dims.flags.writeable = False  # numba compiles a kernel for each kind of array
        asked = queries.indptr, queries.values, query_lists
        split = layout.share, layout.expected, effort, layout.sum_bits == 8, self.lengths
        state = (
            np.empty((n_queries, n_columns)),
            np.empty((2, query_lists.size + n_queries)),
            np.empty((n_queries, 2 * min(k, n_docs)), np.uint64),
        )
        workspace, weights = self._workspace()
        if subset is not None and threshold >= 0 and self._is_small(subset, queries):
            call(
                score_members, self.rows, subset.rows, asked, list_dims, threshold, workspace[3], state[-1], *found
            )  # fmt: skip
            return
        bits, n_members = (_ALL_ROWS, n_docs) if subset is None else (subset.bits, subset.doc_ids.size)
        # Below 0 documents count that merely share a dimension, of which blocks know nothing.
        uses_blocks = self._has_blocks and threshold >= 0
        step = _MAX_WORK_PER_CALL // (n_queries or 1) or 1
        n_windows = self._n_block_windows if uses_blocks else self._n_windows
        for first in range(0, n_windows, step):
            last = min(first + step, n_windows)
            if uses_blocks:
                call(
                    open_blocks, self.blocks, self._parts, self._block_shape, self.lists, self.rows, self._shape,
                    first, last, asked, list_dims, bits, n_members, threshold, split, workspace, weights,
                    *state, *found,
                )  # fmt: skip
            else:
                call(
                    scan, self.lists, self.rows, self._shape,
                    first, last, asked, list_dims, bits, threshold, split, workspace, *state, *found,
                )  # fmt: skip

    def _is_small(self, subset: Subset, queries: SparseEmbeddings) -> bool:
        """Tell whether scoring all rows of a subset is quicker than adding up posting lists."""
        from gossamer.kernels.window_scan import ENTRY_COST, ROW_COST  # of which the kernels make decisions, too

        row_cost = ROW_COST + ENTRY_COST * self.rows[1].size / self.contents.n_docs
        n_postings = self.lengths[queries.dims].sum() / max(1, len(queries))
        return bool(subset.doc_ids.size * row_cost <= n_postings)

    def _workspace(self) -> tuple[tuple[AnyArray, ...], tuple[AnyArray, ...]]:
        """Return what this thread's searches work on; kernels leave it as they need to find it."""
        local = self._local
        if not hasattr(local, "sums"):
            n_places = max(self.contents.dim, _MAX_DENSE)
            local.sums = (
                np.zeros(MAX_WINDOW, np.int16),
                np.zeros(MAX_WINDOW, np.uint8),
                np.zeros(MAX_WINDOW, np.int32),
                np.zeros(n_places, np.float32),
                np.empty(MAX_WINDOW, np.uint64),
            )
            n_places = n_places if self._has_blocks else 0
            local.weights = np.zeros(n_places, np.int32), np.zeros(n_places, np.int32)
        return local.sums, local.weights


def list_lengths(lists: tuple[AnyArray, ...], dim: int) -> OffsetArray:
    """Return the number of postings of each dimension, shape (dim,), int64."""
    window_starts, window_lists, list_dims, list_segments, segments, _ = lists
    lengths: OffsetArray = np.zeros(dim, np.int64)
    ends = np.append(np.uint32(0), segments[::3]).astype(np.int64)  # of the segment before
    for number in range(window_starts.size - 1):
        first, last = window_lists[number], window_lists[number + 1]
        places = list_segments[first : last + 1]
        sizes = np.diff(np.where(places == places[0], 0, ends[places]))  # ends are counted from the window's start
        if list_dims.size:
            lengths[list_dims[first:last]] += sizes
        elif sizes.size:
            lengths += sizes
    return lengths


@cache
def _kernels() -> tuple[Any, Any, Any, Any, int]:
    """Import the kernels with the first search; importing them again takes a microsecond."""
    from gossamer.kernels import block_max, call, queries, subsets, window_scan

    return call, window_scan.search, block_max.search, subsets.score_members, queries.N_COLUMNS
