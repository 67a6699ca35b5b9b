"""Embedding files as the commands take them: sparse or dense, told apart by their suffix."""

from __future__ import annotations

from pathlib import Path

from gossamer.arrays import FloatArray
from gossamer.catalog import Catalog
from gossamer.datasets.embedding_files import DENSE_SUFFIX, SPARSE_SUFFIX, read_dense, read_sparse
from gossamer.embeddings import SparseEmbeddings
from gossamer.errors import ArgumentError


def read_embeddings(path: Path) -> tuple[SparseEmbeddings | FloatArray, Catalog]:
    """Read a ``.npz`` of sparse embeddings or a ``.npy`` of dense ones."""
    if path.suffix == SPARSE_SUFFIX:
        return read_sparse(path)
    if path.suffix == DENSE_SUFFIX:
        return read_dense(path)
    raise ArgumentError(f"embeddings: expected a .npz (sparse) or .npy (dense) file; got {path}")
