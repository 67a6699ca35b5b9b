"""The order of rows: always a permutation, the same for a seed, and similar rows are neighbours."""

import numpy as np
import pytest

from gossamer.embeddings import SparseEmbeddings
from gossamer.kernels import grouping
from gossamer.kernels.heads import Heads, Rows, keys_of
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


@pytest.fixture(params=["features", "pairs"])
def keys(request, monkeypatch):
    """Let heads be compared as they are by default for few rows, or by pairs of features."""
    if request.param == "pairs":
        monkeypatch.setattr(grouping, "_HEAD_SIZES", ())
        monkeypatch.setattr(grouping, "_SHORT", 0)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("n", [0, 1, 2, 256, 257, 1000, 5000])
@pytest.mark.parametrize("dim", [2, 3, 40])
@pytest.mark.parametrize("density", [0.0, 0.03, 0.5, 1.0])
def test_an_order_is_a_permutation_with_empty_rows_last(rng, n, dim, density):
    rows = integer_embeddings(rng, n=n, dim=dim, density=density)
    order = order_rows(*csr(rows), dim)
    assert_permutation(order, n)
    is_empty = (np.diff(rows.indptr) == 0)[order]
    assert (np.diff(is_empty.astype(int)) >= 0).all()


@pytest.mark.usefixtures("keys")
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


@pytest.mark.usefixtures("keys")
def test_a_row_without_weight_does_not_disturb_the_others(rng):
    rows, labels = planted_rows(rng, 4000, n_classes=50)
    values = rows.values.copy()
    values[: rows.indptr[10]] = 0
    order = order_rows(rows.indptr, rows.dims, values, rows.dim)
    assert_permutation(order, 4000)
    assert np.count_nonzero(np.diff(labels[order])) < 150


@pytest.mark.usefixtures("keys")
def test_a_row_of_ten_thousand_entries_among_short_ones(rng):
    lengths = np.full(2000, 5)
    lengths[7] = 10_000
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    dims = np.concatenate([np.sort(rng.choice(50_000, length, replace=False)) for length in lengths]).astype(np.int32)
    order = order_rows(indptr, dims, rng.standard_normal(dims.size).astype(np.float32), 50_000)
    assert_permutation(order, 2000)


@pytest.mark.usefixtures("keys")
def test_dimensions_that_every_row_has_do_not_hide_the_classes(rng):
    rows, labels = planted_rows(rng, 4000, n_classes=50)
    dense = rows.to_dense()
    dense[:, 0] = 1
    with_common = SparseEmbeddings.from_dense(dense)
    order = order_rows(*csr(with_common), with_common.dim)
    assert np.count_nonzero(np.diff(labels[order])) < 300


@pytest.mark.usefixtures("keys")
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


@pytest.mark.usefixtures("keys")
def test_blocks_hold_fewer_distinct_dimensions_than_in_random_order(rng):
    rows, labels = planted_rows(rng, 6000, n_classes=150)
    found = distinct_pairs(rows, order_rows(*csr(rows), rows.dim))
    best = distinct_pairs(rows, np.argsort(labels, kind="stable"))
    assert best <= found * 1.05
    assert found < 1.1 * best < 0.6 * distinct_pairs(rows, np.arange(len(rows)))


@pytest.mark.usefixtures("keys")
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


@pytest.mark.usefixtures("keys")
def test_many_rows_have_as_many_centroids_as_their_number_asks_for(rng, monkeypatch):
    rows, labels = planted_rows(rng, 6000, n_classes=300)
    monkeypatch.setattr(grouping, "_FEW_CENTROIDS", 64)
    monkeypatch.setattr(grouping, "_ROWS_PER_CENTROID_OF_MANY", 100)
    changes = np.count_nonzero(np.diff(labels[order_rows(*csr(rows), rows.dim)]))
    monkeypatch.setattr(grouping, "_ROWS_PER_CENTROID_OF_MANY", 20)
    order = order_rows(*csr(rows), rows.dim)
    assert_permutation(order, 6000)
    assert np.count_nonzero(np.diff(labels[order])) < 0.5 * changes


def test_rows_of_two_entries_are_not_compared_by_pairs(rng, monkeypatch):
    common, rare = rng.integers(0, 50, 4000), rng.integers(50, 3000, 4000)
    dims = np.stack([common, rare], axis=1).astype(np.int32)
    rows = SparseEmbeddings(np.arange(0, 8001, 2), dims.ravel(), np.ones(8000, np.float32), dim=3000)
    monkeypatch.setattr(grouping, "_POSTINGS", 1)  # too few for any lists
    order = order_rows(*csr(rows), rows.dim)
    assert_permutation(order, 4000)
    assert np.count_nonzero(np.diff(common[order])) < 2000  # about 3,920 if rows alike in one of two were not found


def test_the_keys_of_a_head_are_all_pairs_of_its_features_in_any_order():
    indptr, dims = np.int64([0, 3, 6, 7, 7]), np.int32([4, 9, 11, 11, 4, 9, 5])
    rows = Rows(indptr, dims, np.float32([1, 4, 4, 4, 1, 4, -2]))
    starts, keys, weights = keys_of(rows, np.arange(4, dtype=np.int32), Heads(8, 20))
    assert starts.tolist() == [0, 3, 6, 7, 7]  # a single feature is its own pair
    assert len(set(keys[:3])) == 3
    assert set(keys[:3]) == set(keys[3:6])
    assert ((keys >= 0) & (keys < 1 << 20)).all()
    # Of 1, 4 and 4 the weights are 1/3, 2/3 and 2/3; those of pairs 2/9, 2/9 and 4/9, of length 2/9 · √6.
    np.testing.assert_allclose(np.sort(weights[:3]), np.array([1, 1, 2]) / np.sqrt(6), rtol=1e-6)
    assert weights[6] == 1


def test_a_head_has_the_heaviest_entries_and_both_signs_of_a_dimension_are_features():
    rows = Rows(np.int64([0, 4]), np.int32([3, 3, 7, 8]), np.float32([4, -9, 1, 12]))
    starts, features, weights = keys_of(rows, np.int32([0]), Heads(3, 0))
    assert starts.tolist() == [0, 3]
    assert dict(zip(features.tolist(), weights.tolist(), strict=True)) == pytest.approx(
        {6: 2 / 5, 7: 3 / 5, 16: np.sqrt(12 / 25)}
    )
