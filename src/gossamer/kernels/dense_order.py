"""Candidates in the order of their dense inner products: each row is read where it lies, once."""

import numpy as np

from gossamer.kernels import jit, jit_uncounted
from gossamer.kernels.prefetch import prefetch
from gossamer.kernels.topk import rank_of, write_best

_ROWS = 4  # added up side by side: a sum waits for the one before it, other rows' sums need not
_AHEAD = 8  # rows between those that are scored and those that are fetched


@jit
def order_candidates(candidates, places, queries, rows, doc_ids, scores, bad):
    """Write the best candidates of each query, best first, as `gossamer.kernels.topk.write_best` does.

    A score is the float32 sum, from 0, of float32 products in ascending order of dimensions.

    Parameters
    ----------
    candidates : array, shape (n_queries, n), int32
        What is put in order, without duplicates; -1, and nothing but -1 after it, where there are fewer.
    places : array of that shape, integers
        The row of each candidate.
    queries, rows : arrays, shape (n_queries, dim) and (n_rows, dim), float32
        The dense embeddings.
    doc_ids, scores : arrays, shape (n_queries, k), int32 and float32
        The results.
    bad : array, shape (2,), float64
        The first candidate whose score is not finite, and the score; left as it is if there is none.
    """
    ranks, sums = np.empty(candidates.shape[1], np.uint64), np.empty(_ROWS, np.float32)
    for q in range(candidates.shape[0]):
        n = 0
        while n < candidates.shape[1] and candidates[q, n] >= 0:
            n += 1
        for c in range(min(_AHEAD, n)):
            _fetch(rows[places[q, c]])
        for first in range(0, n, _ROWS):
            for c in range(first + _AHEAD, min(first + _AHEAD + _ROWS, n)):
                _fetch(rows[places[q, c]])
            _add_up(queries[q], rows, places[q, :n], first, sums)
            for c in range(first, min(first + _ROWS, n)):
                score = sums[c - first]
                if not np.isfinite(score):
                    bad[0], bad[1] = candidates[q, c], score
                    return
                ranks[c] = rank_of(score, candidates[q, c])
        write_best(ranks[:n], doc_ids[q], scores[q])


@jit_uncounted
def _add_up(query, rows, places, first, sums):
    """Write the scores of the rows at four places, from ``first`` on; past the end, the last one's again."""
    last = places.size - 1
    row_0, row_1 = rows[places[first]], rows[places[min(first + 1, last)]]
    row_2, row_3 = rows[places[min(first + 2, last)]], rows[places[min(first + 3, last)]]
    sum_0 = sum_1 = sum_2 = sum_3 = np.float32(0)
    for j in range(query.size):
        sum_0 += query[j] * row_0[j]
        sum_1 += query[j] * row_1[j]
        sum_2 += query[j] * row_2[j]
        sum_3 += query[j] * row_3[j]
    sums[0], sums[1], sums[2], sums[3] = sum_0, sum_1, sum_2, sum_3


@jit_uncounted
def _fetch(row):
    for j in range(0, row.size, 16):
        prefetch(row, j)
