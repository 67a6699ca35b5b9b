"""What must be true of the three arrays of CSR rows: each check names the first row, or number, that breaks it."""

from __future__ import annotations

import numpy as np

from gossamer.arrays import AnyArray, FloatArray
from gossamer.errors import EmbeddingsError, ShapeError

MAX_NORM = 1e19
"""Largest norm of a row. A score is at most the product of two norms (Cauchy–Schwarz), as is each
of its partial sums: 1e38, below the largest float32, 3.4e38, with room for rounding."""

_SAFE_SQUARES = 1e36
"""If all squares of values sum up to less, in float32, then the values are finite and no norm is too large."""


def as_integers(array: AnyArray, name: str) -> AnyArray:
    """Return the array, which must be of integers unless it is empty."""
    if array.dtype.kind not in "iu" and array.size:
        raise EmbeddingsError(f"{name}: expected integers; got dtype {array.dtype}")
    return array


def checked_indptr(indptr: AnyArray) -> AnyArray:
    """Return the offsets, which must start at 0 and never decrease."""
    if indptr.ndim != 1 or indptr.size == 0:
        raise ShapeError(f"indptr: expected shape (n + 1,); got {indptr.shape}")
    indptr = as_integers(indptr, "indptr")
    if indptr[0] != 0 or np.count_nonzero(indptr[1:] < indptr[:-1]):
        raise EmbeddingsError("indptr: expected offsets that start at 0 and never decrease; these do not")
    return indptr


def check_dims(indptr: AnyArray, dims: AnyArray, dim: int) -> None:
    """Refuse dimensions out of range, and rows whose dimensions do not ascend."""
    if not 1 <= dim < 2**31:
        raise ShapeError(f"dim: expected 1 to 2**31 - 1; got {dim}")
    if dims.size == 0:
        return
    is_fall = dims[1:] <= dims[:-1]
    has_falls = np.count_nonzero(is_fall) > 0
    lowest, highest = (dims.min(), dims.max()) if has_falls else (dims[0], dims[-1])
    if lowest < 0 or highest >= dim:
        raise EmbeddingsError(f"dims: expected 0 to dim - 1 = {dim - 1}; got {lowest if lowest < 0 else highest}")
    if not has_falls:
        return
    falls = np.flatnonzero(is_fall) + 1
    # A fall is allowed only where a row starts.
    starts = indptr[np.minimum(np.searchsorted(indptr, falls), indptr.size - 1)]
    inside = falls[starts != falls]
    if inside.size:
        row = int(np.searchsorted(indptr, inside[0], side="right")) - 1
        raise EmbeddingsError(
            f"dims: expected ascending dims within each row; row {row} has {dims[inside[0]]} after "
            f"{dims[inside[0] - 1]}. Sort with .sort_indices(), add duplicates up with .sum_duplicates()"
        )


def checked_values(indptr: AnyArray, given: AnyArray) -> FloatArray:
    """Return a copy as float32: finite, and of rows whose norm is at most `MAX_NORM`."""
    values = _as_float32(given)
    # One product shows that all is well, as it mostly is; a comparison with NaN is false.
    with np.errstate(over="ignore"):
        squares = np.dot(values, values)
    if not squares <= _SAFE_SQUARES:
        _check_finite(indptr, values, given)
        _check_norms(indptr, values)
    return values


def _as_float32(values: AnyArray) -> FloatArray:
    if values.dtype == np.float32:
        return values.astype(np.float32)  # a copy
    if values.dtype not in (np.float16, np.float64) and values.size:
        raise EmbeddingsError(
            f"values: expected float16, float32 or float64; got dtype {values.dtype}. Convert with .astype('float32')"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32)


def _check_finite(indptr: AnyArray, values: FloatArray, given: AnyArray) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        at = int(np.argmin(finite))
        row = int(np.searchsorted(indptr, at, side="right")) - 1
        raise EmbeddingsError(f"values: expected finite float32 values; row {row} holds {given[at]}")


def _check_norms(indptr: AnyArray, values: FloatArray) -> None:
    if values.size == 0 or (largest := float(np.abs(values).max())) * np.sqrt(values.size) <= MAX_NORM:
        return
    starts = indptr[:-1][np.diff(indptr) > 0]
    # Scaled by the largest value, so that the squares fit.
    norms = largest * np.sqrt(np.add.reduceat(np.square(values / np.float32(largest), dtype=np.float64), starts))
    if norms.max() > MAX_NORM:
        row = int(np.searchsorted(indptr, starts[np.argmax(norms)], side="right")) - 1
        raise EmbeddingsError(
            f"values: expected rows of norm at most {MAX_NORM:g}; row {row} has {norms.max():.3g}, so its scores "
            "could exceed float32. Divide the rows by a constant"
        )
