"""Posting lists: every posting once, in the list of its dimension, between the bounds of its segment."""

import itertools

import numpy as np
import pytest

from gossamer import SparseEmbeddings
from gossamer.kernels import postings
from rows import csr, integer_embeddings

WINDOWS = [1, 64, 1 << 16]


def listed(lists, dim):
    """Return what lists hold: for each (window, dimension) its segments, as (units, high, low)."""
    window_starts, window_lists, list_dims, list_segments, segments, ids = lists
    bounds, found = segments.view(np.float32).reshape(-1, 3), {}
    ends = segments.reshape(-1, 3)[:, 0]
    for number in range(window_starts.size - 1):
        window_ids = ids[window_starts[number] : window_starts[number + 1]]
        start = 0
        for at in range(window_lists[number], window_lists[number + 1]):
            j = list_dims[at] if list_dims.size else at - window_lists[number]
            assert j < dim
            for segment in range(list_segments[at], list_segments[at + 1]):
                end = int(ends[segment])
                found.setdefault((number, int(j)), []).append((window_ids[start:end], *bounds[segment, 1:]))
                start = end
        assert start == window_ids.size
    return found


def assert_lists_hold(rows, highs, lows, window, built):
    (lists, capacity), (indptr, dims, _) = built, csr(rows)
    units = np.repeat(np.arange(len(rows)), np.diff(indptr))
    expected = {}
    for unit, j, high, low in zip(units, dims, highs, lows, strict=True):
        expected.setdefault((int(unit) // window, int(j)), {})[int(unit) % window] = high, low
    found, squares = listed(lists, rows.dim), np.zeros(len(rows))
    assert found.keys() == expected.keys()
    for place, segments in found.items():
        assert sorted(int(unit) for ids, _, _ in segments for unit in ids) == sorted(expected[place])
        for ids, high, low in segments:
            assert (np.diff(ids.astype(int)) > 0).all()
            own = np.array([expected[place][int(unit)] for unit in ids])
            assert high == own[:, 0].max()  # tight, and not below
            assert low == own[:, 1].min()
            squares[place[0] * window + ids.astype(int)] += max(float(high) ** 2, float(low) ** 2)
    assert capacity == pytest.approx(np.sqrt(squares.max(initial=0)), rel=1e-14)


@pytest.mark.parametrize("n", [0, 1, 64, 65, 1000])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("window", WINDOWS)
def test_every_posting_is_in_one_segment_that_encloses_its_values(rng, n, density, window):
    rows = integer_embeddings(rng, n=n, dim=7, density=density)
    lists, capacity = postings.build_lists(*csr(rows)[:2], rows.values, rows.values, rows.dim, window)
    assert_lists_hold(rows, rows.values, rows.values, window, (lists, capacity))


@pytest.mark.parametrize("draw", ["lognormal", "standard_normal", "standard_cauchy"])
@pytest.mark.parametrize("window", [700, 1 << 16])
def test_long_lists_are_cut_into_segments_of_similar_values(rng, draw, window):
    values = getattr(rng, draw)(size=(3000, 3)).astype(np.float32)
    rows = SparseEmbeddings.from_dense(values * (rng.random((3000, 3)) < [1, 0.5, 0.04]))
    lists, capacity = postings.build_lists(*csr(rows)[:2], rows.values, rows.values, rows.dim, window)
    assert_lists_hold(rows, rows.values, rows.values, window, (lists, capacity))
    longest = listed(lists, rows.dim)[0, 0]
    assert len(longest) >= 5
    ranges = [(low, high) for _, high, low in longest]
    alike = (ranges[0][1] - ranges[-1][0]) / 100  # those of about the same value may come into either of two segments
    assert all(low > next_high - alike for (low, _), (_, next_high) in itertools.pairwise(ranges))
    lengths = [ids.size for segments in listed(lists, 3).values() for ids, _, _ in segments[:-1]]
    assert all(length % postings.CHUNK == 0 or length < postings.CHUNK for length in lengths)
    assert len(longest) <= sum(ids.size for ids, _, _ in longest) // postings.POSTINGS_PER_SEGMENT + 1


def test_extremes_of_blocks_are_enclosed_too(rng):
    rows = integer_embeddings(rng, n=1000, dim=4, density=0.7)
    highs = rows.values + rng.integers(0, 3, rows.nnz).astype(np.float32)
    lows = rows.values - rng.integers(0, 3, rows.nnz).astype(np.float32)
    lists, capacity = postings.build_lists(*csr(rows)[:2], highs, lows, rows.dim, 512)
    assert_lists_hold(rows, highs, lows, 512, (lists, capacity))


@pytest.mark.parametrize("values", [[1e19, -1e19], [1e-45, 2e-45], [1.0, 1.0000001], [-1e-45, 1e-45]])
def test_lists_of_extreme_values_are_cut_without_losing_a_posting(rng, values):
    values = rng.choice(np.float32(values), (1000, 1))
    indptr, dims = np.arange(1001), np.zeros(1000, np.int32)
    rows = SparseEmbeddings._trusted(indptr, dims, values[:, 0], 1)
    lists, capacity = postings.build_lists(indptr, dims, rows.values, rows.values, 1, 1 << 16)
    assert_lists_hold(rows, rows.values, rows.values, 1 << 16, (lists, capacity))


@pytest.mark.parametrize("window", WINDOWS)
def test_lists_of_present_dimensions_alone_hold_what_lists_of_all_hold(rng, monkeypatch, window):
    rows = integer_embeddings(rng, n=300, dim=9, density=0.03)
    arguments = *csr(rows)[:2], rows.values, rows.values, rows.dim, window
    dense, dense_capacity = postings.build_lists(*arguments)
    monkeypatch.setattr(postings, "_DENSE_LISTS", 0)
    monkeypatch.setattr(postings, "_POSTINGS_PER_DENSE_LIST", 1 << 40)
    sparse, sparse_capacity = postings.build_lists(*arguments)
    assert (dense[2].size == 0, sparse[2].size > 0, dense_capacity) == (True, True, sparse_capacity)
    assert repr(listed(dense, rows.dim)) == repr(listed(sparse, rows.dim))
    for number in range(dense[0].size - 1):
        for j in range(rows.dim + 2):
            at, other = (postings.find_list(lists, number, j) for lists in (dense, sparse))
            lengths = [lists[3][i + 1] - lists[3][i] if i >= 0 else 0 for lists, i in ((dense, at), (sparse, other))]
            assert lengths[0] == lengths[1] == len(listed(dense, rows.dim).get((number, j), []))
            assert other == -1 or sparse[2][other] == j


def test_a_million_dimensions_take_no_more_lists_than_there_are_postings(rng):
    dims = np.sort(rng.choice(1_000_000, (500, 4)), axis=1).astype(np.int32).ravel()
    values = np.ones(2000, np.float32)
    lists, _ = postings.build_lists(np.arange(0, 2001, 4), dims, values, values, 1_000_000, 64)
    assert lists[2].size <= 2000
    assert postings.find_list(lists, 3, dims[3 * 64 * 4]) >= 0
    assert postings.find_list(lists, 3, 999_999_999) == -1


def test_no_rows_have_no_lists():
    none = np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.float32)
    lists, capacity = postings.build_lists(np.zeros(1, np.int64), *none, 5, 64)
    assert (lists[0].tolist(), lists[1].tolist(), lists[5].size, capacity) == ([0], [0], 0, 0)
