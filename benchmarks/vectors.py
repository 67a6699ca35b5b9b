"""Sparse vectors to measure search with, made from a seed."""

import numpy as np

from gossamer import SparseEmbeddings


def uniform(n: int, dim: int, nnz: int, *, seed: int, signed: bool = False) -> SparseEmbeddings:
    """Draw unit rows whose ``nnz`` dimensions are any of ``dim`` equally likely: there is nothing to prune."""
    rng = np.random.default_rng(seed)
    dims = np.sort(rng.integers(0, dim, (n, nnz), dtype=np.int32), axis=1)
    while (again := np.flatnonzero((np.diff(dims, axis=1) == 0).any(axis=1))).size:
        dims[again] = np.sort(rng.integers(0, dim, (again.size, nnz), dtype=np.int32), axis=1)
    values = np.abs(rng.standard_normal((n, nnz), np.float32)) + np.float32(0.05)
    if signed:
        values *= rng.choice(np.float32([-1, 1]), values.shape)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return SparseEmbeddings(np.arange(0, n * nnz + 1, nnz), dims.ravel(), values.ravel(), dim=dim)
