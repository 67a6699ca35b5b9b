"""Sparse embeddings: the one type in which learning and search meet.

`SparseEmbeddings` holds validated, immutable CSR rows. Everything after it may trust them: indices are
in range and ascending, values are finite and not zero, and no score of two rows overflows float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gossamer.arrays import AnyArray, FloatArray, IntArray, OffsetArray
from gossamer.csr_checks import as_integers, check_dims, checked_indptr, checked_values
from gossamer.errors import ArgumentError, EmbeddingsError, ShapeError

if TYPE_CHECKING:
    import torch
    from scipy import sparse

    SparseRows: TypeAlias = "SparseEmbeddings | sparse.csr_array | sparse.csr_matrix"

_ROWS_PER_DENSE_BLOCK = 4096
_ROWS_PER_CHECK = 65_536


class SparseEmbeddings:
    """Rows of reals of any sign, most entries exactly zero, in compressed sparse row (CSR) form.

    Validated once, here, and immutable after. Explicit zeros are dropped on entry, and so are float64
    values too small for float32. The arrays are copied; the copies are read-only.

    Parameters
    ----------
    indptr : array, shape (n + 1,), int32 or int64
        Row i holds the entries ``indptr[i]`` to ``indptr[i + 1]``.
    dims : array, shape (nnz,), int32 or int64
        The dimension of each entry, ascending within a row.
    values : array, shape (nnz,), float16, float32 or float64
        The entries, kept as float32.
    dim : int
        How many dimensions the rows have, at least 1.

    Raises
    ------
    ShapeError
        If the arrays are not vectors of matching lengths.
    EmbeddingsError
        If a value is NaN or infinite, dims are unsorted, duplicate or out of range, a dtype is another
        one, or a row's norm is above 1e19, so that a score could exceed float32.

    Examples
    --------
    >>> rows = SparseEmbeddings([0, 2, 2], [1, 3], np.float32([0.6, -0.8]), dim=4)
    >>> rows.shape, rows.nnz
    ((2, 4), 2)
    >>> rows.to_dense()
    array([[ 0. ,  0.6,  0. , -0.8],
           [ 0. ,  0. ,  0. ,  0. ]], dtype=float32)
    """

    __slots__ = ("dim", "dims", "indptr", "values")

    indptr: OffsetArray
    dims: IntArray
    values: FloatArray
    dim: int

    def __init__(self, indptr: Any, dims: Any, values: Any, *, dim: int) -> None:
        indptr = checked_indptr(np.asarray(indptr))
        dims, values = as_integers(np.asarray(dims), "dims"), np.asarray(values)
        if dims.ndim != 1 or values.shape != dims.shape or indptr[-1] != dims.size:
            raise ShapeError(
                f"dims and values: expected two vectors of indptr[-1] = {indptr[-1]} entries; "
                f"got shapes {dims.shape} and {values.shape}"
            )
        check_dims(indptr, dims, dim)
        values = checked_values(indptr, values)
        dims = dims.astype(np.int32)
        if np.count_nonzero(values) < values.size:
            keep = values != 0
            kept_before = np.zeros(values.size + 1, np.int64)
            np.cumsum(keep, out=kept_before[1:])
            indptr, dims, values = kept_before[indptr], dims[keep], values[keep]
        self._set(indptr.astype(np.int64), dims, values, int(dim))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"SparseEmbeddings never change once built: {name} cannot be set")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.indptr, self.dims, self.values, self.dim)

    def _set(self, indptr: OffsetArray, dims: IntArray, values: FloatArray, dim: int) -> None:
        for name, array in (("indptr", indptr), ("dims", dims), ("values", values)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "dim", dim)

    @classmethod
    def _trusted(cls, indptr: OffsetArray, dims: IntArray, values: FloatArray, dim: int) -> SparseEmbeddings:
        """Wrap arrays that come from checked rows, without a copy."""
        rows = cls.__new__(cls)
        rows._set(indptr, dims, values, dim)
        return rows

    @classmethod
    def from_scipy(cls, rows: Any) -> SparseEmbeddings:
        """Take the rows of a scipy CSR array or matrix, shape (n, dim); errors as in the class.

        Sort unsorted rows with ``rows.sort_indices()``, add duplicates up with ``rows.sum_duplicates()``.
        """
        if getattr(rows, "format", None) != "csr" or getattr(rows, "ndim", 2) != 2:
            raise EmbeddingsError(
                f"rows: expected SparseEmbeddings or a scipy CSR array or matrix; got {_kind(rows)}. "
                "Convert it with .tocsr(), or SparseEmbeddings.from_dense(array)"
            )
        return cls(rows.indptr, rows.indices, rows.data, dim=rows.shape[1])

    @classmethod
    def from_dense(cls, array: Any) -> SparseEmbeddings:
        """Take the nonzero entries of a dense array, shape (n, dim), float16, float32 or float64."""
        array = np.asarray(array)
        if array.ndim != 2:
            raise ShapeError(f"array: expected shape (n, dim); got {array.shape}")
        n, dim = array.shape
        counts, dims, values = [np.zeros(1, np.int64)], [], []
        for start in range(0, n, _ROWS_PER_DENSE_BLOCK):  # bounds the size of the index arrays
            block = array[start : start + _ROWS_PER_DENSE_BLOCK]
            row, column = np.nonzero(block)
            counts.append(np.bincount(row, minlength=len(block)))
            dims.append(column)
            values.append(block[row, column])
        return cls(
            np.cumsum(np.concatenate(counts)),
            np.concatenate([np.zeros(0, np.int64), *dims]),
            np.concatenate([np.zeros(0, array.dtype), *values]),
            dim=dim,
        )

    @classmethod
    def from_torch(cls, tensor: torch.Tensor) -> SparseEmbeddings:
        """Take the nonzero entries of a torch tensor, shape (n, dim): dense, sparse COO or sparse CSR."""
        tensor = tensor.detach().cpu()
        if tensor.ndim != 2:
            raise ShapeError(f"tensor: expected shape (n, dim); got {tuple(tensor.shape)}")
        if tensor.is_sparse:
            tensor = tensor.coalesce().to_sparse_csr()
        if str(tensor.layout) == "torch.sparse_csr":
            values = _numpy_values(tensor.values())
            return cls(tensor.crow_indices().numpy(), tensor.col_indices().numpy(), values, dim=tensor.shape[1])
        return cls.from_dense(_numpy_values(tensor))

    def to_scipy(self) -> sparse.csr_array:
        """Return the rows as a scipy CSR array that shares their memory (which is read-only)."""
        from scipy import sparse

        return sparse.csr_array((self.values, self.dims, self.indptr), shape=self.shape)

    def to_dense(self) -> FloatArray:
        """Return the rows as an array of shape (n, dim), float32."""
        dense = np.zeros(self.shape, np.float32)
        dense[np.repeat(np.arange(len(self)), self.nnz_per_row), self.dims] = self.values
        return dense

    def to_torch(self) -> torch.Tensor:
        """Return the rows as a sparse COO tensor of shape (n, dim), float32; the memory is copied."""
        import torch

        row = np.repeat(np.arange(len(self)), self.nnz_per_row)
        entries = torch.from_numpy(np.stack([row, self.dims])), torch.tensor(self.values)
        return torch.sparse_coo_tensor(*entries, size=self.shape, is_coalesced=True, check_invariants=False)

    def at_least(self, magnitude: float) -> SparseEmbeddings:
        """Return the rows without their entries of smaller magnitude, compared as float32.

        Of queries that find candidates, small entries cost as much as large ones and say less: Lassance, Dejean,
        Clinchant and Tonellotto, "Two-Step SPLADE", ECIR 2024, arXiv:2404.13357.

        Raises
        ------
        ArgumentError
            If the magnitude is not at least 0.

        Examples
        --------
        >>> rows = SparseEmbeddings.from_dense(np.float32([[0.1, -0.5], [0.2, 0]]))
        >>> rows.at_least(0.2).to_dense()
        array([[ 0. , -0.5],
               [ 0.2,  0. ]], dtype=float32)
        """
        if not magnitude >= 0:
            raise ArgumentError(f"magnitude: expected at least 0; got {magnitude!r}")
        places = np.flatnonzero(np.abs(self.values) >= np.float32(magnitude))
        indptr = np.searchsorted(places, self.indptr)
        return self._trusted(indptr, self.dims[places], self.values[places], self.dim)

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and of dimensions."""
        return self.indptr.size - 1, self.dim

    @property
    def nnz(self) -> int:
        """The number of stored entries, all of them nonzero."""
        return self.values.size

    @property
    def nnz_per_row(self) -> OffsetArray:
        """The number of nonzeros of each row, shape (n,), int64."""
        return np.diff(self.indptr)

    def __len__(self) -> int:
        return self.indptr.size - 1

    def __repr__(self) -> str:
        per_row = self.nnz / max(len(self), 1)
        return f"SparseEmbeddings({len(self)} rows, dim {self.dim}, {per_row:.1f} nonzeros per row)"

    def __getitem__(self, rows: slice | AnyArray) -> SparseEmbeddings:
        """Select rows by a slice, an array of row numbers, or a mask; always returns rows, never one.

        >>> SparseEmbeddings.from_dense(np.float32([[1, 0], [0, 2], [3, 0]]))[[2, 0]].to_dense()
        array([[3., 0.],
               [1., 0.]], dtype=float32)
        """
        if isinstance(rows, slice) and rows.step in (None, 1):
            start, stop, _ = rows.indices(len(self))
            stop = max(start, stop)
            first, last = self.indptr[start], self.indptr[stop]
            indptr = self.indptr[start : stop + 1] - first
            return self._trusted(indptr, self.dims[first:last], self.values[first:last], self.dim)
        if isinstance(rows, int | np.integer):
            raise ShapeError(f"rows: expected a slice or an array of rows; got {rows}. For one row, take [[{rows}]]")
        chosen = np.arange(len(self))[rows]
        counts = self.nnz_per_row[chosen]
        indptr = np.zeros(chosen.size + 1, np.int64)
        np.cumsum(counts, out=indptr[1:])
        entries = np.repeat(self.indptr[chosen] - indptr[:-1], counts) + np.arange(indptr[-1])
        return self._trusted(indptr, self.dims[entries], self.values[entries], self.dim)


def stacked(blocks: Sequence[SparseEmbeddings], *, dim: int) -> SparseEmbeddings:
    """Return the rows of all blocks, one below the other; ``dim`` is theirs, for there may be no block.

    Raises
    ------
    EmbeddingsError
        If a block has a dimension that is not below ``dim``.
    """
    counts = [np.zeros(1, np.int64), *(block.nnz_per_row for block in blocks)]
    return SparseEmbeddings(
        np.cumsum(np.concatenate(counts)),
        np.concatenate([np.zeros(0, np.int32), *(block.dims for block in blocks)]),
        np.concatenate([np.zeros(0, np.float32), *(block.values for block in blocks)]),
        dim=dim,
    )


def as_embeddings(rows: SparseRows) -> SparseEmbeddings:
    """Return ``rows`` as `SparseEmbeddings`: the border at which sparse rows are checked, once.

    Parameters
    ----------
    rows : SparseEmbeddings, or scipy CSR array or matrix
        The former is returned as it is.

    Raises
    ------
    EmbeddingsError
        If the rows are of another type, or not valid (see `SparseEmbeddings`).
    """
    return rows if isinstance(rows, SparseEmbeddings) else SparseEmbeddings.from_scipy(rows)


def as_dense(array: AnyArray, *, name: str, dim: int | None = None) -> FloatArray:
    """Return dense rows as float32: the border at which they are checked. Not copied if they are float32.

    Parameters
    ----------
    array : array, shape (n, dim), float16, float32 or float64
        Also a memory map, which stays one if it is of float32.
    name : str
        What an error calls it.
    dim : int, optional
        How many columns there must be.

    Raises
    ------
    ShapeError
        If it is not a matrix, or not of ``dim`` columns.
    EmbeddingsError
        If it is of another dtype, or a value is not finite as float32.
    """
    array = np.asanyarray(array)
    if array.ndim != 2 or (dim is not None and array.shape[1] != dim):
        raise ShapeError(f"{name}: expected shape (n, {'dim' if dim is None else dim}); got {array.shape}")
    if array.dtype not in (np.float16, np.float32, np.float64):
        raise EmbeddingsError(f"{name}: expected float16, float32 or float64; got dtype {array.dtype}")
    with np.errstate(over="ignore"):
        single: FloatArray = array.astype(np.float32, copy=False)
    for start in range(0, len(single), _ROWS_PER_CHECK):  # bounds the memory of the check of a map
        finite = np.isfinite(single[start : start + _ROWS_PER_CHECK]).all(axis=1)
        if not finite.all():
            raise EmbeddingsError(
                f"{name}: expected finite float32 values; row {start + np.argmin(finite)} holds others"
            )
    return single


def _rebuild(indptr: Any, dims: Any, values: Any, dim: int) -> SparseEmbeddings:
    return SparseEmbeddings(indptr, dims, values, dim=dim)


def _kind(thing: object) -> str:
    sparse_format = getattr(thing, "format", None)
    return f"{type(thing).__name__}" + (f" in {sparse_format} format" if sparse_format else "")


def _numpy_values(tensor: torch.Tensor) -> AnyArray:
    # NumPy has no bfloat16; every bfloat16 is a float32.
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
