"""What an index consists of: arrays by name, and the layout that says how they are searched."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from gossamer.arrays import AnyArray

MAX_DOCS = 2**31 - 1
MAX_WINDOW = 1 << 16
"""Documents or blocks per window at most: as many as 16 bits can number."""

WINDOW = 40_960
"""Documents or blocks per window of a new index: so many that narrow sums of them stay in the nearest cache."""

BLOCK_SIZE, PART_SIZE = 32, 8
"""Rows in a block at least, and in a part of one."""

Plan = Literal["scan", "split", "block-max"]
PLANS: tuple[Plan, ...] = get_args(Plan)

ROWS = ("rows.indptr", "rows.dims", "rows.values", "rows.doc_ids")
_LIST_ARRAYS = ("window_starts", "window_lists", "list_dims", "list_segments", "segments", "ids")
LISTS = tuple(f"lists.{name}" for name in _LIST_ARRAYS)
BLOCKS = tuple(f"blocks.{name}" for name in _LIST_ARRAYS)
PARTS = ("parts.indptr", "parts.dims", "parts.highs", "parts.lows", "parts.steps")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How an index is searched: its plan, and what bounds and predictions are made from."""

    plan: Plan
    longest: int
    """Nonzeros of the longest row."""
    radius: float
    """The largest norm of a row."""
    capacity: float
    """The largest norm of a row if each of its values is replaced by the bound of its segment."""
    lowest: float
    """The lowest value."""
    share: float = 0.0
    """Of the threshold, how much the dimensions that are left out, of rows or of blocks, may promise."""
    expected: float = 0.0
    """The 10th best score of a query, as a share of the largest that it could be: the median of a sample."""
    sum_bits: int = 16
    """Of the sums that bounds are added up in: 8, where that is faster and no product is negative, or 16."""
    block_size: int = 0
    part_size: int = 0
    block_longest: int = 0
    """Dimensions of the block with the most of them."""
    block_capacity: float = 0.0
    call_us: float = 0.0
    posting_us: float = 0.0
    """What a search takes on the machine that built the index: for the call, and for each posting touched."""
    measured_us: dict[str, float] = field(default_factory=dict)
    """Median time of a query of the sample, one at a time on one thread, under each plan that was tried."""
    n_sample_queries: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class IndexContents:
    """An index in memory, or mapped from its files."""

    n_docs: int
    dim: int
    window: int
    fingerprint: str
    layout: Layout
    arrays: dict[str, AnyArray]
    path: Path | None = None  # of the mapped file

    def group(self, names: tuple[str, ...]) -> tuple[AnyArray, ...]:
        """Return arrays in the order in which kernels take them."""
        return tuple(self.arrays[name] for name in names)
