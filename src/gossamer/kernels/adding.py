"""What the posting lists of a window add to bounds, see `gossamer.kernels.bounds`.

How long a segment is nobody can foresee, least of all the processor, which guesses when a loop ends and begins anew
where it guessed wrong. So pieces of one length, *chunks*, are gathered first, and then added up in one go; what is left
of segments, their *tails*, comes after them. Either is a place, a count and a step in one uint64.
"""

import numpy as np

from gossamer.kernels import jit, jit_uncounted
from gossamer.kernels.postings import CHUNK
from gossamer.kernels.prefetch import prefetch, prefetch_early

_ROOM = 1024  # chunks, and tails, that are gathered before they are added up
_AT_ONCE = 8  # chunks of a segment that are gathered without a look at how many it has
_AHEAD = np.uint64(96)  # chunks between the one that is added up and the one that is fetched
# Unsigned numbers need no checks for negative indices.
_PLACE, _COUNT, _CHUNK = np.uint64(20), np.uint64(16), np.uint64(CHUNK)
_STRIDE = _CHUNK << _PLACE
_ONE, _TWO, _THREE = np.uint64(1), np.uint64(2), np.uint64(3)


@jit_uncounted
def add_bounds(lists, number, list_numbers, weights, steps, fold, only_positive, gathered, sums):
    """Add up what the postings of one window contribute to the bounds.

    Parameters
    ----------
    list_numbers, weights : arrays
        The lists to add, -1 for none, and what the query has in their dimensions.
    steps, fold : float
        Steps per score, and 1 / 2λ.
    only_positive : bool
        Whether to pass over what would lower a bound, which leaves it a bound.
    gathered : array, int32
        At least 4,128 numbers, to work on.
    sums : array, int16 or uint8
        One for each unit of the window.
    """
    window_starts, window_lists, _, list_segments, segments, all_ids = lists
    ids = all_ids[window_starts[number] : window_starts[number + 1]]
    bounds = segments.view(np.float32)
    window_first = list_segments[window_lists[number]]
    for t in range(list_numbers.size):
        _fetch_segments(list_segments, segments, list_numbers[t])
    chunks = gathered.view(np.uint64)
    tails = chunks[chunks.size // 2 :]
    n, n_tails = np.uint64(0), np.uint64(0)
    for t in range(list_numbers.size):
        if list_numbers[t] < 0:
            continue
        first, last = list_segments[list_numbers[t]], list_segments[list_numbers[t] + 1]
        start = np.uint64(_end_before(segments, first, window_first))
        weight = weights[t] * steps
        for segment in range(np.uint64(first), np.uint64(last)):
            end = np.uint64(min(segments[_THREE * segment], ids.size))  # a damaged file says anything
            low, high = bounds[_THREE * segment + _TWO], bounds[_THREE * segment + _ONE]
            step = _largest_step(weight, fold * steps, low, high)
            if start < end and (step > 0 or not only_positive):
                n_left, rest = (end - start) // _CHUNK, (end - start) % _CHUNK
                piece = start << _PLACE | rest << _COUNT | np.uint64(np.uint16(step))
                while n_left > 0:
                    for i in range(_AT_ONCE):
                        chunks[n + np.uint64(i)] = piece + np.uint64(i) * _STRIDE
                    n_taken = min(np.uint64(_AT_ONCE), n_left)
                    n, n_left, piece = n + n_taken, n_left - n_taken, piece + n_taken * _STRIDE
                    if n >= _ROOM:
                        n, n_tails = _add_gathered(chunks, n, tails, n_tails, ids, sums)
                tails[n_tails] = piece
                prefetch(ids, np.int64(piece >> _PLACE))
                n_tails += np.uint64(rest > 0)
                if n_tails >= _ROOM:
                    n, n_tails = _add_gathered(chunks, n, tails, n_tails, ids, sums)
            start = end
    _add_gathered(chunks, n, tails, n_tails, ids, sums)


@jit_uncounted
def _add_gathered(chunks, n, tails, n_tails, ids, sums):
    """Add the step of each of n chunks and of the tails to the sums of its postings; return that none are left."""
    for c in range(np.uint64(0), min(n, _AHEAD)):
        prefetch_early(ids, np.int64(chunks[c] >> _PLACE))
    for c in range(np.uint64(0), n):
        prefetch_early(ids, np.int64(chunks[min(c + _AHEAD, n - _ONE)] >> _PLACE))
        place, step = chunks[c] >> _PLACE, np.int16(chunks[c])
        for i in range(CHUNK):
            sums[ids[place + np.uint64(i)]] += step
    for t in range(np.uint64(0), n_tails):
        place, step = tails[t] >> _PLACE, np.int16(tails[t])
        for i in range(place, place + (tails[t] >> _COUNT) % _CHUNK):
            sums[ids[i]] += step
    return np.uint64(0), np.uint64(0)


@jit_uncounted
def _end_before(segments, segment, window_first):
    """Return where the segment before this one ends, which is where this one starts."""
    return np.int64(segments[3 * segment - 3]) if segment > window_first else 0


@jit_uncounted
def _fetch_segments(list_segments, segments, number):
    if number >= 0:
        first, last = 3 * list_segments[number], 3 * list_segments[number + 1]
        for place in range(first - 3, last, 16):
            prefetch(segments, place)


@jit
def _largest_step(weight, fold, low, high):
    """Return the largest weight · v − fold · v² for v from low to high, rounded up."""
    value = np.float64(high if weight > 0 else low)
    if fold > 0:
        value = max(np.float64(low), min(np.float64(high), weight / (2 * fold)))
    return np.int16(np.ceil(weight * value - fold * value * value))


@jit_uncounted
def mark_shared(lists, number, list_numbers, sums):
    """Set the sums of all units that share a dimension with the query to 0."""
    window_starts, window_lists, _, list_segments, segments, all_ids = lists
    ids = all_ids[window_starts[number] : window_starts[number + 1]]
    window_first = list_segments[window_lists[number]]
    for found in list_numbers:
        if found >= 0:
            start = _end_before(segments, list_segments[found], window_first)
            for unit in ids[start : _end_before(segments, list_segments[found + 1], window_first)]:
                sums[unit] = 0
