"""Bounds: never below a score, never outside 16 bits, and found again by comparison."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer import SparseEmbeddings
from gossamer.kernels import adding, bounds, postings, reference, topk
from rows import csr
from search_cases import KINDS, Rows, draw_rows

KINDS_WITH_BOUNDS = [kind for kind in KINDS if kind not in ("wide", "long")]
NEVER = int(bounds.NEVER)


def bounded(documents, query, *, window, fraction=1.0, fold_share=0.85, only_positive=False, most=bounds.WIDE):
    """Bound the scores of all documents, with the first ``fraction`` of the query's dimensions in the lists.

    Returns the bounds as int64, the constant ``rest``, the steps per score and how many dimensions are shared at most.
    """
    indptr, dims, values = csr(documents)
    lists, capacity = postings.build_lists(indptr, dims, values, values, documents.dim, window)
    norms = [np.linalg.norm(values[indptr[i] : indptr[i + 1]].astype(float)) for i in range(len(documents))]
    radius, n_shared = max(norms, default=0.0), min(query.nnz, int(np.diff(indptr).max(initial=0)))
    weights = query.values.astype(np.float64)
    steps = bounds.steps_per_score(np.linalg.norm(weights), capacity, n_shared, most)
    n_used = int(fraction * weights.size)
    rest_norm, rest, fold = np.linalg.norm(weights[n_used:]), 0.0, 0.0
    if rest_norm > 0 and radius > 0:
        fold = rest_norm / (2 * fold_share * radius)
        rest = radius**2 * fold + rest_norm**2 / (4 * fold)
    sums = np.zeros(len(documents), np.int16 if most == bounds.WIDE else np.uint8)
    for number in range(-(-len(documents) // window)):
        found = np.array([postings.find_list(lists, number, j) for j in query.dims[:n_used]], np.int64)
        part = sums[number * window : (number + 1) * window]
        adding.add_bounds(lists, number, found, weights, steps, fold, only_positive, np.zeros(4128, np.int32), part)
    return sums.astype(np.int64), rest, steps, n_shared


@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS_WITH_BOUNDS),
    window=st.sampled_from([1, 64, 1 << 16]),
    fraction=st.sampled_from([0.0, 0.3, 0.7, 1.0, 1.0]),
    fold_share=st.sampled_from([0.05, 0.85, 0.85, 3.0]),
    only_positive=st.booleans(),
    most=st.sampled_from([bounds.WIDE, bounds.NARROW]),
)
def test_no_bound_is_below_a_score(*, seed, kind, window, most, only_positive, **settings):
    rows = draw_rows(np.random.default_rng(seed), kind)
    if most == bounds.NARROW:
        both = (SparseEmbeddings.from_scipy(abs(side.to_scipy())) for side in (rows.documents, rows.queries))
        rows = Rows(kind, *both)
        only_positive = True  # as in a split, which alone makes steps that could be negative
    documents = csr(rows.documents)
    for row in range(len(rows.queries)):
        query = rows.queries[row : row + 1]
        sums, rest, steps, n_shared = bounded(
            rows.documents, query, window=window, most=most, only_positive=only_positive, **settings
        )
        if steps == 0:
            continue
        assert abs(sums).max(initial=0) <= most
        # Without rounding: the real score, in steps. Its float64 sum errs by less than a millionth of a step.
        real = np.zeros(len(sums))
        indptr, dims, values = documents
        places = np.searchsorted(query.dims, dims)
        is_shared = np.append(query.dims, -1)[places] == dims
        products = np.where(is_shared, np.append(query.values, 0)[places].astype(float) * values, 0)
        np.add.at(real, np.repeat(np.arange(len(sums)), np.diff(indptr)), products)
        assert (sums - (real - rest) * steps).min(initial=0) >= -1e-6
        # With rounding: whoever has a score above a threshold is above its limit.
        scores, shares = reference.score_documents(documents, query.dims, query.values)
        for score, bound in zip(scores[shares], sums[shares], strict=True):
            below = float(np.nextafter(score, np.float32(-np.inf)))
            assert bound > bounds.limit_of(below, rest, steps, n_shared, most)


def test_every_bound_is_its_product_rounded_up_where_a_window_is_one_row():
    documents = SparseEmbeddings.from_dense(np.float32([[3, -1], [0, 2], [-3, 0], [0, 0]]))
    query = SparseEmbeddings.from_dense(np.float32([[1, -1]]))
    sums, rest, steps, n_shared = bounded(documents, query, window=1)
    assert (n_shared, rest) == (2, 0)
    assert steps == pytest.approx((bounds.WIDE - 2) / np.sqrt(2 * 10), rel=1e-15)
    up = lambda product: int(np.ceil(product * steps))  # noqa: E731
    assert sums.tolist() == [up(3) + up(1), up(-2), up(-3), 0]


@pytest.mark.parametrize(
    ("norm", "capacity", "n_shared", "is_usable"),
    [
        (1.0, 1.0, 1, True),
        (1e-45, 1e-45, 3, True),
        (1e19, 0.99e19, 3, True),
        (1e19, 1e19, 3, False),
        (1e30, 1e30, 3, False),
        (0.0, 1.0, 3, False),
        (1.0, 0.0, 0, False),
        (1.0, 1.0, "half", True),
        (1.0, 1.0, "more than half", False),
    ],
)
@pytest.mark.parametrize("most", [bounds.WIDE, bounds.NARROW])
def test_steps_are_given_only_where_bounds_can_be_trusted(norm, capacity, n_shared, is_usable, most):
    n_shared = {"half": most // 2, "more than half": most // 2 + 1}.get(n_shared, n_shared)
    steps = bounds.steps_per_score(norm, capacity, n_shared, most)
    assert steps >= 0
    assert np.isfinite(steps)
    assert (steps > 0) == is_usable
    if is_usable:
        assert norm * capacity * steps + n_shared == pytest.approx(most)


@pytest.mark.parametrize("threshold", [-np.inf, -1e38, -1.0, 0.0, 1e-45, 3.4e38])
def test_without_steps_every_bound_exceeds_the_limit(threshold):
    assert bounds.limit_of(threshold, 0.0, 0.0, 20_000, bounds.WIDE) < 0


@pytest.mark.parametrize(
    ("threshold", "limit"), [(-np.inf, -32_768), (-1e30, -32_768), (np.inf, "most"), (1e30, "most")]
)
@pytest.mark.parametrize("most", [bounds.WIDE, bounds.NARROW])
def test_limits_stay_within_the_bits_of_the_sums(threshold, limit, most):
    assert bounds.limit_of(threshold, 0.0, 100.0, 3, most) == (most if limit == "most" else limit)


def test_the_limit_leaves_room_for_rounding_and_no_more():
    for most, steps, n_shared in ((bounds.WIDE, 1000.0, 4), (bounds.NARROW, 200.0, 4)):
        half = round(steps / 2)
        assert bounds.limit_of(0.5, 0.0, steps, n_shared, most) == half - 1
        assert bounds.limit_of(0.5, 0.2, steps, n_shared, most) == round(0.3 * steps) - 1
        rounding = n_shared * (most * 2.0**-23 + steps * 2.0**-149) + 2.0**-10
        assert bounds.limit_of((half + 1.01 * rounding) / steps, 0.0, steps, n_shared, most) == half
        assert bounds.limit_of((half + 0.99 * rounding) / steps, 0.0, steps, n_shared, most) == half - 1


def test_bounds_that_would_be_lowered_are_passed_over_if_asked():
    documents = SparseEmbeddings.from_dense(np.float32([[3, -1], [-1, 2]]))
    query = SparseEmbeddings.from_dense(np.float32([[1, 1]]))
    (all_sums, *_), (sums, *_) = (bounded(documents, query, window=1, only_positive=only) for only in (False, True))
    assert all_sums.min() > 0
    assert (sums > all_sums).all()


SIZES = [1, 63, 64, 65, 511, 512, 513, 3000, 1 << 16]
LIMITS = [(np.int16, -32_768), (np.int16, -1), (np.int16, 0), (np.int16, 90), (np.int16, 32_766)]
LIMITS += [(np.uint8, 0), (np.uint8, 140), (np.uint8, 254), (np.uint8, 255)]


ALL = np.zeros(0, np.uint64)


def packed(members, size):
    """Set bits one by one, in Python's integers."""
    words = [sum(1 << int(member % 64) for member in members if member // 64 == word) for word in range(-(-size // 64))]
    return np.array(words, np.uint64)


def draw_sums(rng, size, kind, share=1.0):
    """Draw sums, of which some are the extremes of their type."""
    lowest, highest, middle = (0, 200, 0) if kind == np.uint8 else (-100, 100, -100)
    sums = np.where(rng.random(size) < share, rng.integers(lowest, highest, size), middle).astype(kind)
    sums[rng.integers(0, size, 3)] = [np.iinfo(kind).min, min(32_766, np.iinfo(kind).max), np.iinfo(kind).min]
    return sums


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kind", "limit"), LIMITS)
@pytest.mark.parametrize("share", [0.002, 0.5])
def test_collected_are_the_units_above_the_limit(rng, size, kind, limit, share):
    sums = draw_sums(rng, size, kind, share)
    expected, units, before = np.flatnonzero(sums > limit), np.full(1 << 16, -7, np.int32), sums.copy()
    assert bounds.count_above(sums, np.int16(limit)) == expected.size
    n = bounds.collect(sums, np.int16(limit), ALL, units, False)
    np.testing.assert_array_equal(units[:n], expected)
    np.testing.assert_array_equal(sums, before)
    n = bounds.collect(sums, np.int16(limit), ALL, units, True)
    np.testing.assert_array_equal(units[:n], expected)
    assert not sums.any()
    members = np.flatnonzero(rng.random(size) < 0.4)
    n = bounds.collect(before, np.int16(limit), packed(members, size), units, True)
    np.testing.assert_array_equal(units[:n], np.intersect1d(members, expected))
    assert not before.any()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kind", "limit"), LIMITS)
@pytest.mark.parametrize("k", [1, 10, 1000])
@pytest.mark.parametrize("has_members", [False, True])
def test_the_best_units_are_those_with_the_best_bounds(*, rng, size, kind, limit, k, has_members):
    sums = draw_sums(rng, size, kind)
    members = np.flatnonzero(rng.random(size) < 0.4) if has_members else np.arange(size)
    best = np.zeros(2 * k, np.uint64)
    n = bounds.best_units(sums, limit, packed(members, size) if has_members else ALL, best)
    units = (~best[:n] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    above = members[sums[members] > limit]
    expected = above[np.lexsort((above, -sums[above].astype(int)))][:k]
    np.testing.assert_array_equal(np.sort(units), np.sort(expected))
    np.testing.assert_array_equal((best[:n] >> np.uint64(32)).astype(np.int64) - 32_768, sums[units])


def test_room_for_few_best_units_is_enough():
    sums = np.arange(5000, dtype=np.int16)
    best = np.zeros(4, np.uint64)
    assert bounds.best_units(sums, 0, ALL, best) == 2
    topk.select_best(best[:2], 1)
    assert (~best[:2] & np.uint64(0xFFFFFFFF)).tolist() == [4999, 4998]
