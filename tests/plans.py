"""The search kernels over arrays of their own, as an index calls them, with every setting within reach."""

import numpy as np

from gossamer.kernels import block_max, block_summaries, postings, queries, window_scan
from rows import csr

PART_SIZE = 8


def sealed(arrays):
    """Return views that cannot be written to, as an index has them: numba compiles a kernel for each kind of array."""
    views = tuple(np.ascontiguousarray(array).view() for array in arrays)
    for view in views:
        view.flags.writeable = False
    return views


class Plan:
    """Rows prepared for the kernels: a scan if ``share`` is 0, a split if not, block max if ``block_size`` is given.

    ``order`` is the order in which the rows are stored; ``step`` how many windows a call of the kernel searches;
    ``narrow`` whether sums have 8 bits where they can.
    """

    def __init__(
        self, documents, *, share=0.0, expected=0.7, block_size=0, window=1 << 16, order=None, step=10**9, narrow=False
    ):
        order = None if order is None else np.asarray(order, np.int32)
        stored = documents if order is None else documents[order]
        indptr, dims, values = csr(stored)
        n_docs, self.dim = documents.shape
        (self.lengths,) = sealed([np.bincount(dims, minlength=self.dim).astype(np.int64)])
        self.doc_ids = np.empty(0, np.int32) if order is None else order
        self.rows = sealed([indptr, dims.astype(np.uint16) if self.dim <= 1 << 16 else dims, values, self.doc_ids])
        lists, capacity = postings.build_lists(indptr, dims, values, values, self.dim, window)
        self.lists = sealed(lists)
        norms = np.sqrt(np.add.reduceat(np.append(values, 0).astype(np.float64) ** 2, indptr[:-1])[np.diff(indptr) > 0])
        radius, longest = float(norms.max(initial=0)), int(np.diff(indptr).max(initial=0))
        self.shape = self.dim, window, longest, capacity, radius, float(values.min(initial=np.inf))
        self.share, self.expected, self.block_size, self.step = float(share), float(expected), block_size, step
        self.narrow = narrow
        self.workspace = (
            np.zeros(1 << 16, np.int16), np.zeros(1 << 16, np.uint8),
            np.full(1 << 16, -7, np.int32), np.zeros(self.dim, np.float32), np.full(1 << 16, 7, np.uint64),
        )  # fmt: skip
        self.n_windows = max(1, -(-n_docs // window))
        if block_size:
            blocks = block_summaries.summarize_blocks(indptr, dims, values, self.dim, block_size)
            block_lists, block_capacity = postings.build_lists(*blocks, self.dim, window)
            self.block_lists = sealed(block_lists)
            self.block_shape = block_size, PART_SIZE, window, int(np.diff(blocks[0]).max(initial=0)), block_capacity
            part_indptr, part_dims, highs, lows = block_summaries.summarize_blocks(
                indptr, dims, values, self.dim, PART_SIZE
            )
            part_dims = part_dims.astype(self.rows[1].dtype)
            self.parts = sealed([part_indptr, part_dims, *block_summaries.encode_parts(part_indptr, highs, lows)])
            self.weights = np.zeros(self.dim, np.int32), np.zeros(self.dim, np.int32)
            self.n_windows = max(1, -(-n_docs // (window * block_size)))

    def search(self, searched, k, *, min_score=0.0, within=None, effort=1.0, shares=True):
        """Return doc_ids and scores; ``min_score`` must be a float32, and ``within`` not empty."""
        indptr, dims, values = csr(searched)
        n_queries, places = len(searched), min(k, self.rows[0].size - 1)
        list_dims, query_lists = np.unique(dims, return_inverse=True) if shares else (dims, np.arange(dims.size))
        (list_dims,) = sealed([list_dims])
        split = self.share, self.expected, effort, self.narrow, self.lengths
        self.state = np.full((n_queries, queries.N_COLUMNS), np.nan)
        entries = np.full((2, dims.size + n_queries), np.nan)
        ranks = np.zeros((n_queries, 2 * places), np.uint64)
        found = np.zeros((n_queries, k), np.int32), np.zeros((n_queries, k), np.float32)
        asked = (indptr, values, query_lists), list_dims
        results = self.state, entries, ranks, *found
        for first in range(0, self.n_windows, self.step):
            last = min(first + self.step, self.n_windows)
            if self.block_size:
                block_max.search(
                    self.block_lists, self.parts, self.block_shape, self.lists, self.rows, self.shape, first, last,
                    *asked, *self._members(within), np.float32(min_score), split, self.workspace, self.weights,
                    *results,
                )  # fmt: skip
            else:
                window_scan.search(
                    self.lists, self.rows, self.shape, first, last, *asked, self._members(within)[0],
                    np.float32(min_score), split, self.workspace, *results,
                )  # fmt: skip
        return found

    def _members(self, within):
        """Pack bits by NumPy, so that the kernel's own way of setting them is not trusted, and count them."""
        n_docs = self.rows[0].size - 1
        if within is None:
            return np.empty(0, np.uint64), n_docs
        is_member = np.isin(self.doc_ids if self.doc_ids.size else np.arange(n_docs), within)
        padded = np.zeros(-(-n_docs // 64) * 64, bool)
        padded[:n_docs] = is_member
        return np.packbits(padded, bitorder="little").view(np.uint64), len(within)

    def replace_values(self, entries, value):
        """Give some entries of the rows another value, of which no list and no bound knows: seen only if scored."""
        values = self.rows[2].copy()
        values[entries] = value
        self.rows = sealed([*self.rows[:2], values, self.rows[3]])

    def remove_lists(self):
        """Empty the lists of rows, so that nothing is found by a scan."""
        none = np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.float32)
        lists, _ = postings.build_lists(np.zeros_like(self.rows[0]), *none, self.dim, self.shape[1])
        self.lists = sealed(lists)

    def assert_is_at_rest(self):
        """Assert that what has to be zeros between searches is zeros."""
        assert not any(self.workspace[place].any() for place in (0, 1, 3))
        if self.block_size:
            assert not self.weights[0].any()
            assert not self.weights[1].any()
