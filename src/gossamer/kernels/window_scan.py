"""Exact search by scoring every posting of the query's dimensions, one cache-sized window at a time.

For each window the posting lists are added up in an array of one sum per document, which is then
scanned for those above the k-th best score so far. Windows are outermost, queries inside, so that many
queries read a window's lists while they are in the cache.
"""

import numpy as np

from gossamer.kernels import jit
from gossamer.kernels.prefetch import fetch_postings
from gossamer.kernels.subset import first_not_below, restrict_lists
from gossamer.kernels.topk import rank_of, score_of, select_best, write_best

_AHEAD = 256  # postings between the one that is added and the one that is fetched
_CHUNK = 64  # postings added between two fetches
_BLOCK = 256  # sums that are compared at once
# A subset restricts the posting lists for so many queries, or if it is less than one of so many documents; else
# all postings are added, and documents that would be found are looked up in it.
_RESTRICTED_QUERIES = 4
_RESTRICTED_SHARE = 20


@jit
def search(
    offsets, ids, values, n_docs, dim, window, first_window, last_window,
    query_indptr, query_values, query_lists, list_dims, within, min_score,
    sums, counts, thresholds, ranks, doc_ids, scores,
):  # fmt: skip
    """Search some of the windows; after the last window, write the best documents of each query.

    A document is found if it shares a dimension with the query and scores above ``min_score``, float32,
    and if it is one of ``within``, int32, ascending, unless that is empty. Results go to the query's row of
    ``doc_ids`` and ``scores``.

    The entries of query q are ``query_indptr[q]`` to ``query_indptr[q + 1]``; an entry's dimension is
    ``list_dims[query_lists[entry]]``. Many queries are faster if ``list_dims`` are distinct.

    ``sums`` (float32) is workspace, with 65,536 entries whatever the window, so that no id can lie outside it.
    ``counts`` (int64), ``thresholds`` (float32) and ``ranks`` (uint64, for each query room for 2k, where k is at
    most ``n_docs``) hold what has been found from call to call; the call with window 0 sets them.
    """
    if first_window == 0:
        counts[:] = 0
        thresholds[:] = min_score
    # Below 0 a document with no posting must not pass for one that scores 0: its sum rests at -inf.
    at_rest = np.float32(-np.inf if min_score < 0 else 0)
    sums[: min(window, n_docs)] = at_rest
    starts, ends = np.empty(list_dims.size, np.int64), np.empty(list_dims.size, np.int64)
    n_places = sums.size if within.size else 0
    marks, slots = np.zeros(n_places, np.uint8), np.empty(n_places, np.uint16)
    for number in range(first_window, min(last_window, -(-n_docs // window))):
        first = number * window
        size = min(window, n_docs - first)
        members = within[first_not_below(within, 0, within.size, first) :]
        members = members[: first_not_below(members, 0, members.size, first + size)]
        if within.size and members.size == 0:
            continue
        for i in range(list_dims.size):
            starts[i] = offsets[number * dim + list_dims[i]]
            ends[i] = offsets[number * dim + list_dims[i] + 1]
        is_restricted = counts.size >= _RESTRICTED_QUERIES or members.size * _RESTRICTED_SHARE < size
        if 0 < members.size < size and is_restricted:
            kept_ids, kept_values = restrict_lists(ids, values, starts, ends, members, first, size, marks, slots)
            _search_window(
                kept_ids, kept_values, starts, ends, first, members.size, members, True,
                query_indptr, query_values, query_lists, at_rest, sums, counts, thresholds, ranks,
            )  # fmt: skip
        else:
            _search_window(
                ids, values, starts, ends, first, size, members[:0] if members.size == size else members, False,
                query_indptr, query_values, query_lists, at_rest, sums, counts, thresholds, ranks,
            )  # fmt: skip
    if last_window * window >= n_docs:
        for q in range(counts.size):
            write_best(ranks[q, : counts[q]], doc_ids[q], scores[q])


@jit
def _search_window(
    ids, values, starts, ends, first, size, members, is_restricted,
    query_indptr, query_values, query_lists, at_rest, sums, counts, thresholds, ranks,
):  # fmt: skip
    """Add the documents of one window to what was found.

    List i has the postings ``starts[i]`` to ``ends[i]``, of ids below ``size``. These are slots if the lists are
    restricted to ``members``. If they are not, and there are members, only those are found.
    """
    for q in range(counts.size):
        entries = slice(query_indptr[q], query_indptr[q + 1])
        lists, weights = query_lists[entries], query_values[entries]
        if at_rest < 0:
            _set_to_zero(ids, starts, ends, lists, sums)
        n_postings = _add_postings(ids, values, starts, ends, lists, weights, sums)
        if n_postings:
            counts[q], thresholds[q] = _collect(
                sums[:size], first, members, is_restricted, at_rest, counts[q], thresholds[q], ranks[q]
            )


@jit
def _add_postings(ids, values, starts, ends, lists, weights, sums):
    """Add query · document of one window to ``sums``, in ascending order of dimensions.

    Returns how many postings there were.
    """
    n_postings = 0
    for t in range(lists.size):
        if t + 1 < lists.size:
            fetch_postings(ids, values, starts[lists[t + 1]], _AHEAD)
        start, end = starts[lists[t]], ends[lists[t]]
        weight = weights[t]
        n_postings += end - start
        for chunk in range(start, end, _CHUNK):
            if chunk + _AHEAD < end:
                fetch_postings(ids, values, chunk + _AHEAD, _CHUNK)
            # Loops over slices need no checks for negative indices.
            chunk_ids, chunk_values = ids[chunk : min(chunk + _CHUNK, end)], values[chunk : min(chunk + _CHUNK, end)]
            for p in range(chunk_ids.size):
                sums[chunk_ids[p]] += weight * chunk_values[p]
    return n_postings


@jit
def _set_to_zero(ids, starts, ends, lists, sums):
    """Set the sums of the documents that share a dimension with the query to 0."""
    for i in lists:
        for document in ids[starts[i] : ends[i]]:
            sums[document] = 0


@jit
def _place_of(members, place, doc_id):
    """Return the first place, from ``place`` on, of a member that is at least ``doc_id``."""
    if place == members.size or members[place] >= doc_id:
        return place
    # Members differ by 1 at least, so that so many places lead far enough.
    last = min(members.size, place + np.int64(doc_id - members[place]))
    return first_not_below(members, place + 1, last, doc_id)


@jit
def _collect(sums, first, members, is_restricted, at_rest, n, threshold, ranks):
    """Append the documents above ``threshold`` to the ``n`` ranks, and put the sums back to rest.

    Of members, if there are any, and none else; the sums are theirs alone if the lists were restricted. Returns
    the new n and the new threshold, which is the k-th best score once 2k documents have come.
    """
    k, place = ranks.size >> 1, 0
    for start in range(0, sums.size, _BLOCK):
        block = sums[start : start + _BLOCK]
        n_above = np.int32(0)
        for i in range(block.size):  # counting vectorizes; taking the maximum does not
            n_above += np.int32(block[i] > threshold)
        if n_above:
            for i in range(block.size):
                # Documents come in ascending order, so that one that ties with the k-th best loses.
                if block[i] > threshold:
                    doc_id = members[start + i] if is_restricted else np.int32(first + start + i)
                    if members.size and not is_restricted:
                        place = _place_of(members, place, doc_id)
                        if place == members.size or members[place] != doc_id:
                            continue
                    ranks[n] = rank_of(block[i], doc_id)
                    n += 1
                    if n == ranks.size:
                        select_best(ranks, k)
                        n, threshold = k, score_of(ranks[k - 1])
        block[:] = at_rest
    return n, threshold
