"""Embeddings written and read again, and every way in which such a file can be wrong."""

import json
import zipfile

import numpy as np
import pytest
from scipy import sparse

from gossamer import Catalog, SparseEmbeddings
from gossamer.datasets.embedding_files import read_dense, read_sparse, write_dense, write_sparse
from gossamer.errors import (
    ArgumentError,
    EmbeddingsError,
    FormatError,
    NotFoundError,
    OutputExistsError,
    ShapeError,
    VersionError,
)

DENSE = np.float32([[0.6, 0, 0, -0.8], [0, 0, 0, 0], [0, 1, 0, 0]])
SPARSE = SparseEmbeddings.from_dense(DENSE)
CATALOG = Catalog(
    n=3, keys=np.array(["a/1.png", "ä/long name.png", "b"]), labels=np.array(["a", "ä", ""]), fingerprint="0123abcd"
)


def same(catalog, other):
    return (catalog.keys.tolist(), catalog.labels.tolist(), catalog.fingerprint) == (
        other.keys.tolist(),
        other.labels.tolist(),
        other.fingerprint,
    )


# --- sparse


def test_sparse_embeddings_are_read_as_they_were_written(tmp_path):
    write_sparse(tmp_path / "a.npz", SPARSE, CATALOG)
    rows, catalog = read_sparse(tmp_path / "a.npz")
    np.testing.assert_array_equal(rows.to_dense(), DENSE)
    assert (rows.indptr.dtype, rows.dims.dtype, rows.values.dtype) == (np.int64, np.int32, np.float32)
    assert same(catalog, CATALOG)


def test_scipy_opens_sparse_embeddings(tmp_path):
    write_sparse(tmp_path / "a.npz", SPARSE, CATALOG)
    rows = sparse.load_npz(tmp_path / "a.npz")
    assert isinstance(rows, sparse.csr_array)
    np.testing.assert_array_equal(rows.toarray(), DENSE)


def test_names_are_stored_as_text_and_nothing_is_pickled(tmp_path):
    write_sparse(tmp_path / "a.npz", SPARSE, CATALOG)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert {stored[name].dtype.kind for name in ("keys", "labels", "fingerprint")} == {"U"}


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize("compressed", [True, False])
def test_files_of_scipy_are_read_without_names(tmp_path, make, compressed):
    sparse.save_npz(tmp_path / "a.npz", make(DENSE), compressed=compressed)
    rows, catalog = read_sparse(tmp_path / "a.npz")
    np.testing.assert_array_equal(rows.to_dense(), DENSE)
    assert (catalog.n, catalog.keys, catalog.labels, catalog.fingerprint) == (3, None, None, "")


def test_no_rows_are_kept(tmp_path):
    write_sparse(tmp_path / "a.npz", SPARSE[:0], CATALOG.take([]))
    rows, catalog = read_sparse(tmp_path / "a.npz")
    assert rows.shape == (0, 4)
    assert catalog.keys.shape == (0,)


GOOD = {
    "format": np.array(b"csr"),
    "shape": np.array([3, 4]),
    "data": SPARSE.values,
    "indices": SPARSE.dims,
    "indptr": SPARSE.indptr,
    "keys": CATALOG.keys,
    "labels": CATALOG.labels,
    "fingerprint": np.array("0123"),
}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"indptr": None}, FormatError, "no 'indptr'"),
        ({"format": np.array(b"csc")}, FormatError, "got 'csc'"),
        ({"format": np.array([1, 2])}, FormatError, "csr format"),
        ({"shape": np.array([4, 4])}, FormatError, "do not fit"),
        ({"shape": np.array([3, 4, 5])}, FormatError, "do not fit"),
        ({"shape": np.array([3, 3])}, EmbeddingsError, "dim - 1 = 2; got 3"),
        ({"shape": np.array([3, 0])}, FormatError, "expected 1 to"),
        ({"data": np.float32([1, 2])}, FormatError, "two vectors"),
        ({"data": np.float32([1, np.nan, 2])}, EmbeddingsError, "row 0 holds nan"),
        ({"data": np.int64([1, 2, 3])}, EmbeddingsError, "dtype int64"),
        ({"indices": np.int32([3, 0, 1])}, EmbeddingsError, "ascending"),
        ({"keys": np.array(["a", "b"])}, FormatError, "keys: expected shape"),
        ({"keys": np.array(["a", "b", "a"])}, FormatError, "'a' occurs 2 times"),
        ({"labels": np.arange(3)}, FormatError, "labels of text; got dtype int64"),
        ({"labels": np.array(["a", None, "b"], object)}, FormatError, "cannot be read"),
    ],
)
def test_a_sparse_file_that_cannot_be_right_is_refused_by_name(tmp_path, change, error, message):
    arrays = {name: array for name, array in (GOOD | change).items() if array is not None}
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(error, match=rf"bad\.npz: .*{message}"):
        read_sparse(tmp_path / "bad.npz")


def test_a_damaged_sparse_file_is_refused_by_name(tmp_path):
    path = tmp_path / "bad.npz"
    write_sparse(path, SPARSE, CATALOG)
    whole = path.read_bytes()
    values = SPARSE.values.tobytes()
    for damaged in (b"", b"hello", whole[: len(whole) // 2], whole.replace(values, values[::-1])):
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match=r"bad\.npz: expected a \.npz file"):
            read_sparse(path)


def test_a_sparse_file_that_promises_more_than_it_holds_is_refused(tmp_path):
    np.savez(tmp_path / "bad.npz", **GOOD)
    with zipfile.ZipFile(tmp_path / "bad.npz") as archive, zipfile.ZipFile(tmp_path / "huge.npz", "w") as huge:
        for name in archive.namelist():
            huge.writestr(name, archive.read(name).replace(b"'shape': (3,)", b"'shape': (3" + b"0" * 15 + b",)"))
    with pytest.raises(FormatError, match=r"huge\.npz: .*cannot be read"):
        read_sparse(tmp_path / "huge.npz")


# --- dense


@pytest.mark.parametrize("catalog", [CATALOG, Catalog(n=3, fingerprint="x")])
def test_dense_embeddings_are_read_as_they_were_written(tmp_path, catalog):
    write_dense(tmp_path / "a.npy", DENSE, catalog)
    rows, read = read_dense(tmp_path / "a.npy")
    np.testing.assert_array_equal(rows, DENSE)
    assert isinstance(rows, np.memmap)
    assert rows.dtype == np.float32
    assert read.fingerprint == catalog.fingerprint
    assert (read.keys is None) == (catalog.keys is None)
    assert read.keys is None or same(read, catalog)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_plain_npy_is_read_without_names(tmp_path, dtype):
    np.save(tmp_path / "a.npy", DENSE.astype(dtype))
    rows, catalog = read_dense(tmp_path / "a.npy")
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, DENSE.astype(dtype).astype(np.float32))
    assert (catalog.n, catalog.keys) == (3, None)


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.array([DENSE, None], object), FormatError, "cannot be read"),
        (DENSE[0], FormatError, r"shape \(n, dim\); got \(4,\)"),
        (DENSE.astype(np.int32), EmbeddingsError, "dtype int32"),
        (np.float32([[0], [np.inf]]), EmbeddingsError, "row 1 holds others"),
        (np.float64([[1e300]]), EmbeddingsError, "row 0 holds others"),
    ],
)
def test_a_dense_file_that_cannot_be_right_is_refused_by_name(tmp_path, array, error, message):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(error, match=rf"bad\.npy: .*{message}"):
        read_dense(tmp_path / "bad.npy")


def test_a_damaged_dense_file_is_refused_by_name(tmp_path):
    path = tmp_path / "bad.npy"
    np.save(path, DENSE)
    whole = path.read_bytes()
    for damaged in (b"", b"hello", whole[:40], whole[:-4]):
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match=r"bad\.npy: expected a \.npy file"):
            read_dense(path)
    with path.open("wb") as file:
        np.savez(file, a=DENSE)
    with pytest.raises(FormatError, match="it is a .npz"):
        read_dense(path)


def write_record(path, **change):
    record = json.loads(path.read_text()) | change
    path.write_text(json.dumps({name: value for name, value in record.items() if value != "gone"}))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"format": "another"}, FormatError, "another file"),
        ({"version": 2}, VersionError, "got 2"),
        ({"sha256": "gone"}, FormatError, "no 'sha256'"),
        ({"sha256": "00"}, FormatError, "belongs to other embeddings"),
        ({"shape": [3, 5]}, FormatError, "belongs to other embeddings"),
        ({"keys": ["a"]}, FormatError, "keys: expected shape"),
        ({"labels": [1, 2, 3]}, FormatError, "labels of text"),
    ],
)
def test_names_that_cannot_be_right_are_refused(tmp_path, change, error, message):
    write_dense(tmp_path / "a.npy", DENSE, CATALOG)
    write_record(tmp_path / "a.json", **change)
    with pytest.raises(error, match=rf"a\.json: .*{message}"):
        read_dense(tmp_path / "a.npy")


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff"])
def test_names_that_are_no_record_are_refused(tmp_path, text):
    write_dense(tmp_path / "a.npy", DENSE, CATALOG)
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FormatError, match=r"a\.json: expected the names"):
        read_dense(tmp_path / "a.npy")


def test_rows_that_were_replaced_without_their_names_are_refused(tmp_path):
    write_dense(tmp_path / "a.npy", DENSE, CATALOG)
    np.save(tmp_path / "a.npy", DENSE[::-1])
    with pytest.raises(FormatError, match="belongs to other embeddings"):
        read_dense(tmp_path / "a.npy")


# --- both


@pytest.fixture(params=["sparse", "dense"])
def write(request):
    """Write three rows, or one, to a path."""
    if request.param == "sparse":
        return lambda path, n=3, **options: write_sparse(path.with_suffix(".npz"), SPARSE[:n], CATALOG, **options)
    return lambda path, n=3, **options: write_dense(path.with_suffix(".npy"), DENSE[:n], CATALOG, **options)


def test_an_existing_file_is_replaced_only_when_told_so(tmp_path, write):
    write(tmp_path / "a")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write(tmp_path / "a")
    write(tmp_path / "a", overwrite=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_names_of_other_rows_are_not_written(tmp_path, write):
    with pytest.raises(ShapeError, match="names of 1 rows; got 3"):
        write(tmp_path / "a", n=1)
    assert list(tmp_path.iterdir()) == []


def test_dense_rows_that_are_not_finite_are_not_written(tmp_path):
    with pytest.raises(EmbeddingsError, match="row 0"):
        write_dense(tmp_path / "a.npy", np.full((3, 4), np.nan, np.float32), CATALOG)
    assert list(tmp_path.iterdir()) == []


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"ends in \.npz; got a\.npy"):
        write_sparse(tmp_path / "a.npy", SPARSE, CATALOG)
    with pytest.raises(ArgumentError, match=r"ends in \.npy; got a\.npz"):
        write_dense(tmp_path / "a.npz", DENSE, CATALOG)


@pytest.mark.parametrize("read", [read_sparse, read_dense])
def test_a_missing_file_is_refused(tmp_path, read):
    with pytest.raises(NotFoundError, match="there is none at"):
        read(tmp_path / "none")
