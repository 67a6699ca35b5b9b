"""An order of the rows of a sparse matrix in which similar rows are neighbours, found without labels.

Rows are grouped around centroids (`gossamer.kernels.grouping`), the centroids are ordered by the same method until few
are left, which are chained by similarity, and the rows of a group are ordered by their second-nearest centroid.

benchmarks/row_order.py compares the orders that were tried.
"""

import numpy as np
from numpy.typing import NDArray

from gossamer.kernels import call, jit
from gossamer.kernels.grouping import counting_sort, find_groups
from gossamer.kernels.heads import Rows, feature_of, total_of

_CHAINED = 256  # so few rows are compared each with each


def order_rows(
    indptr: NDArray[np.int64],
    dims: NDArray[np.int32],
    values: NDArray[np.float32],
    dim: int,
    *,
    seed: int = 0,
    n_threads: int = 1,
) -> NDArray[np.int32]:
    """Return the rows, int32, in an order in which similar ones are neighbours; empty rows come last.

    The order does not depend on ``n_threads``. It takes O(nnz): how many postings and candidates are read for a
    row is bounded, whatever the data.
    """
    rows, rng = Rows(indptr, dims, values), np.random.default_rng(seed)
    is_empty = np.diff(indptr) == 0
    order = _order(rows, np.flatnonzero(~is_empty).astype(np.int32), dim, rng, n_threads)
    return np.concatenate([order, np.flatnonzero(is_empty).astype(np.int32)])


def _order(
    rows: Rows, members: NDArray[np.int32], dim: int, rng: np.random.Generator, n_threads: int
) -> NDArray[np.int32]:
    """Return some of the rows, ``members``, in order."""
    ordered = np.empty_like(members)
    if members.size <= _CHAINED:
        call(_chain, *rows, members, dim, ordered)
        return ordered
    centroids, nearest, second = find_groups(rows, members, dim, rng, n_threads)
    k = centroids.indptr.size - 1
    places = np.full(k + 1, k, np.int32)
    places[_order(centroids, np.arange(k, dtype=np.int32), dim, rng, n_threads)] = np.arange(k)
    call(_sort, members, places[nearest], places[second], k, ordered)
    return ordered


@jit
def _sort(members, keys, second_keys, largest, ordered):
    """Write the members in the order of keys, and where those are equal, of second keys."""
    by_second, _ = counting_sort(second_keys, largest)
    by_key, _ = counting_sort(keys[by_second], largest)
    for i in range(members.size):
        ordered[i] = members[by_second[by_key[i]]]


@jit
def _chain(indptr, dims, values, members, dim, ordered):
    """Write the members so that each is followed by the most similar one of those that are left."""
    weights, ordered[:] = np.zeros(2 * dim, np.float32), members
    for i in range(1, members.size):
        last = slice(indptr[ordered[i - 1]], indptr[ordered[i - 1] + 1])
        for p in range(last.start, last.stop):
            weights[feature_of(dims[p], values[p])] = np.sqrt(abs(values[p]))
        best, place = np.float32(-1), i
        for j in range(i, members.size):
            row = slice(indptr[ordered[j]], indptr[ordered[j] + 1])
            similarity = np.float32(0)
            for p in range(row.start, row.stop):
                similarity += weights[feature_of(dims[p], values[p])] * np.sqrt(abs(values[p]))
            similarity /= np.sqrt(total_of(values[row]))
            if similarity > best:
                best, place = similarity, j
        ordered[i], ordered[place] = ordered[place], ordered[i]
        for p in range(last.start, last.stop):
            weights[feature_of(dims[p], values[p])] = 0
