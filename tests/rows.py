"""Sparse rows to test with: their values are small integers, so that sums are exact and ties common."""

import numpy as np

from gossamer.embeddings import SparseEmbeddings


def integer_embeddings(rng, *, n, dim, density, signed=True):
    """Draw rows with values of 1 to 3, and -3 to -1 if ``signed``; about ``density`` of the entries are not zero."""
    values = rng.integers(1, 4, (n, dim)) * (rng.choice([-1, 1], (n, dim)) if signed else 1)
    return SparseEmbeddings.from_dense((values * (rng.random((n, dim)) < density)).astype(np.float32))


def csr(rows):
    """Return the three arrays of rows, as kernels take them."""
    return rows.indptr, rows.dims, rows.values
