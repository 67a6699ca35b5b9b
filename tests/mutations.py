"""Loosen one bound at a time in the wrong direction, by about a unit, and see whether a comparison fails.

Run as a program of its own with NUMBA_DISABLE_JIT=1: then a function that is replaced in its module is replaced
for those that call it. Prints one line for each mutation: its name and the case that failed, or "nothing failed".
"""

import sys
from contextlib import contextmanager

import numpy as np
from numba import config

from gossamer import SparseEmbeddings
from gossamer.kernels import adding, block_max, block_summaries, bounds, postings, queries, rows, topk, window_scan
from plans import Plan
from search_cases import Rows, difference, reference_search

MODULES = adding, block_max, block_summaries, bounds, postings, queries, rows, topk, window_scan


def do_nothing(*_):
    """Stand in for the processor's request to its cache, and for a kernel that is left out."""


def exceeding(sums, start, limit):
    """Stand in for the comparison of 64 sums at once."""
    return np.uint64(sum(1 << place for place in np.flatnonzero(sums[start : start + bounds.LANES] > limit).tolist()))


def clear_lanes(sums, start):
    """Stand in for setting 64 sums at once."""
    sums[start : start + bounds.LANES] = 0


def lowest_bit(mask):
    """Return the place of the lowest bit that is set."""
    return (int(mask) & -int(mask)).bit_length() - 1


def prepare_modules():
    """Make the kernels run as plain functions, and leave nothing to a scan, which would hide what a bound has lost."""
    block_max._TOO_DEAR = window_scan._TOO_DEAR = np.inf
    for module in MODULES:
        module.prefetch = module.prefetch_early = do_nothing
        module.call = lambda kernel, *arguments: kernel(*arguments)
    bounds.clear_lanes = clear_lanes
    bounds.exceeding, bounds.lowest_bit, bounds.count_bits = exceeding, lowest_bit, lambda mask: int(mask).bit_count()


@contextmanager
def replaced(module, name, make):
    """Replace a function in all modules that use it by what ``make`` makes of it."""
    original = getattr(module, name)
    users = [user for user in MODULES if getattr(user, name, None) is original]
    mutant = make(original)
    for user in users:
        setattr(user, name, mutant)
    yield
    for user in users:
        setattr(user, name, original)


def then(change):
    """Return a mutation that changes what a function returns."""
    return lambda original: lambda *arguments: change(original(*arguments))


def lower_highs(blocks):
    indptr, dims, highs, lows = blocks
    return indptr, dims, highs * np.float32(1 - 2.0**-13), lows


def raise_lows(blocks):
    indptr, dims, highs, lows = blocks
    return indptr, dims, highs, np.minimum(lows * np.float32(1 - 2.0**-13), highs)


def forget_zeros(original):
    """Take the extremes of the rows that have the dimension, as if no row lacked it."""

    def summarize(indptr, dims, values, dim, block_size):
        block_indptr, block_dims, highs, lows = original(indptr, dims, values, dim, block_size)
        for block in range(block_indptr.size - 1):
            first, last = (min(row, indptr.size - 1) for row in (block * block_size, (block + 1) * block_size))
            own_dims, own_values = (array[indptr[first] : indptr[last]] for array in (dims, values))
            for place in range(block_indptr[block], block_indptr[block + 1]):
                own = own_values[own_dims == block_dims[place]]
                highs[place], lows[place] = own.max(), own.min()
        return block_indptr, block_dims, highs, lows

    return summarize


def lower_codes(which):
    def change(encoded):
        codes = encoded[which]
        return *encoded[:which], codes - (codes > 0), *encoded[which + 1 :]

    return then(change)


def lower_weights(original):
    def spread(asked, list_dims, q, weights):
        scale = original(asked, list_dims, q, weights)
        for own in weights:
            own[own > 0] -= 1
        return scale

    return spread


def tighten_segments(original):
    """Store a largest value that is a little too small, as after rounding to a shorter type."""

    def write(*arguments):
        n_segments = original(*arguments)
        segments = next(array for array in arguments if getattr(array, "dtype", None) == np.uint32)
        segments.view(np.float32)[3 * n_segments - 2] *= np.float32(1 - 2.0**-13)
        return n_segments

    return write


def threshold_at_kth(original):
    """Ask for more than the k-th best score, not for more than the number below it."""

    def keep(ranks, n, k, threshold):
        kept, raised = original(ranks, n, k, threshold)
        return kept, raised if n < k else max(threshold, topk.score_of(ranks[k - 1]))

    return keep


MUTATIONS = {
    "nothing": (bounds, "limit_of", lambda original: original),
    "every product one step lower": (adding, "_largest_step", then(lambda step: np.int16(step - 1))),
    "the limit one step higher": (bounds, "limit_of", then(lambda limit: np.int16(int(limit) + 1))),
    "twice as many steps as sums hold": (bounds, "steps_per_score", then(lambda steps: 2 * steps)),
    "the largest value of a segment smaller by 2**-13": (postings, "_write_segment", tighten_segments),
    "the constant of a split smaller by 2**-13": (
        bounds, "constant_and_fold", then(lambda found: (found[0] * (1 - 2.0**-13), found[1])),
    ),
    "the threshold of k results one number higher": (rows, "keep_best", threshold_at_kth),
    "the units that share a dimension not marked": (adding, "mark_shared", lambda _: do_nothing),
    "the highs of blocks smaller by 2**-13": (block_summaries, "summarize_blocks", then(lower_highs)),
    "the lows of blocks nearer to 0 by 2**-13": (block_summaries, "summarize_blocks", then(raise_lows)),
    "the zeros of a block's rows forgotten": (block_summaries, "summarize_blocks", forget_zeros),
    "the codes of parts one less above 0": (block_summaries, "encode_parts", lower_codes(0)),
    "the codes of parts one less below 0": (block_summaries, "encode_parts", lower_codes(1)),
    "the integer weights of a query one less": (block_max, "_spread_weights", lower_weights),
}  # fmt: skip


def cases(rng):
    """Draw rows whose scores nearly tie, in windows so small that a bound is that of a row, and how to search them."""
    for _ in range(120):
        n, dim = int(rng.integers(5, 80)), int(rng.integers(1, 4))
        near = np.float32(1) + rng.integers(0, 4, (n, dim)) * np.float32(2.0**-23)
        signs = rng.choice([[1, 1], [1, -1]])
        dense = near * rng.choice(signs, (n, dim)) * (rng.random((n, dim)) < rng.choice([0.4, 1]))
        asked = rng.choice(signs, (2, dim)) * rng.choice(np.float32([1, 0.5, 1 / 3]), (2, dim))
        drawn = Rows("", *(SparseEmbeddings.from_dense(np.float32(matrix)) for matrix in (dense, asked)))
        k = int(rng.choice([1, 2, 5]))
        for min_score in (0.0, -1.5, float(np.nextafter(np.float32(1), np.float32(0)))):
            window = int(rng.choice([1, 2, 8, 64]))
            narrow = bool(rng.integers(2))
            yield drawn, {"window": window, "share": float(rng.choice([0, 0, 0.5])), "narrow": narrow}, k, min_score
            if min_score >= 0:
                order = rng.permutation(n)
                yield drawn, {"window": 64, "block_size": 8, "order": order, "narrow": narrow}, k, min_score
    yield blocks_with_zeros()
    yield from tight_splits()


def blocks_with_zeros():
    """A block whose best row has a zero where others have what speaks against them, and as many as are opened first."""
    dense = np.repeat(np.float32([[0, -1], *[[0.9, 0]] * (block_max._FIRST + 1)]), 8, axis=0)
    dense[3] = 1, 0
    drawn = Rows("", *(SparseEmbeddings.from_dense(rows) for rows in (dense, np.float32([[1, 1]]))))
    return drawn, {"window": 64, "block_size": 8}, 1, 0.0


def tight_splits():
    """Rows that lie as far outside the lists that are added as the constant assumes: their bounds are their scores."""
    for weight in np.linspace(0.2, 0.3, 21):
        row = np.float32([[np.sqrt(1 - 0.85**2), 0.85]])
        drawn = Rows("", SparseEmbeddings.from_dense(row), SparseEmbeddings.from_dense(np.float32([[1, weight]])))
        score = reference_search(drawn, 1, -np.inf, None)[1][0, 0]
        below = float(np.nextafter(score, np.float32(0)))
        yield drawn, {"share": 0.5, "expected": 0.0}, 1, below


def first_failure():
    """Return how many cases passed, and what was wrong with the next one."""
    n_passed = 0
    for drawn, settings, k, min_score in cases(np.random.default_rng(5)):
        found = Plan(drawn.documents, **settings).search(drawn.queries, k, min_score=np.float32(min_score))
        wrong = difference(found, reference_search(drawn, k, min_score, None))
        if wrong:
            return n_passed, f"{settings.keys() - {'window'}}, k {k}, above {min_score:g}: {wrong}"
        n_passed += 1
    return n_passed, None


if __name__ == "__main__":
    assert config.DISABLE_JIT
    np.seterr(all="ignore")
    prepare_modules()
    for name in sys.argv[1:] or MUTATIONS:
        with replaced(*MUTATIONS[name]):
            n_passed, failure = first_failure()
        print(f"{name}: {f'case {n_passed} fails, {failure}' if failure else f'nothing failed in {n_passed} cases'}")
