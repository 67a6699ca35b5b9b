"""Upper bounds of the scores of all units of a window, in whole steps that fit 16 bits.

A query q is cut into the dimensions whose posting lists are added up and the *rest*. For a row d of norm at most r,

    q · d  ≤  Σ q_j d_j + |q_rest| · sqrt(r² − Σ d_j²)  ≤  Σ (q_j d_j − d_j² / 2λ) + r² / 2λ + λ |q_rest|² / 2

with sums over the dimensions that are added up, by the inequalities of Cauchy and Schwarz and of the two means, for
every λ > 0. The right side is a sum over postings: leaving dimensions out costs nothing but the constant.

A bound is exact to the step: every product is rounded up, and `limit_of` leaves room for the rounding of the
float32 score itself.
"""

import numpy as np

from gossamer.kernels import jit
from gossamer.kernels.prefetch import prefetch
from gossamer.kernels.topk import select_best

MAX_STEPS = 32_766
_AHEAD = 1024  # postings of the next list that are fetched
_BLOCK, _PART = 512, 32  # bounds that are compared at once, and again if one is large
_SAMPLED = 4  # blocks for each one that an estimate looks at
NEVER = np.int16(-32_768)
"""The bound of a unit that is not to be found; no true bound is as low."""


@jit
def steps_per_score(norm, capacity, n_shared):
    """Return how many steps make a score of 1, float64: all bounds of a query fit 16 bits then.

    ``norm`` is the query's, ``capacity`` the largest of the units, taking each value for its segment's bound, and
    ``n_shared`` how many dimensions they share at most. Returns 0, and then bounds say nothing, if so many are shared
    or the numbers are so large that no bound can be trusted.
    """
    largest = norm * capacity
    if not 0 < largest < 1e38 or n_shared > MAX_STEPS // 2:
        return 0.0
    return (MAX_STEPS - n_shared) / largest


@jit
def limit_of(threshold, rest, steps, n_shared):
    """Return a number that every bound exceeds whose unit may have a score above ``threshold``.

    ``rest`` is the constant of the bounds. A float32 score of n products exceeds the real one by less than n · 2⁻²³
    of the sum of their magnitudes, which is at most as many steps as there are, or by n of the smallest number.
    """
    if steps == 0:
        return NEVER
    rounding = n_shared * (MAX_STEPS * 2.0**-23 + steps * 2.0**-149) + 2.0**-10
    limit = np.floor((threshold - rest) * steps - rounding)
    return np.int16(max(-32_768.0, min(32_767.0, limit)))


@jit
def add_bounds(lists, number, list_numbers, weights, steps, fold, only_positive, sums):
    """Add up what the postings of one window contribute to the bounds.

    Parameters
    ----------
    list_numbers, weights : arrays
        The lists to add, -1 for none, and what the query has in their dimensions.
    steps, fold : float
        Steps per score, and 1 / 2λ.
    only_positive : bool
        Whether to pass over what would lower a bound, which leaves it a bound.
    sums : array, int16
        One for each unit of the window.
    """
    window_starts, window_lists, _, list_segments, segments, all_ids = lists
    ids = all_ids[window_starts[number] : window_starts[number + 1]]
    bounds = segments.view(np.float32)
    window_first = list_segments[window_lists[number]]
    n_lists = list_numbers.size
    # What is read of a list is far from what is read of the next one: it is asked for long before.
    for t in range(n_lists):
        _fetch_segments(list_segments, segments, list_numbers[t])
    for t in range(-1, n_lists):
        if t + 1 < n_lists:
            _fetch_ids(list_segments, segments, window_first, list_numbers[t + 1], ids)
        if t < 0 or list_numbers[t] < 0:
            continue
        first, last = list_segments[list_numbers[t]], list_segments[list_numbers[t] + 1]
        start = np.int64(segments[3 * first - 3]) if first > window_first else 0
        weight = weights[t] * steps
        for segment in range(first, last):
            end = np.int64(segments[3 * segment])
            step = _largest_step(weight, fold * steps, bounds[3 * segment + 2], bounds[3 * segment + 1])
            if step > 0 or not only_positive:
                for unit in ids[start:end]:  # a loop over a slice needs no checks for negative indices
                    sums[unit] += step
            start = end


@jit
def _fetch_segments(list_segments, segments, number):
    if number >= 0:
        first, last = 3 * list_segments[number], 3 * list_segments[number + 1]
        for place in range(first - 3, last, 16):
            prefetch(segments, place)


@jit
def _fetch_ids(list_segments, segments, window_first, number, ids):
    if number >= 0:
        first, last = list_segments[number], list_segments[number + 1]
        start = np.int64(segments[3 * first - 3]) if first > window_first else 0
        end = np.int64(segments[3 * last - 3]) if last > window_first else 0
        for place in range(start, min(end, start + _AHEAD), 32):
            prefetch(ids, place)


@jit
def _largest_step(weight, fold, low, high):
    """Return the largest weight · v − fold · v² for v from low to high, rounded up."""
    value = np.float64(high if weight > 0 else low)
    if fold > 0:
        value = max(np.float64(low), min(np.float64(high), weight / (2 * fold)))
    return np.int16(np.ceil(weight * value - fold * value * value))


@jit
def mark_shared(lists, number, list_numbers, sums):
    """Set the sums of all units that share a dimension with the query to 0."""
    window_starts, window_lists, _, list_segments, segments, all_ids = lists
    ids = all_ids[window_starts[number] : window_starts[number + 1]]
    window_first = list_segments[window_lists[number]]
    for found in list_numbers:
        if found >= 0 and list_segments[found] < list_segments[found + 1]:
            first, last = list_segments[found], list_segments[found + 1]
            start = np.int64(segments[3 * first - 3]) if first > window_first else 0
            for unit in ids[start : np.int64(segments[3 * last - 3])]:
                sums[unit] = 0


@jit
def estimate_above(sums, limit):
    """Return about how many bounds exceed ``limit``, from one of so many blocks."""
    n = 0
    for start in range(0, sums.size, _SAMPLED * _BLOCK):
        for bound in sums[start : start + _BLOCK]:
            n += bound > limit
    return n * _SAMPLED


@jit
def collect(sums, limit, units, clears):
    """Write the units whose bound exceeds ``limit`` to ``units``, ascending, and return how many there are.

    Sets all sums to 0 if ``clears``.
    """
    n = 0
    for start in range(0, sums.size, _BLOCK):
        block = sums[start : start + _BLOCK]
        if _largest_of_block(block) > limit:
            for part in range(0, block.size, _PART):
                if _largest(block[part : part + _PART]) > limit:
                    for i in range(part, min(part + _PART, block.size)):
                        units[n] = start + i  # stays if n is increased: no branch, hence none predicted wrongly
                        n += block[i] > limit
        if clears:
            block[:] = 0
    return n


@jit
def collect_members(sums, limit, members, first, units):
    """Do the same for the ``members`` of the window alone, numbered from ``first`` on; set all sums to 0."""
    n = 0
    for member in members:
        units[n] = member - first
        n += sums[member - first] > limit
    sums[:] = 0
    return n


@jit
def keep_members(units, n, members, first):
    """Keep those of the n units that are members, numbered from ``first`` on; return how many are left."""
    n_kept = 0
    for unit in units[:n]:
        place = np.searchsorted(members, first + unit)
        if place < members.size and members[place] == first + unit:
            units[n_kept] = unit
            n_kept += 1
    return n_kept


@jit
def best_units(sums, limit, members, first, best):
    """Write the k units with the best bounds above ``limit`` to ``best``, and return how many there are, at most k.

    ``best`` has room for 2k. An entry is the bound above the complement of the unit. Of all units of the window, or
    of ``members``, numbered from ``first`` on, unless they are empty.
    """
    k, n = best.size >> 1, 0
    size = members.size if members.size else sums.size
    for start in range(0, size, _BLOCK):
        end = min(start + _BLOCK, size)
        if members.size == 0 and _largest_of_block(sums[start:end]) <= limit:
            continue
        for i in range(start, end):
            unit = np.int64(members[i]) - first if members.size else i
            if sums[unit] > limit:
                bound = np.uint64(np.int64(sums[unit]) + 32_768)
                best[n] = bound << np.uint64(32) | np.uint64(~np.uint32(unit))
                n += 1
                if n == best.size:
                    select_best(best, k)
                    n, limit = k, np.int16(np.int64(best[k - 1] >> np.uint64(32)) - 32_768)
    if n > k:
        select_best(best[:n], k)
    return min(n, k)


@jit
def unit_of(entry):
    """Return the unit of an entry of `best_units`."""
    return np.int64(~entry & np.uint64(0xFFFFFFFF))


@jit
def _largest_of_block(block):
    if block.size < _BLOCK:
        return _largest(block)
    largest = block[0]
    for i in range(_BLOCK):  # a constant count nearly halves the time
        largest = block[i] if block[i] > largest else largest
    return largest


@jit
def _largest(block):
    largest = block[0]
    for i in range(block.size):  # comparing like this vectorizes
        largest = block[i] if block[i] > largest else largest
    return largest
