"""Sparse vectors to measure search with, made from a seed."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gossamer import SparseEmbeddings

_ROWS_PER_BLOCK = 250_000


def uniform(n: int, dim: int, nnz: int, *, seed: int, signed: bool = False) -> SparseEmbeddings:
    """Draw unit rows whose ``nnz`` dimensions are any of ``dim`` equally likely: there is nothing to prune."""
    rng = np.random.default_rng(seed)
    dims = _distinct_dims(rng, n, dim, nnz)
    values = np.abs(rng.standard_normal((n, nnz), np.float32)) + np.float32(0.05)
    if signed:
        values *= rng.choice(np.float32([-1, 1]), values.shape)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return SparseEmbeddings(np.arange(0, n * nnz + 1, nnz), dims.ravel(), values.ravel(), dim=dim)


def identities(
    n: int, dim: int, n_classes: int, n_queries: int, *, seed: int, pattern: int = 14, signed: bool = False
) -> tuple[SparseEmbeddings, SparseEmbeddings]:
    """Draw documents and queries like learned embeddings of identities or products, in random order.

    A class is a pattern of dimensions and weights. A row is the pattern of a random class, each entry kept with a
    chance of 3/4 and scaled by a random factor, and up to three entries anywhere, of unit length.
    """
    rng = np.random.default_rng(seed)
    dims = _distinct_dims(rng, n_classes, dim, pattern)
    weights = rng.gamma(2.0, 1.0, dims.shape).astype(np.float32) + np.float32(0.1)
    if signed:
        weights *= rng.choice(np.float32([-1, 1]), weights.shape)
    blocks = list(_rows_of_classes(rng, n + n_queries, dim, dims, weights, signed=signed))
    counts, row_dims, values = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    rows = SparseEmbeddings(np.concatenate([[0], np.cumsum(counts)]), row_dims, values, dim=dim)
    return rows[:n], rows[n:]


def magnitudes(rows: SparseEmbeddings) -> SparseEmbeddings:
    """Return rows with the absolute values of these."""
    return SparseEmbeddings(rows.indptr, rows.dims, np.abs(rows.values), dim=rows.dim)


def _distinct_dims(rng: np.random.Generator, n: int, dim: int, nnz: int) -> NDArray[np.int32]:
    """Draw ascending dimensions for n rows; a row with a dimension twice is drawn again."""
    dims = np.sort(rng.integers(0, dim, (n, nnz), dtype=np.int32), axis=1)
    while (again := np.flatnonzero((np.diff(dims, axis=1) == 0).any(axis=1))).size:
        dims[again] = np.sort(rng.integers(0, dim, (again.size, nnz), dtype=np.int32), axis=1)
    return dims


def _rows_of_classes(
    rng: np.random.Generator, n: int, dim: int, dims: NDArray, weights: NDArray, *, signed: bool, extra: int = 3
) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
    """Yield the nonzeros of each row, their dimensions and their values, in blocks."""
    for start in range(0, n, _ROWS_PER_BLOCK):
        m = min(_ROWS_PER_BLOCK, n - start)
        label = rng.integers(0, len(dims), m)
        scale = np.exp(np.float32(0.35) * rng.standard_normal((m, dims.shape[1]), np.float32))
        kept = weights[label] * scale * (rng.random(scale.shape, np.float32) < 0.75)
        more = rng.gamma(1.0, 0.6, (m, extra)).astype(np.float32) + np.float32(0.05)
        if signed:
            more *= rng.choice(np.float32([-1, 1]), more.shape)
        columns = np.hstack([dims[label], rng.integers(0, dim, (m, extra), dtype=np.int32)])
        values = np.hstack([kept, more])
        order = np.argsort(columns, axis=1, kind="stable")
        columns, values = np.take_along_axis(columns, order, 1), np.take_along_axis(values, order, 1)
        values[:, 1:][columns[:, 1:] == columns[:, :-1]] = 0  # the first of two entries of a dimension stays
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        is_entry = values != 0
        yield is_entry.sum(axis=1), columns[is_entry], values[is_entry]
