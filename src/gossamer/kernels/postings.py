"""Rows to impact-ordered posting lists, window by window.

A *unit* is a row, or a block of rows. A window holds up to 65,536 units, so that a unit's number inside its
window fits 16 bits. A posting list is cut into *segments* of similar values: it stores the numbers of the units,
ascending in a segment, and for each segment the largest and the smallest value in it, but no value by itself. What
is added up from it is a bound; the exact values stand in the rows.

Anh, de Kretser and Moffat, "Vector-space ranking with effective early termination", SIGIR 2001, order lists by
impact; Lin and Trotman, "Anytime ranking for impact-ordered indexes", ICTIR 2015, cut them into segments.

The arrays, in this order, are what kernels call ``lists``:

=================  ========  ==============================================================================
``window_starts``  int64     the first posting of each window, and the end of the last one
``window_lists``   int64     the first list of each window, and the end of the last one
``list_dims``      int32     the dimension of each list, ascending in a window; empty if each window has one
                             for every dimension
``list_segments``  int64     the first segment of each list, and the end of the last one
``segments``       uint32    three for each segment: its end, counted from its window's first posting, and the
                             bits of its largest and of its smallest value, float32
``ids``            uint16    the units' numbers in their window, one a posting
=================  ========  ==============================================================================
"""

import numpy as np
from numpy.typing import NDArray

from gossamer.kernels import call, jit

Lists = tuple[
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.int64],
    NDArray[np.uint32],
    NDArray[np.uint16],
]
"""The arrays of posting lists, in the order of the table above."""

POSTINGS_PER_SEGMENT = 96
"""Fewer make tighter bounds, but each segment costs as much as some ten postings."""

CHUNK = 16
"""Postings that are added up at once: the lengths of long segments are multiples of it, but for a list's last."""

_MAX_SEGMENTS = 32
_FEW, _SHORTEST = 8, 16  # so many segments a list has even if they are shorter, down to so many postings
_BINS = 128  # of a list's range of values, in which the ends of segments are looked for
_USUAL_COUNT = 1024  # postings in a bin, of which the share is known beforehand
_EVENNESS = 0.2  # of the segments: 1 makes them equally long, 0 their ranges of values equally wide
_DENSE_LISTS = 1 << 16
_POSTINGS_PER_DENSE_LIST = 4  # so many postings a list on average pay for lists of every dimension


def build_lists(
    indptr: NDArray[np.int64],
    dims: NDArray[np.int32],
    highs: NDArray[np.float32],
    lows: NDArray[np.float32],
    dim: int,
    window: int,
) -> tuple[Lists, float]:
    """Return the posting lists of units in CSR form, and their capacity, in O(postings + windows × dim).

    The capacity is the largest norm of a unit if each of its values is replaced by its segment's bound.

    Parameters
    ----------
    indptr, dims : arrays
        The dimensions of each unit, ascending.
    highs, lows : arrays, float32
        The largest and the smallest value of the unit in that dimension. The same array if units are rows.
    dim, window : int
        Dimensions, and units per window, at most 65,536.
    """
    n_windows = -(-(indptr.size - 1) // window)
    is_dense = n_windows * dim <= max(_DENSE_LISTS, dims.size // _POSTINGS_PER_DENSE_LIST)
    n_lists = n_windows * dim if is_dense else _count_lists(indptr, dims, dim, window)
    # Allocated here, because NumPy asks for huge pages and numba does not; searches are faster on them.
    window_starts = np.append(indptr[:-1:window], indptr[-1:])
    window_lists = np.zeros(n_windows + 1, np.int64)
    list_dims = np.empty(0 if is_dense else n_lists, np.int32)
    list_segments = np.zeros(n_lists + 1, np.int64)
    segments = np.empty(3 * (dims.size // _SHORTEST + min(n_lists, dims.size)), np.uint32)
    ids = np.empty(dims.size, np.uint16)
    lists = window_starts, window_lists, list_dims, list_segments, segments, ids
    capacity = np.zeros(1)
    call(_fill_lists, indptr, dims, highs, lows, dim, window, is_dense, lists, capacity)
    segments = segments[: 3 * list_segments[-1]].copy()
    return (window_starts, window_lists, list_dims, list_segments, segments, ids), float(capacity[0])


@jit
def _count_lists(indptr, dims, dim, window):
    """Return how many lists have a posting."""
    last_window = np.full(dim, -1, np.int64)
    n_lists = 0
    for first in range(0, indptr.size - 1, window):
        for j in dims[indptr[first] : indptr[min(first + window, indptr.size - 1)]]:
            n_lists += last_window[j] != first
            last_window[j] = first
    return n_lists


@jit
def _fill_lists(indptr, dims, highs, lows, dim, window, is_dense, lists, capacity):
    window_starts, window_lists, list_dims, list_segments, segments, ids = lists
    n_units = indptr.size - 1
    largest = np.int64(0)
    for number in range(window_starts.size - 1):
        largest = max(largest, window_starts[number + 1] - window_starts[number])
    units, list_highs, list_lows = (
        np.empty(largest, np.uint16),
        np.empty(largest, np.float32),
        np.empty(largest, np.float32),
    )
    ends = np.empty(dim + 1, np.int64)
    squares = np.empty(window, np.float64)
    shares, order = np.arange(_USUAL_COUNT) ** _EVENNESS, np.empty(window, np.int64)
    n_lists, n_segments = 0, 0
    for number in range(window_starts.size - 1):
        first, base = number * window, window_starts[number]
        last = min(first + window, n_units)
        squares[:] = 0
        _sort_by_dimension(indptr[first : last + 1], dims, highs, lows, ends, units, list_highs, list_lows)
        for j in range(dim):
            start, end = ends[j - 1] if j else 0, ends[j]
            if is_dense or end > start:
                list_segments[n_lists] = n_segments
                if not is_dense:
                    list_dims[n_lists] = j
                n_lists += 1
            if end > start:
                n_segments = _cut_list(
                    start, units[start:end], list_highs[start:end], list_lows[start:end],
                    segments, n_segments, ids[base + start : base + end], squares, shares, order[: end - start],
                )  # fmt: skip
        window_lists[number + 1] = n_lists
        capacity[0] = max(capacity[0], np.sqrt(squares.max()))
    list_segments[n_lists] = n_segments


@jit
def _sort_by_dimension(indptr, dims, highs, lows, ends, units, list_highs, list_lows):
    """Sort the postings of a window by dimension, then by unit; those of j end at ``ends[j]``."""
    ends[:] = 0
    for j in dims[indptr[0] : indptr[-1]]:
        ends[j + 1] += 1
    for j in range(ends.size - 1):
        ends[j + 1] += ends[j]
    for unit in range(indptr.size - 1):
        for p in range(indptr[unit], indptr[unit + 1]):
            place = ends[dims[p]]  # still the start of the list; it moves to the end as the list fills
            ends[dims[p]] = place + 1
            units[place] = unit
            list_highs[place] = highs[p]
            list_lows[place] = lows[p]


@jit
def _cut_list(start, units, highs, lows, segments, n_segments, ids, squares, shares, order):
    """Write the segments of a list whose first posting is ``start``, and return how many there are in all now.

    ``shares`` are numbers to the power of `_EVENNESS`, and ``order`` has a place for each posting.

    Segments are ranges of high + low, made of bins. As many bins go to each as make the sums of their counts to the
    power of `_EVENNESS` equal: large values, which are few but matter, are told apart nearly as well as small ones.
    """
    key_low, key_high = highs[0] + lows[0], highs[0] + lows[0]
    for i in range(units.size):
        key_low, key_high = min(key_low, highs[i] + lows[i]), max(key_high, highs[i] + lows[i])
    n_cuts = min(_MAX_SEGMENTS, max(units.size // POSTINGS_PER_SEGMENT, min(_FEW, units.size // _SHORTEST)))
    bins_per_key = _BINS / (np.float64(key_high) - key_low)
    if n_cuts < 2 or not bins_per_key < np.inf:
        for i in range(units.size):
            order[i] = i
        return _write_segment(start, order, units, highs, lows, segments, n_segments, ids, squares)
    counts, bins = np.zeros(_BINS, np.int64), np.empty(units.size, np.uint8)
    for i in range(units.size):
        bins[i] = max(0, min(_BINS - 1, np.int64((np.float64(key_high) - (highs[i] + lows[i])) * bins_per_key)))
        counts[bins[i]] += 1
    starts = _starts_of_segments(counts, units.size, n_cuts, shares)
    for b in range(1, _BINS):
        counts[b] += counts[b - 1]
    segment_of = np.searchsorted(starts, counts - 1, side="right") - 1  # of the last posting of a bin
    places = np.append(starts[1:], units.size)
    for i in range(units.size - 1, -1, -1):
        b = bins[i]
        counts[b] -= 1
        while counts[b] < starts[segment_of[b]]:
            segment_of[b] -= 1
        places[segment_of[b]] -= 1
        order[places[segment_of[b]]] = i
    first = 0
    for end in np.append(starts[1:], units.size):
        if end > first:
            n_segments = _write_segment(
                start + first, order[first:end], units, highs, lows, segments, n_segments, ids[first:end], squares
            )
            first = end
    return n_segments


@jit
def _starts_of_segments(counts, n_postings, n_cuts, shares):
    """Return where the segments of a list start, ascending, made of bins with so many postings each.

    Of whole chunks, with some of the next one's postings or without some of its own; but few large values, which matter
    most, stay by themselves.
    """
    total, passed = 0.0, 0.0
    for count in counts:
        total += _share_of(count, shares)
    starts, segment, n_passed = np.zeros(n_cuts, np.int64), 0, 0
    for b in range(_BINS):
        share = _share_of(counts[b], shares)
        own = min(n_cuts - 1, np.int64((passed + share / 2) * n_cuts / total))
        while segment < own:
            length = max(0, n_passed - starts[segment])
            if length > CHUNK:
                length = (length + CHUNK // 2) // CHUNK * CHUNK
            starts[segment + 1] = min(n_postings, starts[segment] + length)
            segment += 1
        passed += share
        n_passed += counts[b]
    starts[segment + 1 :] = n_postings
    return starts


@jit
def _share_of(count, shares):
    """Return a number to the power of `_EVENNESS`, which takes long to compute and mostly is known."""
    return shares[count] if count < shares.size else count**_EVENNESS


@jit
def _write_segment(start, order, units, highs, lows, segments, n_segments, ids, squares):
    """Write a segment of the postings ``order`` of a list, and return how many segments there are now."""
    high, low = highs[order[0]], lows[order[0]]
    for i in range(order.size):
        ids[i] = units[order[i]]
        high, low = max(high, highs[order[i]]), min(low, lows[order[i]])
    segment, bounds = segments[3 * n_segments :][:3], segments.view(np.float32)[3 * n_segments :][:3]
    segment[0], bounds[1], bounds[2] = start + order.size, high, low
    square = max(np.float64(high) ** 2, np.float64(low) ** 2)
    for unit in ids:
        squares[unit] += square
    return n_segments + 1


@jit
def find_list(lists, number, j):
    """Return the list of dimension j in a window, or -1 if it has none there."""
    _, window_lists, list_dims, _, _, _ = lists
    if list_dims.size == 0:
        place = window_lists[number] + j
        return place if place < window_lists[number + 1] else -1
    low, end = window_lists[number], window_lists[number + 1]
    high = end
    while low < high:
        middle = (low + high) >> 1
        if list_dims[middle] < j:
            low = middle + 1
        else:
            high = middle
    return low if low < end and list_dims[low] == j else -1
