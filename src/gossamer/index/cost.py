"""What a search will touch and take, before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gossamer.arrays import OffsetArray
from gossamer.index.searching import Engine

if TYPE_CHECKING:
    from gossamer.embeddings import SparseEmbeddings


class ExpectedCost(NamedTuple):
    """What each query of a search is expected to cost."""

    postings: OffsetArray  # shape (n_queries,), int64
    microseconds: NDArray[np.float64]  # shape (n_queries,)


def expected_cost(engine: Engine, queries: SparseEmbeddings) -> ExpectedCost:
    """Count the postings of each query, and predict its time by the line that was fitted when the index was built."""
    counted = np.append(0, np.cumsum(engine.touched_lengths[queries.dims]))
    postings: OffsetArray = np.diff(counted[queries.indptr])
    layout = engine.layout
    return ExpectedCost(postings, np.asarray(layout.call_us + layout.posting_us * postings, np.float64))
