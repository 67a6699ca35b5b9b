"""Exact scores from the rows themselves: the float32 sum of float32 products in ascending order of dimensions.

The arrays that kernels call ``rows``: ``indptr`` (int64), ``dims`` (uint16 or int32, ascending in a row),
``values`` (float32), and ``doc_ids`` (int32), the document of each row, empty if it is the row's number.
"""

import numpy as np

from gossamer.kernels import jit, jit_uncounted
from gossamer.kernels.prefetch import prefetch
from gossamer.kernels.topk import rank_of, score_of, select_best

_AHEAD = 12  # rows between the one that is scored and the one that is fetched


@jit_uncounted
def score_rows(rows, candidates, dense, threshold, n, ranks):
    """Score candidates, and append those above ``threshold`` to the ``n`` ranks found so far.

    Parameters
    ----------
    candidates : array, int32
        The numbers of rows.
    dense : array, shape (dim,), float32
        The query. A product with 0 does not change a sum that starts at +0.
    ranks : array, shape (2k,), uint64
        Whenever it is full, the best k are kept, and only what ties with the k-th of them still counts.

    Returns
    -------
    n, threshold
        As they are now.
    """
    indptr, dims, values, doc_ids = rows
    k = ranks.size >> 1
    for c in range(min(_AHEAD, candidates.size)):
        prefetch(indptr, candidates[c])
    for c in range(min(_AHEAD >> 1, candidates.size)):
        fetch_row(rows, candidates[c])
    for c in range(candidates.size):
        if c + _AHEAD < candidates.size:
            prefetch(indptr, candidates[c + _AHEAD])
        if c + (_AHEAD >> 1) < candidates.size:
            fetch_row(rows, candidates[c + (_AHEAD >> 1)])
        row = candidates[c]
        row_dims, row_values = dims[indptr[row] : indptr[row + 1]], values[indptr[row] : indptr[row + 1]]
        score = np.float32(0)
        for p in range(row_dims.size):
            score += dense[row_dims[p]] * row_values[p]
        if score > threshold:
            ranks[n] = rank_of(score, doc_ids[row] if doc_ids.size else row)
            n += 1
            if n == ranks.size:
                n, threshold = keep_best(ranks, n, k, threshold)
    return n, threshold


@jit_uncounted
def keep_best(ranks, n, k, threshold):
    """Keep the best k of n ranks; return how many are left, and what a score must exceed to be among them."""
    if n < k:
        return n, threshold
    select_best(ranks[:n], k)
    # One rank step below the k-th score, so that a smaller doc_id can still tie with it. There is no score of -0.
    below = score_of(ranks[k - 1] - (np.uint64(1) << np.uint64(32)))
    if below == 0:
        below = score_of(ranks[k - 1] - (np.uint64(2) << np.uint64(32)))
    return k, max(threshold, below)


@jit_uncounted
def fetch_row(rows, row):
    """Ask the cache for the entries of a row."""
    indptr, dims, values, _ = rows
    for p in range(indptr[row], indptr[row + 1], 32):
        prefetch(dims, p)
        prefetch(values, p)
        prefetch(values, p + 16)


@jit_uncounted
def spread(queries, list_dims, q, dense):
    """Write the entries of query q to their places."""
    indptr, values, query_lists = queries
    for entry in range(indptr[q], indptr[q + 1]):
        dense[list_dims[query_lists[entry]]] = values[entry]


@jit_uncounted
def clear(queries, list_dims, q, dense):
    """Undo `spread`."""
    indptr, _, query_lists = queries
    for entry in range(indptr[q], indptr[q + 1]):
        dense[list_dims[query_lists[entry]]] = 0


@jit
def write_norms(indptr, values, norms):
    """Write the norm of each row, float64."""
    for row in range(norms.size):
        squares = 0.0
        for value in values[indptr[row] : indptr[row + 1]]:
            squares += np.float64(value) * value
        norms[row] = np.sqrt(squares)


@jit
def gather_rows(indptr, dims, values, kept, new_indptr, new_dims, new_values):
    """Copy the rows ``kept`` one after the other; ``new_indptr`` says where to."""
    for i in range(kept.size):
        place = new_indptr[i]
        for p in range(indptr[kept[i]], indptr[kept[i] + 1]):
            new_dims[place] = dims[p]
            new_values[place] = values[p]
            place += 1
