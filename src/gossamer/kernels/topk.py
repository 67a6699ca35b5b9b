"""The best k documents, with the tie rule: equal scores are ordered by ascending doc_id.

A document is one unsigned integer, its rank: the score above, the complement of the doc_id below. A
larger rank is a better result, ties included. Ranks are collected in a buffer with room for 2k; whenever
it is full, the best k are selected, so that a document costs O(1) for any k.
"""

import numpy as np

from gossamer.kernels import jit, jit_uncounted

_SIGN = np.uint32(1 << 31)
_ALL = np.uint32((1 << 32) - 1)


@jit
def rank_of(score, doc_id):
    """Return a uint64 that orders documents by score, then by descending doc_id.

    Zeros are told apart by their sign: a score is a sum that starts at +0, so that it is never -0.
    """
    bits = np.float32(score).view(np.uint32)
    # IEEE 754: complementing negative numbers and lifting the others above them orders the bits as integers.
    bits ^= _ALL if bits & _SIGN else _SIGN
    return np.uint64(bits) << np.uint64(32) | np.uint64(_ALL - np.uint32(doc_id))


@jit
def score_of(rank):
    """Return the score in a rank, float32."""
    bits = np.uint32(rank >> np.uint64(32))
    return np.uint32(bits ^ (_SIGN if bits & _SIGN else _ALL)).view(np.float32)


@jit
def doc_id_of(rank):
    """Return the doc_id in a rank, int32."""
    return np.int32(_ALL - np.uint32(rank & np.uint64(_ALL)))


@jit_uncounted
def select_best(ranks, k):
    """Move the k largest ranks to the front, the k-th of them to ``ranks[k - 1]``; needs 1 <= k <= size.

    Hoare, "Algorithm 65: find", 1961.
    """
    low, high = 0, ranks.size - 1
    while low < high:
        pivot = ranks[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while ranks[i] > pivot:
                i += 1
            while ranks[j] < pivot:
                j -= 1
            if i <= j:
                ranks[i], ranks[j] = ranks[j], ranks[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            high = j
        elif k - 1 >= i:
            low = i
        else:
            return


@jit
def write_best(ranks, doc_ids, scores):
    """Write the best documents, best first, and mark the places after the last one as missing.

    ``ranks`` is reordered; ``doc_ids`` and ``scores`` have one place for each result asked for.
    """
    n = min(ranks.size, doc_ids.size)
    if n < ranks.size:
        select_best(ranks, n)
    best = ranks[:n]
    best.sort()
    for i in range(n):
        doc_ids[i] = doc_id_of(best[n - 1 - i])
        scores[i] = score_of(best[n - 1 - i])
    doc_ids[n:] = -1
    scores[n:] = -np.inf
