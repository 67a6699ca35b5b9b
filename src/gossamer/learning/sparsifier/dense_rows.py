"""Dense rows as they come, in memory or on disk: checked and read some at a time, never copied whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gossamer.arrays import AnyArray, OffsetArray
from gossamer.errors import EmbeddingsError, ShapeError

ROWS_PER_BLOCK = 4096

_DTYPES = (np.float16, np.float32, np.float64)


@dataclass(frozen=True, eq=False)
class DenseRows:
    """A matrix of which every value is known to be finite as float32.

    Make one with `check_dense`. Rows are converted to float32 and to length 1 as they are read: the
    matrix itself stays what it was, a memory map too.
    """

    matrix: AnyArray
    """Shape (n, width), float16, float32 or float64; any strides."""
    nonzero: OffsetArray
    """The numbers of the rows that are not all zero as float32, ascending: those that have a direction."""

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def width(self) -> int:
        """Columns of a row."""
        return int(self.matrix.shape[1])

    def take(self, rows: AnyArray | slice) -> Tensor:
        """Return some rows at length 1, or zero, as a new tensor: shape (m, width), float32."""
        # np.array copies: torch warns of memory that is read-only, as a memory map's is.
        taken = torch.from_numpy(np.array(self.matrix[rows], dtype=np.float32, order="C"))
        largest = taken.abs().amax(dim=1, keepdim=True)  # first, else squares of 1e30 or of 1e-30 are lost
        return F.normalize(taken / torch.where(largest > 0, largest, 1.0))

    def blocks(self) -> Iterator[Tensor]:
        """Yield all rows in order, `ROWS_PER_BLOCK` at a time, as `take` does."""
        for start in range(0, len(self), ROWS_PER_BLOCK):
            yield self.take(slice(start, start + ROWS_PER_BLOCK))


def check_dense(dense: AnyArray, *, width: int | None = None) -> DenseRows:
    """Return dense rows that may be trusted: the border at which they are checked, block by block.

    Parameters
    ----------
    dense : array, shape (n, width), float16, float32 or float64
        In memory or memory-mapped.
    width : int, optional
        How many columns there must be.

    Raises
    ------
    ShapeError
        If it is not a matrix, has no columns, or not ``width`` of them.
    EmbeddingsError
        If it is not a NumPy array of these dtypes, or a value is not finite as float32; the message names
        the row.
    """
    if not isinstance(dense, np.ndarray):
        raise EmbeddingsError(f"dense: expected a NumPy array or memory map; got {type(dense).__name__}")
    if dense.ndim != 2 or dense.shape[1] == 0:
        raise ShapeError(f"dense: expected shape (n, width >= 1); got {dense.shape}")
    if width is not None and dense.shape[1] != width:
        raise ShapeError(
            f"dense: expected {width} columns, as in the rows that the sparsifier learned from; got {dense.shape[1]}. "
            "Were they made by another model?"
        )
    if dense.dtype not in _DTYPES:
        raise EmbeddingsError(f"dense: expected float16, float32 or float64; got dtype {dense.dtype}")
    is_nonzero = np.zeros(len(dense), bool)
    for start in range(0, len(dense), ROWS_PER_BLOCK):
        with np.errstate(over="ignore"):
            block = dense[start : start + ROWS_PER_BLOCK].astype(np.float32, copy=False)
        is_finite = np.isfinite(block).all(axis=1)
        if not is_finite.all():
            row = start + int(np.argmin(is_finite))
            raise EmbeddingsError(f"dense: expected values that are finite as float32; row {row} holds others")
        is_nonzero[start : start + len(block)] = block.any(axis=1)
    return DenseRows(dense, np.flatnonzero(is_nonzero))
