"""Rows to posting lists, window by window, by counting sort.

Window w holds the documents from ``w * window`` on, at most 65,536 of them, so that a document's number
inside its window fits 16 bits. Its posting list of dimension j is the part ``offsets[w * dim + j]`` to
``offsets[w * dim + j + 1]`` of ``ids`` (those numbers, ascending) and ``values`` (float32).
"""

import numpy as np
from numpy.typing import NDArray

from gossamer.kernels import call, jit


def build_postings(
    indptr: NDArray[np.int64], dims: NDArray[np.int32], values: NDArray[np.float32], dim: int, window: int
) -> tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.float32]]:
    """Return ``offsets``, ``ids`` and ``values`` of the posting lists of CSR rows, in O(nnz + lists)."""
    n_windows = -(-(indptr.size - 1) // window)
    # Allocated here, because NumPy asks for huge pages and numba does not; searches are faster on them.
    offsets = np.zeros(n_windows * dim + 1, np.int64)
    ids = np.empty(dims.size, np.uint16)
    list_values = np.empty(dims.size, np.float32)
    call(fill_postings, indptr, dims, values, dim, window, offsets, ids, list_values)
    return offsets, ids, list_values


@jit
def fill_postings(indptr, dims, values, dim, window, offsets, ids, list_values):
    """Fill the last three arguments; ``offsets`` starts as zeros."""
    n_docs = indptr.size - 1
    free = np.empty(dim, np.int64)
    for first in range(0, n_docs, window):
        last = min(first + window, n_docs)
        list_ends = offsets[first // window * dim + 1 :][:dim]
        for j in dims[indptr[first] : indptr[last]]:
            list_ends[j] += 1
        end = indptr[first]
        for j in range(dim):
            free[j] = end
            end += list_ends[j]
            list_ends[j] = end
        for doc_id in range(first, last):
            for p in range(indptr[doc_id], indptr[doc_id + 1]):
                place = free[dims[p]]
                free[dims[p]] = place + 1
                ids[place] = doc_id - first
                list_values[place] = values[p]
