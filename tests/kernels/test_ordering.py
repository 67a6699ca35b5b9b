"""The order of rows: always a permutation, the same for a seed, and similar rows are neighbours."""

import numpy as np
import pytest

from gossamer.embeddings import SparseEmbeddings
from gossamer.kernels import ordering
from gossamer.kernels.ordering import order_rows
from rows import csr, integer_embeddings


def planted_rows(rng, n, *, n_classes, dim=512, pattern=12, signed=False):
    """Draw rows of classes, each with nine of its class's dimensions and two others; return them and their labels."""
    patterns = np.array([rng.choice(dim, pattern, replace=False) for _ in range(n_classes)])
    signs = rng.choice([-1, 1], patterns.shape) if signed else np.ones(patterns.shape)
    labels = rng.integers(0, n_classes, n)
    dense = np.zeros((n, dim), np.float32)
    for row, label in zip(dense, labels, strict=True):
        row[rng.choice(dim, 2, replace=False)] = rng.random(2) + 0.1
        kept = rng.choice(pattern, 9, replace=False)
        row[patterns[label][kept]] = signs[label][kept] * (rng.random(9) + 0.5)
    return SparseEmbeddings.from_dense(dense), labels


def distinct_pairs(rows, order, block=32):
    """Count the distinct (block, dimension) pairs: what the block maxima of this order cost."""
    places = np.empty(len(rows), np.int64)
    places[order] = np.arange(len(rows))
    blocks = np.repeat(places, np.diff(rows.indptr)) // block
    return np.unique(blocks * rows.dim + rows.dims).size


def assert_permutation(order, n):
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


@pytest.mark.parametrize("n", [0, 1, 2, 256, 257, 1000, 5000])
@pytest.mark.parametrize("dim", [2, 3, 40])
@pytest.mark.parametrize("density", [0.0, 0.03, 0.5, 1.0])
def test_an_order_is_a_permutation_with_empty_rows_last(rng, n, dim, density):
    rows = integer_embeddings(rng, n=n, dim=dim, density=density)
    order = order_rows(*csr(rows), dim)
    assert_permutation(order, n)
    is_empty = (np.diff(rows.indptr) == 0)[order]
    assert (np.diff(is_empty.astype(int)) >= 0).all()


@pytest.mark.parametrize(
    "values",
    [
        np.float32([1, 1, 1]),
        np.float32([0, 0, 0]),
        np.float32([3e38, -3e38, 3e38]),
        np.float32([1e-45, -1e-45, 1e-45]),
        np.float32([3e38, 1e-45, 0]),
    ],
)
@pytest.mark.parametrize("n", [100, 1500])
def test_equal_rows_of_any_values_are_ordered(values, n):
    dims = np.tile(np.int32([0, 7, 999_999]), n)
    order = order_rows(np.arange(0, 3 * n + 1, 3), dims, np.tile(values, n), 1_000_000)
    assert_permutation(order, n)


def test_a_row_without_weight_does_not_disturb_the_others(rng):
    rows, labels = planted_rows(rng, 4000, n_classes=50)
    values = rows.values.copy()
    values[: rows.indptr[10]] = 0
    order = order_rows(rows.indptr, rows.dims, values, rows.dim)
    assert_permutation(order, 4000)
    assert np.count_nonzero(np.diff(labels[order])) < 150


def test_a_row_of_ten_thousand_entries_among_short_ones(rng):
    lengths = np.full(2000, 5)
    lengths[7] = 10_000
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    dims = np.concatenate([np.sort(rng.choice(50_000, length, replace=False)) for length in lengths]).astype(np.int32)
    order = order_rows(indptr, dims, rng.standard_normal(dims.size).astype(np.float32), 50_000)
    assert_permutation(order, 2000)


def test_dimensions_that_every_row_has_do_not_hide_the_classes(rng):
    rows, labels = planted_rows(rng, 4000, n_classes=50)
    dense = rows.to_dense()
    dense[:, 0] = 1
    with_common = SparseEmbeddings.from_dense(dense)
    order = order_rows(*csr(with_common), with_common.dim)
    assert np.count_nonzero(np.diff(labels[order])) < 300


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("norm", [1.0, 1e-6, 1e6])
def test_planted_classes_become_mostly_contiguous(rng, signed, norm):
    rows, labels = planted_rows(rng, 6000, n_classes=100, signed=signed)
    order = order_rows(rows.indptr, rows.dims, rows.values * np.float32(norm), rows.dim)
    assert_permutation(order, 6000)
    n_changes = np.count_nonzero(np.diff(labels[order]))
    assert n_changes < 300  # 99 at best, about 5,940 in random order


def test_classes_that_differ_in_signs_alone_are_told_apart(rng):
    labels = rng.integers(0, 64, 4000)
    signs = rng.choice(np.float32([-1, 1]), (64, 16))
    rows = SparseEmbeddings.from_dense(signs[labels] * (1 + rng.random((4000, 16), np.float32)))
    order = order_rows(*csr(rows), 16)
    assert np.count_nonzero(np.diff(labels[order])) < 1000  # about 3,940 if signs were ignored


def test_blocks_hold_fewer_distinct_dimensions_than_in_random_order(rng):
    rows, labels = planted_rows(rng, 6000, n_classes=150)
    found = distinct_pairs(rows, order_rows(*csr(rows), rows.dim))
    best = distinct_pairs(rows, np.argsort(labels, kind="stable"))
    assert best <= found * 1.05
    assert found < 1.1 * best < 0.6 * distinct_pairs(rows, np.arange(len(rows)))


def test_an_order_depends_on_the_seed_and_not_on_threads(rng):
    rows, _ = planted_rows(rng, 3000, n_classes=60)
    order = order_rows(*csr(rows), rows.dim, seed=1)
    np.testing.assert_array_equal(order, order_rows(*csr(rows), rows.dim, seed=1))
    np.testing.assert_array_equal(order, order_rows(*csr(rows), rows.dim, seed=1, n_threads=3))
    assert (order != order_rows(*csr(rows), rows.dim, seed=2)).any()


def test_the_rows_are_not_modified(rng):
    rows, _ = planted_rows(rng, 1000, n_classes=20)
    arrays = [array.copy() for array in csr(rows)]
    for array in arrays:
        array.setflags(write=False)
    order_rows(*arrays, rows.dim)
    for array, before in zip(arrays, csr(rows), strict=True):
        np.testing.assert_array_equal(array, before)


def test_of_many_rows_those_close_to_no_centroid_get_others(rng, monkeypatch):
    rows, labels = planted_rows(rng, 6000, n_classes=300)
    monkeypatch.setattr(ordering, "_MOST_CENTROIDS", 64)
    changes = np.count_nonzero(np.diff(labels[order_rows(*csr(rows), rows.dim)]))
    monkeypatch.setattr(ordering, "_MOST_ROWS", 2000)
    order = order_rows(*csr(rows), rows.dim)
    assert_permutation(order, 6000)
    assert np.count_nonzero(np.diff(labels[order])) < 0.7 * changes


@pytest.mark.parametrize("close", [0.0, 2.0])
def test_many_rows_are_ordered_whether_all_or_none_are_close_to_a_centroid(rng, monkeypatch, close):
    rows, _ = planted_rows(rng, 3000, n_classes=300)
    monkeypatch.setattr(ordering, "_MOST_CENTROIDS", 64)
    monkeypatch.setattr(ordering, "_MOST_ROWS", 500)
    monkeypatch.setattr(ordering, "_CLOSE", np.float32(close))
    assert_permutation(order_rows(*csr(rows), rows.dim), 3000)
