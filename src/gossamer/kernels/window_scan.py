"""Exact search by bounding the score of every document, one cache-sized window at a time.

For each window the posting lists of the query are added up to one bound per document; documents whose bound exceeds
the k-th best score so far are scored from their rows. The *scan* adds up all lists; the *split* leaves out the
dimensions that promise least, as far as the bounds stay sharp enough to tell most documents apart.

Windows are outermost, queries inside, so that many queries read a window's lists while they are in the cache.
"""

import numpy as np

from gossamer.kernels import jit, jit_uncounted
from gossamer.kernels.adding import add_bounds, mark_shared
from gossamer.kernels.bounds import (
    NARROW,
    NEVER,
    best_units,
    collect,
    constant_and_fold,
    count_above,
    limit_of,
    unit_of,
)
from gossamer.kernels.masks import LANES
from gossamer.kernels.postings import find_list
from gossamer.kernels.prefetch import prefetch
from gossamer.kernels.queries import (
    COUNT,
    LOWEST,
    MOST,
    SHARE,
    SHARED,
    STEPS,
    THRESHOLD,
    WORK,
    n_entries_to_add,
    prepare,
)
from gossamer.kernels.rows import clear, fetch_row, keep_best, score_rows, spread
from gossamer.kernels.subsets import take_bits
from gossamer.kernels.topk import write_best

_USUAL_REST = 0.85  # norm outside the lists that were added, of a document near the threshold, as a share of its norm
# What scoring a row takes, in postings added: for the row, and for each of its entries.
ROW_COST, ENTRY_COST = 120, 2
# What scoring rows may take, as a share of a full scan: if it takes less, the split leaves out more from then on; if it
# takes more, less; if far too much, the split is given up for the window, so that it takes less than two scans.
_CHEAP, _DEAR, _TOO_DEAR = 0.08, 0.2, 0.6
_CHANGE, _MOST = 0.05, 0.95
# Rows that wait to be scored: so many a query and together at most, and fewer than these wait for the next window.
_ROOM_OF_QUERY, _ROOM, _FEW = 1 << 8, 1 << 14, 32
_FAR, _NEAR = 24, 12  # rows between the one that is scored and those of which the place and the entries are fetched


@jit
def search(
    lists, rows, shape, first_window, last_window, queries, list_dims, bits, min_score, split,
    workspace, state, entries, ranks, doc_ids, scores,
):  # fmt: skip
    """Search some of the windows; after the last window, write the best documents of each query.

    A document is found if it shares a dimension with the query and scores above ``min_score``, float32,
    and if the bit of its row is set, unless ``bits`` is empty; see `gossamer.kernels.subsets`.

    Parameters
    ----------
    lists, rows
        See `gossamer.kernels.postings` and `gossamer.kernels.rows`.
    shape : dim, window, longest, capacity, radius, lowest
        Dimensions; documents per window; the most nonzeros of a row; the largest norm of a row of segments' bounds,
        and of a row; the lowest value.
    queries : indptr, values, lists
        The dimension of entry e is ``list_dims[lists[e]]``. Many queries are faster if ``list_dims`` are distinct.
    split : share, expected, effort, is_narrow, lengths
        Of the threshold, how much the dimensions left out may promise, 0 for a scan; of the largest possible score,
        what the k-th best usually has; 1, or less to pass over documents whose bound is not as much better than
        the k-th best score; whether sums are narrow where they can be; the number of postings of each dimension, int64.
    workspace : sums, narrow_sums, units, dense, keys
        int16, uint8 and int32, with 65,536 places whatever the window, so that no id can lie outside; float32, with a
        place for each dimension; uint64, like the first. Sums and dense are zeros, and so they are left.
    state, entries, ranks
        What has been found from call to call, see `gossamer.kernels.queries`; room for 2k of `gossamer.kernels.topk`
        for each query, where k is at most the number of documents. The call with window 0 sets them.
    doc_ids, scores
        Results go to the query's row.
    """
    window = shape[1]
    share, _, _, is_narrow, lengths = split
    n_docs = rows[0].size - 1
    n_windows = -(-n_docs // window)
    if first_window == 0:
        prepare(
            queries, list_dims, lengths, shape, max(1, n_windows), share, is_narrow, min_score, state, entries
        )  # fmt: skip
    numbers = np.empty(list_dims.size, np.int64)
    best = np.empty(ranks.shape[1], np.uint64)
    used, weights = room_for_entries(queries[0])
    inside = np.empty(-(-window // LANES) if bits.size else 0, np.uint64)
    pending = np.empty(1 + 2 * min(_ROOM, _ROOM_OF_QUERY * state.shape[0]), np.int32)
    pending[0] = 0
    for number in range(first_window, min(last_window, n_windows)):
        first = number * window
        if bits.size and not take_bits(bits, first, inside):
            continue
        for i in range(list_dims.size):
            numbers[i] = find_list(lists, number, list_dims[i])
        for q in range(state.shape[0]):
            _search_window(
                lists, rows, shape, number, inside, min_score, split, q, queries, list_dims, numbers,
                workspace, state, entries, ranks, best, used, weights, pending,
            )  # fmt: skip
        if pending[0] >= _FEW:
            _score_pending(rows, pending, queries, list_dims, workspace[3], state, ranks)
    _score_pending(rows, pending, queries, list_dims, workspace[3], state, ranks)
    if last_window * window >= n_docs:
        for q in range(state.shape[0]):
            write_best(ranks[q, : np.int64(state[q, COUNT])], doc_ids[q], scores[q])


@jit_uncounted
def search_window(
    lists, rows, shape, number, bits, min_score, split, q, queries, list_dims, numbers,
    workspace, state, entries, ranks, best, used, weights,
):  # fmt: skip
    """Add the documents of one window to what was found for query q.

    ``bits`` are those of the window, or none; ``numbers`` are the lists of ``list_dims``; ``used`` and ``weights``
    have room for the entries of any query.
    """
    _search_window(
        lists, rows, shape, number, bits, min_score, split, q, queries, list_dims, numbers,
        workspace, state, entries, ranks, best, used, weights, workspace[2][:0],
    )  # fmt: skip


@jit_uncounted
def _search_window(
    lists, rows, shape, number, bits, min_score, split, q, queries, list_dims, numbers,
    workspace, state, entries, ranks, best, used, weights, pending,
):  # fmt: skip
    """Do so, but leave rows to `_score_pending` if there is room in ``pending``, which may have none."""
    start, end = queries[0][q], queries[0][q + 1]
    if start == end:
        return
    used, weights, rests = used[: end - start], weights[: end - start], entries[1, start + q : end + q + 1]
    take_entries(entries[0, start:end], numbers, queries, used, weights)
    wide_sums, narrow_sums, units, dense, _ = workspace
    n_units = min(shape[1], rows[0].size - 1 - number * shape[1])
    if state[q, MOST] == NARROW:
        _search_sums(
            lists, rows, shape, number, bits, min_score, split, q, queries, list_dims,
            narrow_sums[:n_units], units, dense, state[q], rests, ranks[q], best, used, weights, pending,
        )  # fmt: skip
    else:
        _search_sums(
            lists, rows, shape, number, bits, min_score, split, q, queries, list_dims,
            wide_sums[:n_units], units, dense, state[q], rests, ranks[q], best, used, weights, pending,
        )  # fmt: skip


@jit_uncounted
def _search_sums(
    lists, rows, shape, number, bits, min_score, split, q, queries, list_dims,
    sums, units, dense, state, rests, ranks, best, used, weights, pending,
):  # fmt: skip
    """Do so with wide or narrow sums, one for each document of the window."""
    _, window, _, _, radius, lowest = shape
    first = number * window
    steps, most, n_shared = state[STEPS], state[MOST], state[SHARED]
    n, threshold = np.int64(state[COUNT]), np.float32(state[THRESHOLD])
    is_set = threshold > min_score  # by documents found before, though they may have to be found again
    # Where bounds of 0 count, documents with no posting must not pass for documents with a bound of 0.
    is_marked, is_split = min_score < 0 or steps == 0, state[SHARE] > 0
    n_used = n_entries_to_add(state, rests, split[1], threshold, min_score, radius)
    n_best = 0
    while True:
        rest, fold = constant_and_fold(rests, n_used, radius, _USUAL_REST)
        if is_marked:
            sums[:] = NEVER
            mark_shared(lists, number, used, sums)
        add_bounds(lists, number, used[:n_used], weights, steps, fold, is_split, units, sums)
        if not is_set and n < ranks.size >> 1 and n_best == 0:
            # The documents with the best bounds set a threshold for the others.
            limit = limit_of(np.float64(threshold), rest, steps, n_shared, most)
            n_best = best_units(sums, np.int64(limit if is_marked else max(limit, 0)), bits, best)
            for i in range(n_best):
                units[i] = unit_of(best[i])
            n, threshold = _score(rows, units[:n_best], first, queries, list_dims, q, dense, threshold, n, ranks)
        for i in range(n_best):
            sums[unit_of(best[i])] = NEVER
        limit = limit_of(_to_exceed(threshold, min_score, split[2], is_split), rest, steps, n_shared, most)
        if limit < 0 and rest == 0 and not is_marked:
            if lowest < 0 or state[LOWEST] < 0:
                is_marked = True
                continue
            limit = np.int16(0)
        # Bounds that tell few documents apart are told by a glance: to collect them all takes longer than a scan.
        if is_split and (limit < 0 or _is_too_dear(state, count_above(sums, limit), rows)):
            state[SHARE] /= 2
            sums[:] = 0
            is_split, n_used = False, used.size
            continue
        n_units = collect(sums, limit, bits, units, True)
        if is_split:
            _adapt(state, n_units, rows)
        break
    if not _postpone(units[:n_units], first, q, pending):
        n, threshold = _score(rows, units[:n_units], first, queries, list_dims, q, dense, threshold, n, ranks)
    state[COUNT], state[THRESHOLD] = n, threshold


@jit_uncounted
def _postpone(units, first, q, pending):
    """Append the documents that ``units``, numbered from ``first`` on, become to ``pending``, if there is room.

    ``pending`` holds how many there are, places for as many rows as there is room for, and for their queries.
    """
    room = pending.size >> 1
    if room == 0 or pending[0] + units.size > room:
        return False
    place = 1 + pending[0]
    for i in range(units.size):
        pending[place + i], pending[room + place + i] = first + units[i], q
    pending[0] += units.size
    return True


@jit_uncounted
def _score_pending(rows, pending, queries, list_dims, dense, state, ranks):
    """Score the documents in ``pending``, and leave none there.

    The rows of the next queries are fetched meanwhile: a query has too few in a window to hide how far they are.
    """
    n_pending, room = np.int64(pending[0]), pending.size >> 1
    waiting, asking = pending[1 : 1 + n_pending], pending[1 + room : 1 + room + n_pending]
    far, near, start = 0, 0, 0
    while start < n_pending:
        q, end = asking[start], start + 1
        while end < n_pending and asking[end] == q:
            end += 1
        while far < n_pending and far < end + _FAR:
            prefetch(rows[0], waiting[far])
            far += 1
        while near < n_pending and near < end + _NEAR:
            fetch_row(rows, waiting[near])
            near += 1
        n, threshold = np.int64(state[q, COUNT]), np.float32(state[q, THRESHOLD])
        spread(queries, list_dims, q, dense)
        n, threshold = score_rows(rows, waiting[start:end], dense, threshold, n, ranks[q])
        clear(queries, list_dims, q, dense)
        state[q, COUNT], state[q, THRESHOLD] = keep_best(ranks[q], n, ranks.shape[1] >> 1, threshold)
        start = end
    pending[0] = 0


@jit_uncounted
def take_entries(order, numbers, queries, used, weights):
    """Write the lists and the values of a query's entries in the order in which they are added."""
    _, values, query_lists = queries
    for place in range(order.size):
        entry = np.int64(order[place])
        used[place], weights[place] = numbers[query_lists[entry]], values[entry]


@jit
def _to_exceed(threshold, min_score, effort, is_split):
    """Return what a score must exceed to be worth finding."""
    is_kth = is_split and threshold > max(min_score, np.float32(0))
    return np.float64(threshold) / effort if is_kth else np.float64(threshold)


@jit
def _cost(state, n_units, rows):
    """Return what scoring some rows takes, as a share of a scan of the window."""
    return n_units * (ROW_COST + ENTRY_COST * rows[1].size / (rows[0].size - 1)) / max(1.0, state[WORK])


@jit
def _is_too_dear(state, n_units, rows):
    """Tell whether scoring some rows takes so long that a scan is quicker."""
    return _cost(state, n_units, rows) > _TOO_DEAR


@jit
def _adapt(state, n_units, rows):
    """Change how much the next window leaves out by what scoring takes in this one."""
    cost = _cost(state, n_units, rows)
    if cost > _DEAR:
        state[SHARE] = max(0.0, state[SHARE] - _CHANGE)
    elif cost < _CHEAP:
        state[SHARE] = min(_MOST, state[SHARE] + _CHANGE)


@jit_uncounted
def _score(rows, units, first, queries, list_dims, q, dense, threshold, n, ranks):
    """Score the documents that ``units``, numbered from ``first`` on, become; return as `score_rows` does."""
    if units.size == 0:
        return n, threshold
    for i in range(units.size):
        units[i] += first
    spread(queries, list_dims, q, dense)
    n, threshold = score_rows(rows, units, dense, threshold, n, ranks)
    clear(queries, list_dims, q, dense)
    return keep_best(ranks, n, ranks.size >> 1, threshold)


@jit
def room_for_entries(indptr):
    """Return arrays, int64 and float64, with places for the entries of the longest query."""
    longest = 0
    for q in range(indptr.size - 1):
        longest = max(longest, indptr[q + 1] - indptr[q])
    return np.empty(longest, np.int64), np.empty(longest, np.float64)
