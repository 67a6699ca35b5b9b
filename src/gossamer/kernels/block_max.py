"""Exact search by opening only the blocks of rows that can matter.

Rows are ordered so that similar ones are neighbours (see `gossamer.kernels.ordering`), and so many in a row are a
block. For each block and dimension the lists hold the largest and the smallest value, with 0 among them wherever some
row of the block lacks the dimension: they bound the score of every row of the block. Blocks are opened best bound
first, until no bound left exceeds the k-th best score. As in a split, the dimensions that promise least are left out
of the bounds of blocks. In an open block its *parts*, a few rows each, are bounded again, by all dimensions, from 8-bit
codes of their own extremes, before their rows are scored.

The arrays that kernels call ``parts``, made by `gossamer.kernels.block_summaries`: ``indptr`` (int64), ``dims`` (as
those of the rows), ``highs`` and ``lows`` (uint8: what the largest value is above 0 and the smallest below it, in steps
of the part, rounded up; ``lows`` is empty if no value is negative) and ``part_steps`` (float32).

Ding and Suel, "Faster top-k document retrieval using block-max indexes", SIGIR 2011; opening blocks in the order of
their bounds: Mallia, Suel and Tonellotto, "Faster learned sparse retrieval with block-max pruning", SIGIR 2024.
"""

import numpy as np

from gossamer.kernels import jit, jit_uncounted
from gossamer.kernels.adding import add_bounds
from gossamer.kernels.bounds import (
    NARROW,
    NEVER,
    best_units,
    bound_of,
    collect,
    constant_and_fold,
    entry_of,
    limit_of,
    unit_of,
)
from gossamer.kernels.masks import LANES
from gossamer.kernels.postings import find_list
from gossamer.kernels.prefetch import prefetch
from gossamer.kernels.queries import (
    COUNT,
    LOWEST,
    NORM,
    SHARE,
    THRESHOLD,
    WORK,
    choose_steps,
    n_entries_to_add,
    prepare,
)
from gossamer.kernels.rows import clear, keep_best, score_rows, spread
from gossamer.kernels.subsets import is_member, take_bits
from gossamer.kernels.topk import write_best
from gossamer.kernels.window_scan import room_for_entries, search_window, take_entries

# To open a block, in postings added: for the block, and for each entry of its rows, most of which stay closed.
_BLOCK_COST, _OPEN_ENTRY_COST = 600, 0.4
_AT_ONCE = 4  # blocks that are opened before the threshold is raised, once it is near the k-th score
_AHEAD = 4  # blocks between the one whose parts are bounded and the one whose parts are fetched
_GAPS = (31_000, 13_777, 6123, 2721, 1209, 537, 239, 106, 47, 21, 9, 4, 1)  # of keys that are compared in a sort
_LARGEST_WEIGHT = 4095  # of a query's entries, as integers
_FIRST = 4  # blocks that set a threshold for the others, and more if k does not fit one
_USUAL_REST = 0.5  # norm outside the lists that were added, of a row near the threshold, as a share of its norm
_TOO_DEAR = 0.8  # what opening blocks may take, as a share of a scan of their rows, which is done instead


@jit
def search(
    block_lists, parts, block_shape, lists, rows, shape, first_window, last_window, queries, list_dims, bits,
    n_members, min_score, split, workspace, weights, state, entries, ranks, doc_ids, scores,
):  # fmt: skip
    """Search some of the windows of blocks; after the last window, write the best documents of each query.

    ``n_members`` is how many bits are set, or all documents if there are none. ``min_score`` is at least 0.
    ``block_shape`` has: rows in a block, rows in a part, blocks in a window, the most dimensions of a block, and the
    capacity of blocks. ``weights`` are two arrays of int32, zeros, and so they are left, with a place for each
    dimension. The other parameters are those of `gossamer.kernels.window_scan.search`, which is done instead where too
    many blocks would have to be opened.
    """
    row_window = shape[1]
    block_size, _, window, _, _ = block_shape
    share, _, _, is_narrow, lengths = split
    indptr = queries[0]
    n_docs = rows[0].size - 1
    n_windows, n_row_windows = -(-n_docs // (block_size * window)), -(-n_docs // row_window)
    if first_window == 0:
        prepare(
            queries, list_dims, lengths, shape, max(1, n_row_windows), share, is_narrow, min_score, state, entries
        )  # fmt: skip
    numbers = np.empty(list_dims.size, np.int64)
    n_first = _FIRST + ((ranks.shape[1] >> 1) - 1) // max(1, block_size * n_members // max(1, n_docs))
    n_first = min(n_first, workspace[2].size // block_size)
    best = np.empty(max(ranks.shape[1], 2 * n_first), np.uint64)
    used, entry_weights = room_for_entries(indptr)
    kept = np.empty(ranks.shape[1], np.uint64)
    for number in range(first_window, min(last_window, n_windows)):
        for i in range(list_dims.size):
            numbers[i] = find_list(block_lists, number, list_dims[i])
        for q in range(state.shape[0]):
            if indptr[q] == indptr[q + 1]:
                continue
            first = number * window * block_size // row_window
            last = min(n_row_windows, (number + 1) * window * block_size // row_window)
            is_done = _search_window(
                block_lists, parts, block_shape, rows, shape, number, last - first, bits, min_score, split, q,
                queries, list_dims, numbers, workspace, weights, state[q], entries, ranks[q], best[: 2 * n_first],
                used, entry_weights, kept,
            )  # fmt: skip
            if not is_done:
                _scan_instead(
                    lists, rows, shape, first, last, bits, min_score, split, q, queries, list_dims,
                    workspace, state, entries, ranks, best[: ranks.shape[1]], used, entry_weights,
                )  # fmt: skip
    if last_window >= n_windows:
        for q in range(state.shape[0]):
            write_best(ranks[q, : np.int64(state[q, COUNT])], doc_ids[q], scores[q])


@jit_uncounted
def _search_window(
    block_lists, parts, block_shape, rows, shape, number, n_row_windows, bits, min_score, split, q, queries,
    list_dims, numbers, workspace, weights, state, entries, ranks, best, used, entry_weights, kept,
):  # fmt: skip
    """Add the documents of a window of blocks to what was found, unless that takes longer than a scan of its rows.

    Returns whether that is done. If not, only the threshold may have risen.
    """
    block_size, _, window, longest, capacity = block_shape
    wide_sums, narrow_sums, units, dense, keys = workspace
    n_entries = queries[0][q + 1] - queries[0][q]
    n_blocks = min(window, -(-(rows[0].size - 1) // block_size) - number * window)
    n_shared = min(n_entries, longest)
    can_be_narrow = split[3] and shape[5] >= 0 and state[LOWEST] >= 0
    steps, most = choose_steps(state[NORM], capacity, n_shared, can_be_narrow)
    if steps == 0:
        return False
    if most == NARROW:
        return _search_sums(
            block_lists, parts, block_shape, rows, shape, number, n_row_windows, bits, min_score, split, q, queries,
            list_dims, numbers, narrow_sums[:n_blocks], units, dense, steps, most, n_shared, weights, state, entries,
            ranks, best, used, entry_weights, kept, keys,
        )  # fmt: skip
    return _search_sums(
        block_lists, parts, block_shape, rows, shape, number, n_row_windows, bits, min_score, split, q, queries,
        list_dims, numbers, wide_sums[:n_blocks], units, dense, steps, most, n_shared, weights, state, entries,
        ranks, best, used, entry_weights, kept, keys,
    )  # fmt: skip


@jit_uncounted
def _search_sums(
    block_lists, parts, block_shape, rows, shape, number, n_row_windows, bits, min_score, split, q, queries,
    list_dims, numbers, sums, units, dense, steps, most, n_shared, weights, state, entries,
    ranks, best, used, entry_weights, kept, keys,
):  # fmt: skip
    """Do so with wide or narrow sums, one for each block of the window."""
    block_size, _, window, _, _ = block_shape
    _, _, _, _, radius, lowest = shape
    start, end = queries[0][q], queries[0][q + 1]
    n_docs, first = rows[0].size - 1, number * window
    n, threshold = np.int64(state[COUNT]), np.float32(state[THRESHOLD])
    used, entry_weights, rests = used[: end - start], entry_weights[: end - start], entries[1, start + q : end + q + 1]
    take_entries(entries[0, start:end], numbers, queries, used, entry_weights)
    spread(queries, list_dims, q, dense)
    part_scale = _spread_weights(queries, list_dims, q, weights)
    margin = n_shared * (state[NORM] * radius * 2.0**-23 + 2.0**-149)
    n_kept, all_blocks = n, bits[:0]
    for i in range(n):
        kept[i] = ranks[i]
    block_cost = _BLOCK_COST + _OPEN_ENTRY_COST * block_size * rows[1].size / n_docs
    scan_cost = state[WORK] * n_row_windows
    add_cost = scan_cost * block_lists[5].size / rows[1].size
    is_set, is_split, n_best, n_open = threshold > min_score, state[SHARE] > 0, 0, 0
    n_used = n_entries_to_add(state, rests, split[1], threshold, min_score, radius)
    while True:
        rest, fold = constant_and_fold(rests, n_used, radius, _USUAL_REST)
        scale = steps, most, n_shared, rest, split[2], max(min_score, np.float32(0))
        add_bounds(block_lists, number, used[:n_used], entry_weights, steps, fold, is_split, units, sums)
        if not is_set and n_best == 0:
            # The blocks with the best bounds set a threshold for the others: no part of them can be left out.
            n_best = best_units(sums, np.int64(0), all_blocks, best)
            n, threshold = _score_blocks(
                rows, block_size, best[:n_best], first, bits, dense, units, threshold, n, ranks
            )
        for i in range(n_best):
            sums[unit_of(best[i])] = NEVER
        limit = _limit(threshold, scale)
        if rest == 0 and lowest >= 0 and state[LOWEST] >= 0:
            limit = max(limit, np.int16(0))
        # Bounds of 0 tell nothing of blocks that share no dimension from those that do.
        is_done = limit >= 0
        if is_done:
            n_open = collect(sums, limit, all_blocks, units, False)
            is_done = n_open * block_cost <= (_TOO_DEAR * scan_cost if rest == 0 else add_cost)
        if is_done or rest == 0:
            break
        sums[:] = 0
        is_split, n_used = False, used.size
    if is_done:
        for i in range(n_open):
            keys[i] = entry_of(sums, units[i])
        n, threshold = _open_best_first(
            keys[:n_open], first, parts, rows, block_shape, bits, scale, dense, weights, part_scale, margin, units,
            threshold, n, ranks,
        )  # fmt: skip
    else:
        # The scan finds again what was found here; what the threshold has become is all it needs to know. With less
        # effort it would pass over what raised the threshold.
        n = n_kept
        for i in range(n):
            ranks[i] = kept[i]
        if split[2] < 1:
            threshold = np.float32(state[THRESHOLD])
    sums[:] = 0
    clear(queries, list_dims, q, dense)
    clear(queries, list_dims, q, weights[0])
    clear(queries, list_dims, q, weights[1])
    state[COUNT], state[THRESHOLD] = n, threshold
    return is_done


@jit_uncounted
def _limit(threshold, scale):
    """Return what a block's bound must exceed for the block to matter."""
    steps, most, n_shared, rest, effort, lowest_kth = scale
    return limit_of(
        threshold / effort if threshold > lowest_kth else np.float64(threshold), rest, steps, n_shared, most
    )


@jit_uncounted
def _open_best_first(
    keys, first, parts, rows, block_shape, bits, scale, dense, weights, part_scale, margin, chosen, threshold, n, ranks,
):  # fmt: skip
    """Open blocks, numbered from ``first`` on, best bound first, until no bound is left that exceeds the limit.

    ``keys`` are entries of `gossamer.kernels.bounds.best_units`; they are left in the order in which they were opened.
    The parts of some blocks, then of twice as many each time, are bounded before their rows are scored, so that
    memory has time to bring the rows. Returns as `score_rows` does.
    """
    _sort_descending(keys)
    for i in range(min(2 * _AHEAD, keys.size)):
        _fetch_offsets(parts, block_shape, first + unit_of(keys[i]))
    for i in range(min(_AHEAD, keys.size)):
        _fetch_parts(parts, block_shape, first + unit_of(keys[i]))
    effort, lowest_kth = scale[4], scale[5]
    start = 0
    while start < keys.size and bound_of(keys[start]) > _limit(threshold, scale):
        n_rows, end = 0, min(keys.size, start + min(max(_AT_ONCE, start), chosen.size // block_shape[0]))
        to_exceed = threshold / effort if threshold > lowest_kth else np.float64(threshold)
        for i in range(start, end):
            if i + 2 * _AHEAD < keys.size:
                _fetch_offsets(parts, block_shape, first + unit_of(keys[i + 2 * _AHEAD]))
            if i + _AHEAD < keys.size:
                _fetch_parts(parts, block_shape, first + unit_of(keys[i + _AHEAD]))
            n_rows = _choose_rows(
                parts, rows, block_shape, first + unit_of(keys[i]), bits, weights, part_scale, margin, to_exceed,
                chosen, n_rows,
            )  # fmt: skip
        n, threshold = score_rows(rows, chosen[:n_rows], dense, threshold, n, ranks)
        n, threshold = keep_best(ranks, n, ranks.size >> 1, threshold)
        start = end
    return n, threshold


@jit_uncounted
def _spread_weights(queries, list_dims, q, weights):
    """Write the magnitudes of positive and of negative entries as integers, rounded up; return what 1 of them means.

    Any sum of products of weights and codes fits 31 bits.
    """
    indptr, values, query_lists = queries
    entries = range(indptr[q], indptr[q + 1])
    largest = 0.0
    for entry in entries:
        largest = max(largest, abs(np.float64(values[entry])))
    most = min(np.float64(_LARGEST_WEIGHT), np.floor(2.0**31 / 256 / len(entries)))
    for entry in entries:
        weight = np.int32(np.ceil(abs(np.float64(values[entry])) / largest * most))
        weights[0 if values[entry] > 0 else 1][list_dims[query_lists[entry]]] = weight
    # Rounding above may have lost a little of the largest weight.
    return largest / most * (1 + 2.0**-40)


@jit_uncounted
def _choose_rows(parts, rows, block_shape, block, bits, weights, part_scale, margin, threshold, chosen, n):
    """Append the rows of those parts of a block whose bound exceeds the threshold to the n that are chosen.

    If there are ``bits``, those rows alone whose bit is set.
    """
    part_indptr, part_dims, highs, lows, part_steps = parts
    block_size, part_size, _, _, _ = block_shape
    positive, negative = weights
    n_docs, per_block = rows[0].size - 1, block_size // part_size
    for part in range(block * per_block, min((block + 1) * per_block, part_steps.size)):
        first, last = part_indptr[part], part_indptr[part + 1]
        dims, codes, total = part_dims[first:last], highs[first:last], np.int32(0)
        for p in range(dims.size):
            total = np.int32(total + positive[dims[p]] * np.int32(codes[p]))
        if lows.size:
            codes = lows[first:last]
            for p in range(dims.size):
                total = np.int32(total + negative[dims[p]] * np.int32(codes[p]))
        if np.float64(total) * part_scale * part_steps[part] + margin > threshold:
            prefetch(rows[0], part * part_size)
            for row in range(part * part_size, min((part + 1) * part_size, n_docs)):
                chosen[n] = row
                n += bits.size == 0 or is_member(bits, row)
    return n


@jit_uncounted
def _score_blocks(rows, block_size, keys, first, bits, dense, chosen, threshold, n, ranks):
    """Score all rows of some blocks, or those whose bit is set; parameters and results as of `_open_best_first`."""
    n_rows = 0
    for key in keys:
        block = first + unit_of(key)
        for row in range(block * block_size, min((block + 1) * block_size, rows[0].size - 1)):
            chosen[n_rows] = row
            n_rows += bits.size == 0 or is_member(bits, row)
    n, threshold = score_rows(rows, chosen[:n_rows], dense, threshold, n, ranks)
    return keep_best(ranks, n, ranks.size >> 1, threshold)


@jit_uncounted
def _sort_descending(keys):
    """Sort keys in place, without memory (Shell, "A high-speed sorting procedure", 1959)."""
    for gap in _GAPS:
        for i in range(gap, keys.size):
            key, place = keys[i], i
            while place >= gap and keys[place - gap] < key:
                keys[place] = keys[place - gap]
                place -= gap
            keys[place] = key


@jit_uncounted
def _fetch_offsets(parts, block_shape, block):
    """Fetch what says where the parts of a block are, and what their codes mean."""
    per_block = block_shape[0] // block_shape[1]
    prefetch(parts[0], block * per_block)
    prefetch(parts[4], block * per_block)


@jit_uncounted
def _fetch_parts(parts, block_shape, block):
    indptr, dims, highs, lows, _ = parts
    per_block = block_shape[0] // block_shape[1]
    first, last = indptr[block * per_block], indptr[min((block + 1) * per_block, indptr.size - 1)]
    for p in range(first, last, 64):
        prefetch(dims, p)
        prefetch(dims, p + 32)
        prefetch(highs, p)
        if lows.size:
            prefetch(lows, p)


@jit
def _scan_instead(
    lists, rows, shape, first_window, last_window, bits, min_score, split, q, queries, list_dims,
    workspace, state, entries, ranks, best, used, entry_weights,
):  # fmt: skip
    """Split or scan the windows of rows for query q, with the threshold that it has by now."""
    indptr, _, query_lists = queries
    numbers = np.empty(list_dims.size, np.int64)
    inside = np.empty(-(-shape[1] // LANES) if bits.size else 0, np.uint64)
    for number in range(first_window, last_window):
        for i in query_lists[indptr[q] : indptr[q + 1]]:
            numbers[i] = find_list(lists, number, list_dims[i])
        if bits.size and not take_bits(bits, number * shape[1], inside):
            continue
        search_window(
            lists, rows, shape, number, inside, min_score, split, q, queries, list_dims, numbers,
            workspace, state, entries, ranks, best, used, entry_weights,
        )  # fmt: skip
