"""Upper bounds of the scores of all units of a window, in whole steps that fit 16 bits, or 8.

A query q is cut into the dimensions whose posting lists are added up and the *rest*. For a row d of norm at most r,

    q · d  ≤  Σ q_j d_j + |q_rest| · sqrt(r² − Σ d_j²)  ≤  Σ (q_j d_j − d_j² / 2λ) + r² / 2λ + λ |q_rest|² / 2

with sums over the dimensions that are added up, by the inequalities of Cauchy and Schwarz and of the two means, for
every λ > 0. The right side is a sum over postings: leaving dimensions out costs nothing but the constant.

A bound is exact to the step: every product is rounded up, and `limit_of` leaves room for the rounding of the
float32 score itself. *Wide* sums have 16 bits; *narrow* ones have 8, so that twice as many fit the cache, and serve
where no product is negative.
"""

import numpy as np

from gossamer.kernels import jit, jit_uncounted
from gossamer.kernels.masks import LANES, clear_lanes, count_bits, exceeding, lowest_bit
from gossamer.kernels.subsets import is_member
from gossamer.kernels.topk import select_best

WIDE, NARROW = 32_766, 255
"""The most steps of a bound: of sums of int16, and of uint8."""
_BLOCK = 512  # bounds of which the best one is looked for at once
NEVER = np.int16(-32_768)
"""The bound of a unit that is not to be found; no true bound is as low. Among narrow sums it becomes 0."""


@jit
def steps_per_score(norm, capacity, n_shared, most):
    """Return how many steps make a score of 1, float64: no bound of a query has more than ``most`` steps then.

    ``norm`` is the query's, ``capacity`` the largest of the units, taking each value for its segment's bound, and
    ``n_shared`` how many dimensions they share at most. Returns 0, and then bounds say nothing, if so many are shared
    or the numbers are so large that no bound can be trusted.
    """
    largest = norm * capacity
    if not 0 < largest < 1e38 or n_shared > most // 2:
        return 0.0
    return (most - n_shared) / largest


@jit
def limit_of(threshold, rest, steps, n_shared, most):
    """Return a number that every bound exceeds whose unit may have a score above ``threshold``; at most ``most``.

    ``rest`` is the constant of the bounds. A float32 score of n products exceeds the real one by less than n · 2⁻²³
    of the sum of their magnitudes, which is at most as many steps as there are, or by n of the smallest number.
    """
    if steps == 0:
        return NEVER
    rounding = n_shared * (most * 2.0**-23 + steps * 2.0**-149) + 2.0**-10
    limit = np.floor((threshold - rest) * steps - rounding)
    return np.int16(max(-32_768.0, min(np.float64(most), limit)))


@jit
def constant_and_fold(rests, n_used, radius, usual):
    """Return the constant of the bounds and 1 / 2λ, if the first ``n_used`` entries of a query are added up.

    Any λ makes bounds; this one makes them sharpest for rows with the share ``usual`` of their norm in the rest.
    """
    rest = rests[n_used]
    if rest == 0:
        return 0.0, 0.0
    fold = rest / (2 * usual * radius)
    return radius * radius * fold + rest * rest / (4 * fold), fold


@jit_uncounted
def count_above(sums, limit):
    """Return how many bounds exceed ``limit``, which is at least 0."""
    n, above, n_whole = 0, sums.dtype.type(limit), sums.size - sums.size % LANES
    for start in range(0, n_whole, LANES):
        n += count_bits(exceeding(sums, start, above))
    for bound in sums[n_whole:]:
        n += bound > above
    return n


@jit_uncounted
def collect(sums, limit, bits, units, clears):
    """Write the units whose bound exceeds ``limit`` to ``units``, ascending, and return how many there are.

    Of all units of the window, or of those whose bit is set (see `gossamer.kernels.subsets`), unless ``bits`` is empty.
    The limit of narrow sums is at least 0. Sets all sums to 0 if ``clears``.
    """
    n, above, n_whole = 0, sums.dtype.type(limit), sums.size - sums.size % LANES
    for start in range(0, n_whole, LANES):
        mask = exceeding(sums, start, above)
        if clears:
            clear_lanes(sums, start)
        if bits.size:
            mask &= bits[start // LANES]
        while mask != 0:
            units[n] = start + lowest_bit(mask)
            n += 1
            mask &= mask - np.uint64(1)
    for unit in range(n_whole, sums.size):
        units[n] = unit  # stays if n is increased: no branch, hence none predicted wrongly
        n += (sums[unit] > above) & (bits.size == 0 or is_member(bits, unit))
    if clears:
        sums[n_whole:] = 0
    return n


@jit_uncounted
def best_units(sums, limit, bits, best):
    """Write the k units with the best bounds above ``limit`` to ``best``, and return how many there are, at most k.

    ``best`` has room for 2k entries, see `entry_of`. Of all units of the window, or of those whose bit is set, unless
    ``bits`` is empty.
    """
    k, n, n_whole = best.size >> 1, 0, sums.size - sums.size % LANES
    if bits.size == 0:
        limit = max(limit, _below_best(sums, best))
    for start in range(0, n_whole, LANES):
        mask = exceeding(sums, start, sums.dtype.type(limit))
        if bits.size:
            mask &= bits[start // LANES]
        while mask != 0:
            n, limit = _keep_unit(sums, limit, start + lowest_bit(mask), best, n)
            mask &= mask - np.uint64(1)
    for unit in range(n_whole, sums.size):
        if bits.size == 0 or is_member(bits, unit):
            n, limit = _keep_unit(sums, limit, unit, best, n)
    if n > k:
        select_best(best[:n], k)
    return min(n, k)


@jit_uncounted
def _keep_unit(sums, limit, unit, best, n):
    """Append a unit if its bound exceeds the limit; return how many there are now, and what the next must exceed."""
    if sums[unit] <= limit:
        return n, limit
    best[n] = entry_of(sums, unit)
    if n + 1 < best.size:
        return n + 1, limit
    k = best.size >> 1
    select_best(best, k)
    return k, bound_of(best[k - 1])


@jit_uncounted
def _below_best(sums, best):
    """Return a number below which the k-th best bound does not lie: one below the k-th best of the blocks' best.

    ``best``, with room for 2k entries, is what it works on.
    """
    k, n = best.size >> 1, 0
    if k > -(-sums.size // _BLOCK):
        return np.int64(NEVER)
    for start in range(0, sums.size, _BLOCK):
        best[n] = np.int64(_largest_of_block(sums[start : start + _BLOCK])) + 32_768
        n += 1
        if n == best.size:
            select_best(best, k)
            n = k
    select_best(best[:n], k)
    return np.int64(best[k - 1]) - 32_769


@jit
def entry_of(sums, unit):
    """Return a uint64 that orders units by their bounds, those with equal ones by descending number."""
    return np.uint64(np.int64(sums[unit]) + 32_768) << np.uint64(32) | np.uint64(~np.uint32(unit))


@jit
def unit_of(entry):
    """Return the unit in such an entry."""
    return np.int64(~entry & np.uint64(0xFFFFFFFF))


@jit
def bound_of(entry):
    """Return the bound in such an entry."""
    return np.int64(entry >> np.uint64(32)) - 32_768


@jit_uncounted
def _largest_of_block(block):
    if block.size < _BLOCK:
        return _largest(block)
    largest = block[0]
    for i in range(_BLOCK):  # a constant count nearly halves the time
        largest = block[i] if block[i] > largest else largest
    return largest


@jit_uncounted
def _largest(block):
    largest = block[0]
    for i in range(block.size):  # comparing like this vectorizes
        largest = block[i] if block[i] > largest else largest
    return largest
