"""Some of the documents: as bits of rows, and few of them scored one by one.

``bits`` are uint64, bit i % 64 of number i // 64 for row i; an empty array stands for all rows.
"""

import numpy as np

from gossamer.kernels import jit
from gossamer.kernels.rows import clear, score_rows, spread
from gossamer.kernels.topk import write_best

_AT_ONCE = 4096


@jit
def check(doc_ids, n_docs, is_good):
    """Write to ``is_good[0]`` whether doc_ids, int32, ascend and are below ``n_docs``."""
    is_good[0] = doc_ids.size == 0 or (doc_ids[0] >= 0 and doc_ids[-1] < n_docs)
    for first in range(1, doc_ids.size, _AT_ONCE):
        last = min(first + _AT_ONCE, doc_ids.size)
        before, after = doc_ids[first - 1 : last - 1], doc_ids[first:last]
        n_falls = np.int32(0)
        for i in range(after.size):
            n_falls += np.int32(after[i] <= before[i])
        if n_falls:
            is_good[0] = False
            return


@jit
def compare(left, right, is_equal):
    """Write to ``is_equal[0]`` whether two arrays, int32, of one size hold the same."""
    is_equal[0] = True
    for first in range(0, left.size, _AT_ONCE):
        own, other = left[first : first + _AT_ONCE], right[first : first + _AT_ONCE]
        n_different = np.int32(0)
        for i in range(own.size):
            n_different += np.int32(own[i] != other[i])
        if n_different:
            is_equal[0] = False
            return


@jit
def set_bits(members, bits):
    """Set the bits of ``members``, int32."""
    for member in members:
        bits[member >> 6] |= np.uint64(1) << np.uint64(member & 63)


@jit
def is_member(bits, row):
    """Tell whether the bit of a row is set."""
    return (bits[row >> 6] >> np.uint64(row & 63)) & np.uint64(1) != 0


@jit
def take_bits(bits, first, taken):
    """Write the bits from row ``first`` on, as many as ``taken`` has; return whether one is set."""
    word, shift = first >> 6, np.uint64(first & 63)
    found = np.uint64(0)
    for i in range(taken.size):
        here = bits[word + i] if word + i < bits.size else np.uint64(0)
        after = bits[word + i + 1] if word + i + 1 < bits.size else np.uint64(0)
        taken[i] = here if shift == 0 else here >> shift | after << (np.uint64(64) - shift)
        found |= taken[i]
    return found != 0


@jit
def score_members(rows, members, queries, list_dims, min_score, dense, ranks, doc_ids, scores):
    """Write the best of ``members``, rows, int32, for each query, by scoring them all.

    ``min_score`` is at least 0, so that what scores above it shares a dimension with the query. The other parameters
    are those of `gossamer.kernels.window_scan.search`.
    """
    for q in range(ranks.shape[0]):
        spread(queries, list_dims, q, dense)
        n, _ = score_rows(rows, members, dense, min_score, 0, ranks[q])
        clear(queries, list_dims, q, dense)
        write_best(ranks[q, :n], doc_ids[q], scores[q])
