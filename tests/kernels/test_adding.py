"""Postings that are added up in pieces give the sums of postings that are added up one by one."""

import numpy as np
import pytest

from gossamer.kernels import adding, postings
from gossamer.kernels.bounds import NEVER
from rows import csr
from search_cases import draw_rows

N = 1 << 15


def added_one_by_one(lists, number, list_numbers, weights, *, only_positive=False):
    """Return the sums that `adding.add_bounds` makes in steps of 1, posting by posting."""
    window_starts, window_lists, _, list_segments, segments, ids = lists
    ids, segments = ids[window_starts[number] : window_starts[number + 1]], segments.reshape(-1, 3)
    first_of_window, sums = list_segments[window_lists[number]], np.zeros(N, np.int64)
    for at, weight in zip(list_numbers, weights, strict=True):
        for segment in range(list_segments[at], list_segments[at + 1]) if at >= 0 else ():
            start = segments[segment - 1, 0] if segment > first_of_window else 0
            high, low = segments[segment, 1:].view(np.float32).astype(float)
            step = np.ceil(weight * (high if weight > 0 else low))
            if step > 0 or not only_positive:
                np.add.at(sums, ids[start : min(segments[segment, 0], ids.size)], int(step))
    return sums


def drawn_lists(rng, *, n_lists, longest):
    """Return the lists of two windows of N units: some dimensions nearly all have, others a few."""
    lengths = (longest * rng.random(n_lists) ** 3).astype(np.int64)
    pairs = [(unit, j) for j in range(n_lists) for unit in rng.choice(2 * N, lengths[j], replace=False)]
    units, dims = np.array(sorted(pairs), np.int64).T
    values = rng.choice([-3, -1, 1, 1, 2, 5], dims.size) * rng.random(dims.size)
    indptr = np.searchsorted(units, np.arange(2 * N + 1)).astype(np.int64)
    values = values.astype(np.float32)
    return postings.build_lists(indptr, dims.astype(np.int32), values, values, n_lists, N)[0]


@pytest.mark.parametrize(("n_lists", "longest"), [(8, 2 * N), (60, 3000), (3000, 40)])
@pytest.mark.parametrize("only_positive", [False, True])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8])
def test_pieces_add_up_to_what_single_postings_do(rng, n_lists, longest, only_positive, dtype):
    lists = drawn_lists(rng, n_lists=n_lists, longest=longest)
    gathered = rng.integers(-(2**31), 2**31, 4128).astype(np.int32)
    for number in (0, 1):
        found = rng.permutation([postings.find_list(lists, number, j) for j in range(n_lists)] + [-1]).astype(np.int64)
        weights, sums = rng.standard_normal(found.size) * 3, np.zeros(N, dtype)
        adding.add_bounds(lists, number, found, weights, 1.0, 0.0, only_positive, gathered, sums)
        expected = added_one_by_one(lists, number, found, weights, only_positive=only_positive)
        assert expected.any()
        np.testing.assert_array_equal(sums, expected.astype(dtype))


def test_segments_of_any_length_and_ends_that_a_damaged_file_has_are_added_up(rng):
    window_starts, window_lists, list_dims, list_segments, segments, ids = drawn_lists(rng, n_lists=40, longest=2000)
    ends = segments.reshape(-1, 3)[:, 0]  # a view
    for segment in rng.integers(list_segments[1], list_segments[39], 60):
        ends[segment] = rng.choice([0, ends[segment] + rng.integers(-9, 9), 2**32 - 1])
    lists = window_starts, window_lists, list_dims, list_segments, segments, ids
    found, weights = np.arange(40), np.ones(40)
    sums = np.zeros(1 << 16, np.int16)
    adding.add_bounds(lists, 0, found, weights, 1.0, 0.0, False, np.zeros(4128, np.int32), sums)
    np.testing.assert_array_equal(sums[:N], added_one_by_one(lists, 0, found, weights))


@pytest.mark.parametrize(
    ("low", "high", "weight", "fold", "largest"),
    [
        (1.0, 3.0, 2.0, 0.0, 6.0),  # at the high end
        (1.0, 3.0, -2.0, 0.0, -2.0),  # at the low end
        (-3.0, 3.0, -2.5, 0.0, 8.0),  # 7.5, rounded up
        (1.0, 3.0, 8.0, 2.0, 8.0),  # inside, at 2
        (3.0, 5.0, 8.0, 2.0, 6.0),  # its top is left of the range
        (0.5, 1.0, 8.0, 2.0, 6.0),  # its top is right of the range
        (-1.0, -0.5, 8.0, 2.0, -4.0),  # -4.5, rounded up
        (0.1, 0.2, 0.001, 0.0, 1.0),  # rounded up
        (0.1, 0.2, -0.001, 0.0, 0.0),
    ],
)
def test_the_largest_step_is_that_of_the_best_value_in_a_range(low, high, weight, fold, largest):
    found = adding._largest_step(weight, fold, np.float32(low), np.float32(high))
    assert int(found) == largest


@pytest.mark.parametrize("window", [1, 64, 1 << 16])
def test_units_that_share_a_dimension_are_marked(rng, window):
    rows = draw_rows(rng, "heavy-tailed")
    n, dim = rows.documents.shape
    dense = rows.documents.to_dense() != 0
    values = rows.documents.values
    lists, _ = postings.build_lists(*csr(rows.documents)[:2], values, values, dim, window)
    for query in (np.int64([0, 7, 300]), np.int64([dim - 1]), np.zeros(0, np.int64)):
        for number in range(-(-n // window)):
            sums = np.full(min(window, n - number * window), NEVER, np.int16)
            found = np.array([postings.find_list(lists, number, j) for j in query], np.int64)
            adding.mark_shared(lists, number, found, sums)
            expected = dense[number * window : (number + 1) * window][:, query].any(axis=1)
            np.testing.assert_array_equal(sums, np.where(expected, 0, NEVER))
