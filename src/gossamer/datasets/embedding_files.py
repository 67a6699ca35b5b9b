"""Embeddings on disk: sparse ones in a ``.npz`` that SciPy opens too, dense ones in a ``.npy``.

A ``.npz`` holds what `scipy.sparse.save_npz` writes of a CSR array (``format``, ``shape``, ``data``,
``indices``, ``indptr``) and, where known, ``keys``, ``labels`` and ``fingerprint`` as arrays of text.

Beside ``name.npy``, ``name.json`` holds the keys, the labels and the fingerprint, and the shape and
SHA-256 of the embeddings that they belong to, so that names are never given to other rows.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from gossamer.arrays import AnyArray, FloatArray
from gossamer.catalog import Catalog
from gossamer.embeddings import SparseEmbeddings, as_dense
from gossamer.errors import (
    ArgumentError,
    DataError,
    EmbeddingsError,
    FormatError,
    NotFoundError,
    ShapeError,
    VersionError,
)
from gossamer.files import check_output, replaced_file

SPARSE_SUFFIX, DENSE_SUFFIX = ".npz", ".npy"

_JSON_FORMAT, _JSON_VERSION = "gossamer dense embeddings", 1


def check_embeddings_output(path: str | Path, suffix: str, *, overwrite: bool) -> None:
    """Refuse, before any work is done, a path that embeddings cannot be written to.

    Parameters
    ----------
    path : str or Path
        The file to be written; for dense embeddings the JSON beside it is checked too.
    suffix : str
        What its name must end in: `SPARSE_SUFFIX` or `DENSE_SUFFIX`.
    overwrite : bool
        Whether an older file may be replaced.

    Raises
    ------
    ArgumentError
        If the name ends in something else.
    OutputExistsError, NotFoundError
        If ``path`` is taken, or its folder is not there (see `gossamer.files.check_output`).
    """
    path = Path(path)
    if path.suffix != suffix:
        raise ArgumentError(f"output: expected a name that ends in {suffix}; got {path.name}")
    check_output(path, overwrite=overwrite)
    if suffix == DENSE_SUFFIX:
        check_output(path.with_suffix(".json"), overwrite=overwrite)


def write_sparse(path: str | Path, embeddings: SparseEmbeddings, catalog: Catalog, *, overwrite: bool = False) -> None:
    """Write sparse embeddings and their names, uncompressed, to a ``.npz`` file.

    Raises
    ------
    ShapeError
        If the catalog does not name as many rows as there are.
    ArgumentError, OutputExistsError, NotFoundError
        As in `check_embeddings_output`.
    """
    path = Path(path)
    check_embeddings_output(path, SPARSE_SUFFIX, overwrite=overwrite)
    _check_names(catalog, len(embeddings))
    arrays: dict[str, AnyArray] = {
        "format": np.array(b"csr"),
        "_is_array": np.array(True),
        "shape": np.array(embeddings.shape),
        "data": embeddings.values,
        "indices": embeddings.dims,
        "indptr": embeddings.indptr,
        "fingerprint": np.array(catalog.fingerprint),
    }
    arrays |= {} if catalog.keys is None else {"keys": catalog.keys}
    arrays |= {} if catalog.labels is None else {"labels": catalog.labels}
    with replaced_file(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_sparse(path: str | Path) -> tuple[SparseEmbeddings, Catalog]:
    """Read sparse embeddings and their names, also from a plain `scipy.sparse.save_npz` file of CSR.

    Raises
    ------
    NotFoundError
        If there is no such file.
    FormatError
        If the file is damaged, of another kind, or its arrays do not fit each other.
    EmbeddingsError
        If its rows are not valid embeddings, such as rows with NaN.
    """
    path = _existing(path)
    if not zipfile.is_zipfile(path):
        raise FormatError(f"{path}: expected a .npz file of sparse embeddings; it is damaged or of another kind")
    arrays = _read_arrays(path)
    missing = [name for name in ("format", "shape", "data", "indices", "indptr") if name not in arrays]
    if missing:
        raise FormatError(f"{path}: expected sparse embeddings as scipy.sparse.save_npz writes them; no {missing[0]!r}")
    sparse_format = _text(arrays["format"])
    if sparse_format != "csr":
        raise FormatError(f"{path}: expected rows in csr format; got {sparse_format!r}. Convert them with .tocsr()")
    shape = arrays["shape"]
    if shape.shape != (2,) or shape.dtype.kind not in "iu" or arrays["indptr"].shape != (shape[0] + 1,):
        raise FormatError(f"{path}: expected as many rows as its shape says; the arrays do not fit each other")
    try:
        rows = SparseEmbeddings(arrays["indptr"], arrays["indices"], arrays["data"], dim=int(shape[1]))
    except ShapeError as error:
        raise FormatError(f"{path}: {error}") from error
    except EmbeddingsError as error:
        raise EmbeddingsError(f"{path}: {error}") from error
    names = {name: arrays.get(name) for name in ("keys", "labels")}
    return rows, _catalog(path, len(rows), names, _text(arrays.get("fingerprint", np.array(""))))


def write_dense(path: str | Path, embeddings: FloatArray, catalog: Catalog, *, overwrite: bool = False) -> None:
    """Write dense embeddings to a ``.npy`` file, and their names to a ``.json`` beside it.

    Parameters
    ----------
    embeddings : array, shape (n, dim), float32
        Of finite values.

    Raises
    ------
    EmbeddingsError
        If a value is NaN or infinite.
    ShapeError, ArgumentError, OutputExistsError, NotFoundError
        As in `write_sparse`.
    """
    path = Path(path)
    check_embeddings_output(path, DENSE_SUFFIX, overwrite=overwrite)
    _check_names(catalog, len(embeddings))
    embeddings = as_dense(embeddings, name="embeddings")
    record = {
        "format": _JSON_FORMAT,
        "version": _JSON_VERSION,
        "shape": embeddings.shape,
        "sha256": _digest(embeddings),
        "fingerprint": catalog.fingerprint,
        "keys": None if catalog.keys is None else catalog.keys.tolist(),
        "labels": None if catalog.labels is None else catalog.labels.tolist(),
    }
    # The JSON is renamed into place first: killed in between, the pair does not match and is refused.
    with replaced_file(path) as partial, replaced_file(path.with_suffix(".json")) as partial_json:
        with partial.open("wb") as file:
            np.save(file, embeddings, allow_pickle=False)
        partial_json.write_text(json.dumps(record), encoding="utf-8")


def read_dense(path: str | Path) -> tuple[FloatArray, Catalog]:
    """Read dense embeddings and their names; a plain ``.npy`` without a JSON beside it has none.

    Returns
    -------
    embeddings : array, shape (n, dim), float32
        Read-only and memory-mapped; converted, in memory, if the file holds float16 or float64.
    catalog : Catalog

    Raises
    ------
    NotFoundError
        If there is no such file.
    FormatError
        If the ``.npy`` or its JSON is damaged, of another kind, or they do not belong together.
    VersionError
        If the JSON was written by a newer Gossamer.
    EmbeddingsError
        If a value is NaN or infinite.
    """
    path = _existing(path)
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FormatError(f"{path}: expected a .npy file of dense embeddings; it cannot be read ({error})") from error
    if not isinstance(stored, np.ndarray):
        stored.close()
        raise FormatError(f"{path}: expected a .npy file of dense embeddings; it is a .npz")
    try:
        embeddings = as_dense(stored, name=str(path))
    except ShapeError as error:
        raise FormatError(str(error)) from error
    names = path.with_suffix(".json")
    if not names.exists():
        return embeddings, Catalog(n=len(embeddings))
    record = _read_record(names)
    if record["shape"] != list(embeddings.shape) or record["sha256"] != _digest(embeddings):
        raise FormatError(f"{names}: expected the names of the rows of {path}; it belongs to other embeddings")
    return embeddings, _catalog(names, len(embeddings), record, record["fingerprint"])


def _existing(path: str | Path) -> Path:
    if not Path(path).is_file():
        raise NotFoundError(f"embeddings: expected a file; there is none at {path}")
    return Path(path)


def _check_names(catalog: Catalog, n: int) -> None:
    if catalog.n != n:
        raise ShapeError(f"catalog: expected the names of {n} rows; got {catalog.n}")


def _read_arrays(path: Path) -> dict[str, AnyArray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, EOFError, OSError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise FormatError(f"{path}: expected a .npz file of sparse embeddings; it cannot be read ({error})") from error


def _text(array: AnyArray) -> str:
    """Return the text of a 0-d array: bytes where SciPy wrote it."""
    item = array.item() if array.ndim == 0 else array
    return item.decode("ascii", "replace") if isinstance(item, bytes) else str(item)


def _catalog(path: Path, n: int, names: dict[str, Any], fingerprint: str) -> Catalog:
    arrays = {name: None if names[name] is None else np.asarray(names[name]) for name in ("keys", "labels")}
    for name, array in arrays.items():
        if array is not None and array.dtype.kind != "U" and array.size:
            raise FormatError(f"{path}: expected {name} of text; got dtype {array.dtype}")
    try:
        return Catalog(n=n, **arrays, fingerprint=fingerprint)
    except (ShapeError, DataError) as error:
        raise FormatError(f"{path}: {error}") from error


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{path}: expected the names of dense embeddings; it is not JSON ({error})") from error
    if not isinstance(record, dict) or record.get("format") != _JSON_FORMAT:
        raise FormatError(f"{path}: expected the names of the embeddings beside it; it is another file, rename it")
    if record.get("version", 0) > _JSON_VERSION:
        raise VersionError(
            f"{path}: expected version {_JSON_VERSION} at most; got {record['version']}. Update Gossamer"
        )
    missing = [name for name in ("shape", "sha256", "fingerprint", "keys", "labels") if name not in record]
    if missing:
        raise FormatError(f"{path}: expected the names of dense embeddings; no {missing[0]!r}")
    return record


def _digest(embeddings: FloatArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(embeddings, dtype="<f4").data).hexdigest()
