"""SparseEmbeddings: what is accepted, what is refused, and that nothing changes on the way."""

import copy

import numpy as np
import pytest
from scipy import sparse

from gossamer import SparseEmbeddings
from gossamer.csr_checks import MAX_NORM
from gossamer.embeddings import as_dense, as_embeddings
from gossamer.errors import ArgumentError, EmbeddingsError, ShapeError


def make(indptr=(0, 2, 2, 3), dims=(0, 3, 1), values=(1.0, -2.0, 0.5), dim=4, dtype=np.float32):
    return SparseEmbeddings(np.array(indptr), np.array(dims), np.array(values, dtype), dim=dim)


def test_rows_keep_their_entries_and_have_the_documented_dtypes():
    rows = make()
    np.testing.assert_array_equal(rows.to_dense(), [[1, 0, 0, -2], [0, 0, 0, 0], [0, 0.5, 0, 0]])
    assert (rows.indptr.dtype, rows.dims.dtype, rows.values.dtype) == (np.int64, np.int32, np.float32)
    assert rows.nnz_per_row.tolist() == [2, 0, 1]
    assert len(rows) == 3
    assert rows.shape == (3, 4)


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scipy_rows_survive_the_round_trip(rng, kind, dtype):
    dense = rng.integers(-2, 3, (40, 30)).astype(dtype)
    rows = as_embeddings(kind(dense))
    np.testing.assert_array_equal(rows.to_dense(), dense)
    np.testing.assert_array_equal(rows.to_scipy().toarray(), dense)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 5000])
def test_dense_rows_survive_the_round_trip(rng, n, dtype):
    dense = rng.integers(-1, 2, (n, 7)).astype(dtype)
    np.testing.assert_array_equal(SparseEmbeddings.from_dense(dense).to_dense(), dense)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_torch_rows_survive_the_round_trip(rng):
    torch = pytest.importorskip("torch")
    dense = torch.from_numpy(rng.integers(-1, 2, (9, 7)).astype(np.float32))
    for tensor in (
        dense,
        dense.to_sparse(),
        dense.to_sparse().to_sparse_csr(),
        dense.bfloat16(),
        dense.requires_grad_(),
    ):
        rows = SparseEmbeddings.from_torch(tensor)
        np.testing.assert_array_equal(rows.to_dense(), dense.detach())
        np.testing.assert_array_equal(rows.to_torch().to_dense(), dense.detach())


def test_explicit_zeros_are_dropped():
    rows = make(
        indptr=(0, 3, 4, 6), dims=(0, 1, 3, 2, 0, 1), values=(0.0, 1.0, -0.0, 0.0, 2.0, 1e-60), dtype=np.float64
    )
    assert rows.dims.tolist() == [1, 0]
    assert rows.indptr.tolist() == [0, 1, 1, 2]


def test_rows_do_not_change_with_the_arrays_they_came_from():
    values = np.float32([1, 2])
    rows = SparseEmbeddings(np.array([0, 2]), np.array([0, 1]), values, dim=2)
    values[:] = 9
    assert rows.values.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        rows.values[0] = 3
    with pytest.raises(AttributeError, match="never change"):
        rows.dim = 5


@pytest.mark.parametrize(
    "rows", [slice(None), slice(1, 3), slice(2, 1), slice(None, None, 2), [2, 0, 2], [], [True, False, True]]
)
def test_selecting_rows_equals_selecting_dense_rows(rows):
    chosen = np.array(rows, dtype=int if rows == [] else None) if isinstance(rows, list) else rows
    np.testing.assert_array_equal(make()[chosen].to_dense(), make().to_dense()[chosen])


@pytest.mark.parametrize("magnitude", [0, 0.25, 0.3, 1, 9])
def test_entries_at_least_as_large_are_kept(magnitude):
    dense = np.float32([[0.25, -0.3, 0, 1], [0, 0, 0, 0], [-0.25, 0.2, -1, 0], [0.1, 0, 0, 0.1]])
    kept = SparseEmbeddings.from_dense(dense).at_least(magnitude)
    expected = np.where(np.abs(dense) >= np.float32(magnitude), dense, 0)
    np.testing.assert_array_equal(kept.to_dense(), expected)
    assert kept.nnz == np.count_nonzero(expected)
    assert kept.indptr.dtype == np.int64


@pytest.mark.parametrize("magnitude", [-0.1, np.nan])
def test_a_magnitude_below_zero_is_refused(magnitude):
    with pytest.raises(ArgumentError, match="magnitude: expected at least 0; got"):
        SparseEmbeddings.from_dense(np.eye(2)).at_least(magnitude)


def test_one_row_number_is_refused_because_rows_are_always_many():
    with pytest.raises(ShapeError, match=r"take \[\[1\]\]"):
        make()[1]


def test_rows_survive_being_copied():
    rows = copy.deepcopy(make())
    np.testing.assert_array_equal(rows.to_dense(), make().to_dense())


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"dims": (3, 0, 1)}, EmbeddingsError, "row 0 has 0 after 3"),
        ({"dims": (3, 3, 1)}, EmbeddingsError, "row 0 has 3 after 3"),
        ({"indptr": (0, 1, 1, 3), "dims": (3, 1, 0)}, EmbeddingsError, "row 2 has 0 after 1"),
        ({"dims": (0, 4, 1)}, EmbeddingsError, "dim - 1 = 3; got 4"),
        ({"dims": (-1, 3, 1)}, EmbeddingsError, "got -1"),
        ({"dims": (0.0, 3.0, 1.0)}, EmbeddingsError, "dims: expected integers"),
        ({"values": (1, np.nan, 1)}, EmbeddingsError, "row 0 holds nan"),
        ({"values": (1, 1, np.inf)}, EmbeddingsError, "row 2 holds inf"),
        ({"values": (1, 1, 1e39), "dtype": np.float64}, EmbeddingsError, r"row 2 holds 1e\+39"),
        ({"values": (1, 1, 1), "dtype": np.int64}, EmbeddingsError, "got dtype int64"),
        ({"values": (1, 1, 1), "dtype": bool}, EmbeddingsError, "got dtype bool"),
        ({"values": (1, 1, 1), "dtype": complex}, EmbeddingsError, "got dtype complex128"),
        ({"values": (1, 1, MAX_NORM * 1.01)}, EmbeddingsError, "row 2 has 1.01e"),
        ({"indptr": (0, 2, 1, 3)}, EmbeddingsError, "never decrease"),
        ({"indptr": (1, 2, 2, 3)}, EmbeddingsError, "start at 0"),
        ({"indptr": (0, 2, 2, 4)}, ShapeError, r"indptr\[-1\] = 4"),
        ({"indptr": ()}, ShapeError, "shape"),
        ({"values": (1, 1)}, ShapeError, "two vectors"),
        ({"dim": 0}, ShapeError, "dim: expected 1"),
    ],
)
def test_bad_rows_are_refused_in_one_sentence(change, error, sentence):
    with pytest.raises(error, match=sentence):
        make(**change)


@pytest.mark.parametrize("rows", [np.eye(3), sparse.csc_array(np.eye(3)), [[1.0]], None, "rows"])
def test_other_kinds_of_rows_are_refused_with_the_remedy(rows):
    with pytest.raises(EmbeddingsError, match=r"\.tocsr\(\)"):
        as_embeddings(rows)


def test_the_largest_norm_leaves_every_score_finite():
    n = 10_000
    values = np.full(n, MAX_NORM / np.sqrt(n), np.float64)
    rows = SparseEmbeddings(np.array([0, n]), np.arange(n), values, dim=n)
    assert np.isfinite(np.cumsum(rows.values * rows.values, dtype=np.float32)).all()


def test_dense_rows_are_checked_and_float32_is_not_copied(tmp_path):
    rows = np.float32([[1, 2], [3, 4]])
    assert as_dense(rows, name="rows") is rows
    np.save(tmp_path / "rows.npy", rows)
    assert isinstance(as_dense(np.load(tmp_path / "rows.npy", mmap_mode="r"), name="rows"), np.memmap)
    assert as_dense(rows.astype(np.float64), name="rows", dim=2).dtype == np.float32
    with pytest.raises(ShapeError, match=r"rows: expected shape \(n, 3\); got \(2, 2\)"):
        as_dense(rows, name="rows", dim=3)
    with pytest.raises(EmbeddingsError, match="rows: expected float16, float32 or float64; got dtype int64"):
        as_dense(rows.astype(np.int64), name="rows")
    for bad in (np.array([[1.0], [np.nan]]), np.array([[1.0], [1e39]])):
        with pytest.raises(EmbeddingsError, match="rows: expected finite float32 values; row 1 holds others"):
            as_dense(bad, name="rows")
