"""Indexes of format version 1, posting lists with values: read by building from them what version 2 has."""

from __future__ import annotations

import dataclasses
import mmap
from pathlib import Path
from typing import Any

import numpy as np

from gossamer.embeddings import SparseEmbeddings
from gossamer.errors import EmbeddingsError
from gossamer.index.building import build_contents
from gossamer.index.contents import IndexContents
from gossamer.index.manifest import MANIFEST, damaged, field, shape_in
from gossamer.index.payload import Known, check_offsets, map_arrays

_POSTINGS = ("postings.offsets", "postings.ids", "postings.values")


def upgraded(payload: mmap.mmap, manifest: dict[str, Any], path: Path, *, verify: bool) -> IndexContents:
    """Return the contents of an index of version 1, for a scan, in O(nnz log nnz)."""
    source = path.parent / MANIFEST
    n_docs, dim, nnz, window = shape_in(manifest, source)
    sizes = -(-n_docs // window) * dim + 1, nnz, nnz
    required: Known = dict(zip(_POSTINGS, zip(("<i8", "<u2", "<f4"), sizes, strict=True), strict=True))
    arrays = map_arrays(payload, manifest, path, required, verify=verify)
    offsets, ids, values = (arrays.pop(name) for name in _POSTINGS)
    check_offsets(offsets, nnz, "postings.offsets", path)
    lists = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
    doc_ids = lists // dim * window + ids
    if nnz and int(doc_ids.max()) >= n_docs:
        raise damaged(path, f"postings.ids: expected documents below {n_docs}; got {int(doc_ids.max())}")
    order = np.argsort(doc_ids, kind="stable")  # of a document, its dimensions stay in ascending order
    indptr = np.append(0, np.cumsum(np.bincount(doc_ids, minlength=n_docs)))
    try:
        rows = SparseEmbeddings(indptr, (lists % dim)[order].astype(np.int32), values[order], dim=dim)
    except EmbeddingsError as error:
        raise damaged(path, f"expected rows as SparseEmbeddings are; {error}") from error
    fingerprint = field(manifest, "fingerprint", str, source)
    contents = build_contents(rows, plan="scan", sample=None, fingerprint=fingerprint)
    return dataclasses.replace(contents, arrays=contents.arrays | arrays, path=path)
