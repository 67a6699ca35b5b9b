"""Exact search by scoring every posting of the query's dimensions, one cache-sized window at a time.

For each window the posting lists are added up in an array of one sum per document, which is then
scanned for those above the k-th best score so far.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gossamer.kernels import jit
from gossamer.kernels.topk import rank_of, score_of, select_best, write_best

_AHEAD = 256  # postings between the one that is added and the one that is fetched
_CHUNK = 64  # postings added between two fetches
_BLOCK = 256  # sums that are compared at once


def _prefetch_signature(_context, array, place):
    """Give the type and the code of a request to the cache for ``array[place]``; any place is allowed."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte_pointer, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), byte_pointer)
        function_type = ir.FunctionType(ir.VoidType(), [byte_pointer, i32, i32, i32])
        function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
        builder.call(function, [pointer, i32(0), i32(3), i32(1)])  # to read, to stay in the cache, data
        return context.get_dummy_value()

    return types.void(array, place), generate


_prefetch: Any = intrinsic(_prefetch_signature)


@jit
def search(
    offsets, ids, values, n_docs, dim, window, query_indptr, query_dims, query_values, min_score,
    sums, ranks, doc_ids, scores,
):  # fmt: skip
    """Write the best documents of each query (CSR rows) into its row of ``doc_ids`` and ``scores``.

    A document is found if it shares a dimension with the query and scores above ``min_score``, float32.
    ``sums`` (float32) and ``ranks`` (uint64, room for 2k, where k is at most ``n_docs``) are workspace.
    ``sums`` has 65,536 entries whatever the window, so that no id can lie outside it.
    """
    # Below 0 a document with no posting must not pass for one that scores 0: its sum rests at -inf.
    at_rest = np.float32(-np.inf if min_score < 0 else 0)
    sums[: min(window, n_docs)] = at_rest
    for q in range(query_indptr.size - 1):
        start, end = query_indptr[q], query_indptr[q + 1]
        n, threshold = 0, min_score
        for first in range(0, n_docs, window):
            lists = offsets[first // window * dim :]
            if min_score < 0:
                _set_to_zero(lists, ids, query_dims[start:end], sums)
            _add_postings(lists, ids, values, query_dims[start:end], query_values[start:end], sums)
            n, threshold = _collect(sums[: min(window, n_docs - first)], first, at_rest, n, threshold, ranks)
        write_best(ranks[:n], doc_ids[q], scores[q])


@jit
def _add_postings(lists, ids, values, query_dims, query_values, sums):
    """Add query · document of one window to ``sums``, in ascending order of dimensions."""
    for t in range(query_dims.size):
        if t + 1 < query_dims.size:
            _fetch_postings(ids, values, lists[query_dims[t + 1]], _AHEAD)
        start, end = lists[query_dims[t]], lists[query_dims[t] + 1]
        weight = query_values[t]
        for chunk in range(start, end, _CHUNK):
            if chunk + _AHEAD < end:
                _fetch_postings(ids, values, chunk + _AHEAD, _CHUNK)
            # Loops over slices need no checks for negative indices.
            chunk_ids, chunk_values = ids[chunk : min(chunk + _CHUNK, end)], values[chunk : min(chunk + _CHUNK, end)]
            for p in range(chunk_ids.size):
                sums[chunk_ids[p]] += weight * chunk_values[p]


@jit
def _fetch_postings(ids, values, first, count):
    for p in range(first, first + count, 32):
        _prefetch(ids, p)
        _prefetch(values, p)
        _prefetch(values, p + 16)


@jit
def _set_to_zero(lists, ids, query_dims, sums):
    """Set the sums of the documents that share a dimension with the query to 0."""
    for j in query_dims:
        for document in ids[lists[j] : lists[j + 1]]:
            sums[document] = 0


@jit
def _collect(sums, first, at_rest, n, threshold, ranks):
    """Append the documents above ``threshold`` to the ``n`` ranks, and put the sums back to rest.

    Returns the new n and the new threshold, which is the k-th best score once 2k documents have come.
    """
    k = ranks.size >> 1
    for start in range(0, sums.size, _BLOCK):
        block = sums[start : start + _BLOCK]
        n_above = np.int32(0)
        for i in range(block.size):  # counting vectorizes; taking the maximum does not
            n_above += np.int32(block[i] > threshold)
        if n_above:
            for i in range(block.size):
                # Documents come in ascending order, so that one that ties with the k-th best loses.
                if block[i] > threshold:
                    ranks[n] = rank_of(block[i], first + start + i)
                    n += 1
                    if n == ranks.size:
                        select_best(ranks, k)
                        n, threshold = k, score_of(ranks[k - 1])
        block[:] = at_rest
    return n, threshold
