"""Dense and sparse embeddings of the same pictures, searched in turns: what each finds and costs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gossamer.arrays import FloatArray, IntArray, TextArray
from gossamer.baselines.exhaustive import ExhaustiveSearcher
from gossamer.baselines.hnsw import HnswSearcher
from gossamer.embeddings import SparseEmbeddings
from gossamer.errors import MissingDependencyError
from gossamer.index import InvertedIndex
from gossamer.metrics import flops_per_document, suboptimality_ratio
from gossamer.results import Searcher, excluding_self
from gossamer.study.evaluation import judge, search_in_turns

DENSE, HNSW, SPARSE = "dense, exhaustive", "dense, HNSW (approximate)", "sparse, inverted index"


@dataclass(frozen=True, kw_only=True)
class MethodRow:
    """What one method found and cost; a line of the table."""

    method: str
    dim: int
    nnz_per_row: float
    flops_per_document: float | None
    """None for HNSW, which does not score every document."""
    suboptimality_ratio: float
    hit_rate_at_1: float
    hit_rate_at_5: float
    query_us: float
    """Median microseconds of a query: one thread, one query at a time."""
    bytes_per_document: float
    speed_up: float
    """How many times faster than exhaustive dense search, by the medians."""

    def cells(self) -> dict[str, str]:
        """Return the line as text: each column's title and its cell."""
        return {
            "method": self.method,
            "dim": f"{self.dim:,}",
            "nnz per row": f"{self.nnz_per_row:.1f}",
            "FLOPs per document": "–" if self.flops_per_document is None else f"{self.flops_per_document:.2f}",
            "R_sub": f"{self.suboptimality_ratio:.2f}",
            "hit rate@1": f"{self.hit_rate_at_1:.3f}",
            "hit rate@5": f"{self.hit_rate_at_5:.3f}",
            "µs per query": f"{self.query_us:.0f}",
            "bytes per document": f"{self.bytes_per_document:.0f}",
            "speed-up": f"{self.speed_up:.1f}×",
        }


class Comparison(NamedTuple):
    """The lines of the table, and the lists that they judge."""

    rows: list[MethodRow]
    found: dict[str, IntArray]
    """The doc_ids that each method found for every row, itself excluded: shape (n, 5)."""


def compare(
    dense: FloatArray,
    sparse: SparseEmbeddings,
    index: InvertedIndex,
    labels: TextArray,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Ask every row, itself excluded, by exhaustive dense search, HNSW where FAISS is there, and the index.

    Parameters
    ----------
    dense : array, shape (n, dim), float32
        Dense embeddings.
    sparse : SparseEmbeddings, n rows
        Sparse embeddings of the same pictures.
    index : InvertedIndex
        The index of ``sparse``.
    labels : array of str, shape (n,)
        The class of each row.
    on_progress : callable, optional
        Called with the rounds of timing done, and of all.
    """
    searchers: dict[str, tuple[Searcher[Any], Any]] = {DENSE: (ExhaustiveSearcher(dense), dense)}
    with suppress(MissingDependencyError):  # without FAISS, one line fewer in the table
        searchers[HNSW] = HnswSearcher(dense), dense
    searchers[SPARSE] = index, sparse
    own_ids = np.arange(len(labels))
    timed = search_in_turns(searchers, k=6, on_progress=on_progress)
    dense_us = float(np.median(timed[DENSE].query_us))
    rows, found = [], {}
    for name, (searcher, queries) in searchers.items():
        accuracy = judge(timed[name].found, labels, labels, ks=(1, 5), own_ids=own_ids)
        found[name] = excluding_self(timed[name].found, own_ids).doc_ids
        query_us = float(np.median(timed[name].query_us))
        rows.append(
            MethodRow(
                method=name,
                **_work(queries, scores_everything=name != HNSW),
                hit_rate_at_1=accuracy.hit_rate[1],
                hit_rate_at_5=accuracy.hit_rate[5],
                query_us=query_us,
                bytes_per_document=searcher.size_bytes / len(labels),
                speed_up=dense_us / query_us,
            )
        )
    return Comparison(rows, found)


def _work(rows: FloatArray | SparseEmbeddings, *, scores_everything: bool) -> dict[str, Any]:
    embeddings = rows if isinstance(rows, SparseEmbeddings) else SparseEmbeddings.from_dense(rows)
    return {
        "dim": embeddings.dim,
        "nnz_per_row": embeddings.nnz / len(embeddings),
        "flops_per_document": flops_per_document(embeddings, embeddings) if scores_everything else None,
        "suboptimality_ratio": suboptimality_ratio(embeddings),
    }
