"""``gossamer inspect``: what a model, a file of embeddings or an index is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from gossamer.arrays import AnyArray, FloatArray
from gossamer.catalog import Catalog
from gossamer.cli.embedding_input import read_embeddings
from gossamer.cli.options import JsonOption
from gossamer.cli.printing import print_record
from gossamer.embeddings import SparseEmbeddings
from gossamer.errors import FormatError, NotFoundError
from gossamer.index import InvertedIndex
from gossamer.index.manifest import MANIFEST
from gossamer.metrics import dead_dims, flops_per_document, suboptimality_ratio

_N_LONGEST = 5


def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="A model folder, an index folder, or embeddings (.npz, .npy).", show_default=False
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Print what something is that another command wrote: shapes, nonzeros, FLOPs, evenness, bytes.

    FLOPs per document are those of the rows asked as queries of themselves. An index also tells its plan, and
    the median time of a query under each plan that was tried when it was built, in microseconds.
    """
    if not path.exists():
        raise NotFoundError(f"path: expected a model, an index or embeddings; there is nothing at {path}")
    if path.is_file():
        record = _inspect_embeddings(path)
    else:
        record = _inspect_index(path) if (path / MANIFEST).exists() else _inspect_model(path)
    print_record(record, as_json=as_json)


def _inspect_embeddings(path: Path) -> dict[str, Any]:
    rows, catalog = read_embeddings(path)
    record = _sparse_record(rows) if isinstance(rows, SparseEmbeddings) else _dense_record(rows)
    return {**record, "size_bytes": path.stat().st_size, **_names(catalog)}


def _sparse_record(rows: SparseEmbeddings) -> dict[str, Any]:
    return {
        "kind": "sparse embeddings",
        "rows": len(rows),
        "dim": rows.dim,
        "nnz": rows.nnz,
        "nnz_per_row": rows.nnz / max(len(rows), 1),
        "flops_per_document": flops_per_document(rows, rows),
        "suboptimality_ratio": suboptimality_ratio(rows),
        "dead_dims": dead_dims(rows).size,
        "zero_rows": int(np.count_nonzero(rows.nnz_per_row == 0)),
        "longest_lists": _longest(np.bincount(rows.dims, minlength=rows.dim)),
    }


def _dense_record(rows: FloatArray) -> dict[str, Any]:
    return {
        "kind": "dense embeddings",
        "rows": len(rows),
        "dim": rows.shape[1],
        "flops_per_document": rows.shape[1],
        "zero_rows": int(np.count_nonzero(~rows.any(axis=1))),
    }


def _inspect_index(path: Path) -> dict[str, Any]:
    index = InvertedIndex.open(path)
    frequencies = index.list_lengths / max(index.n_docs, 1)
    nnz_per_row, flops = frequencies.sum(), frequencies @ frequencies
    return {
        "kind": "index",
        "documents": index.n_docs,
        "dim": index.dim,
        "nnz": index.nnz,
        "nnz_per_row": float(nnz_per_row),
        "flops_per_document": float(flops),
        "suboptimality_ratio": float(flops * index.dim / nnz_per_row**2) if index.nnz else float("nan"),
        "dead_dims": int(np.count_nonzero(index.list_lengths == 0)),
        "longest_lists": _longest(index.list_lengths),
        "plan": index.layout.plan,
        "measured_us": index.layout.measured_us,
        "size_bytes": _size_bytes(path),
        "bytes_per_nonzero": index.size_bytes / index.nnz if index.nnz else float("nan"),
        **_names(index.catalog),
    }


def _inspect_model(path: Path) -> dict[str, Any]:
    from gossamer.learning.encoder import Encoder
    from gossamer.learning.pretrained import CONFIG, SPARSIFIER, read_kind

    if not (path / CONFIG).exists():
        raise FormatError(f"path: expected a model or an index; {path} is neither")
    if read_kind(path) == SPARSIFIER:
        from gossamer.learning.sparsifier import Sparsifier

        sparsifier = Sparsifier.from_pretrained(path)
        return {
            "kind": "sparsifier of dense embeddings",
            "dense_dim": sparsifier.n_features_in_,
            **sparsifier.get_params(),
            "parameters": sum(parameter.numel() for parameter in sparsifier.network_.parameters()),
            "size_bytes": _size_bytes(path),
            "fingerprint": sparsifier.fingerprint,
        }
    encoder = Encoder.from_pretrained(path)
    return {
        "kind": f"model of {'sparse' if encoder.is_sparse else 'dense'} embeddings",
        **dataclasses.asdict(encoder.config),
        "parameters": sum(parameter.numel() for parameter in encoder.parameters()),
        "size_bytes": _size_bytes(path),
        "fingerprint": encoder.fingerprint,
    }


def _longest(list_lengths: AnyArray) -> dict[str, int]:
    """Return the longest posting lists: dimension and length, longest first."""
    dims = np.argsort(-list_lengths, kind="stable")[:_N_LONGEST]
    return {str(dim): int(list_lengths[dim]) for dim in dims}


def _names(catalog: Catalog) -> dict[str, Any]:
    return {
        "classes": None if catalog.labels is None else np.unique(catalog.labels).size,
        "fingerprint": catalog.fingerprint,
    }


def _size_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
