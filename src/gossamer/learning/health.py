"""Whether embeddings are fit for search: do they find their class, what do they cost, what is dead."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gossamer.arrays import IntArray, TextArray
from gossamer.embeddings import SparseEmbeddings
from gossamer.errors import DataError
from gossamer.metrics import (
    class_suboptimality_ratio,
    dead_dims,
    dim_frequencies,
    flops_per_document,
    hit_rate_at_k,
    suboptimality_ratio,
)
from gossamer.results import NO_DOCUMENT

_SCORES_PER_BLOCK = 1 << 22
_N_HOTTEST = 5


@dataclass(frozen=True, kw_only=True)
class HealthReport:
    """What `examine` measures."""

    hit_rate_at_1: float | None
    """Every row is a query, itself excluded; rows alone in their class do not count. None if all are, or
    if there are no labels."""
    flops_per_document: float
    nnz_per_row: float
    suboptimality_ratio: float | None
    """None if every row is zero."""
    class_suboptimality_ratio: float | None
    """What to expect of so many classes, see `gossamer.metrics.class_suboptimality_ratio`; None without labels, too."""
    dead_dims: int
    """How many dimensions are zero in every row."""
    zero_rows: int
    """How many rows have no nonzero: no search finds them."""
    hottest_dims: tuple[int, ...]
    """The five dimensions that most rows use, the hottest first; fewer if rows use fewer."""
    hottest_frequencies: tuple[float, ...]
    """The share of rows that use each of them."""


def examine(embeddings: Tensor, labels: TextArray | None = None) -> HealthReport:
    """Search every row among the others and measure what the rows cost.

    The search is a matrix product, since embeddings in training are not sparse yet; on trained ones an
    `gossamer.InvertedIndex` finds the same.

    Parameters
    ----------
    embeddings : Tensor, shape (n, dim)
        At least one row; dense embeddings count as rows without zeros.
    labels : array of str, shape (n,), optional
        The class of each row; without, nothing is searched.

    Raises
    ------
    DataError
        If there are no rows.
    ShapeError
        If there is not one label for each row.
    """
    if len(embeddings) == 0:
        raise DataError("embeddings: expected at least one row; got none")
    rows = SparseEmbeddings.from_torch(embeddings)
    frequencies = dim_frequencies(rows)
    hottest = [int(dim) for dim in np.argsort(-frequencies, kind="stable")[:_N_HOTTEST] if frequencies[dim] > 0]
    return HealthReport(
        hit_rate_at_1=None if labels is None else _hit_rate_at_1(embeddings, labels),
        flops_per_document=flops_per_document(rows, rows),
        nnz_per_row=rows.nnz / len(rows),
        suboptimality_ratio=suboptimality_ratio(rows) if rows.nnz else None,
        class_suboptimality_ratio=(
            class_suboptimality_ratio(rows.dim, rows.nnz / len(rows), len(np.unique(labels)))
            if labels is not None and rows.nnz
            else None
        ),
        dead_dims=len(dead_dims(rows)),
        zero_rows=int((rows.nnz_per_row == 0).sum()),
        hottest_dims=tuple(hottest),
        hottest_frequencies=tuple(float(frequencies[dim]) for dim in hottest),
    )


def _hit_rate_at_1(embeddings: Tensor, labels: TextArray) -> float | None:
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    has_company = counts[classes] > 1
    nearest = _nearest_other(embeddings)[:, None]
    return hit_rate_at_k(nearest[has_company], labels[has_company], labels, 1) if has_company.any() else None


def _nearest_other(embeddings: Tensor) -> IntArray:
    """Return the other row of largest score for each row, or −1 where none scores above 0."""
    n = len(embeddings)
    nearest = np.full(n, NO_DOCUMENT, np.int32)
    block = max(1, _SCORES_PER_BLOCK // n)
    for start in range(0, n, block):
        scores = embeddings[start : start + block] @ embeddings.T
        own = torch.arange(len(scores), device=scores.device)
        scores[own, own + start] = 0.0
        best, doc_ids = scores.max(dim=1)
        nearest[start : start + block] = torch.where(best > 0, doc_ids, NO_DOCUMENT).cpu().numpy()
    return nearest
