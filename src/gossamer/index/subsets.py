"""Some of the documents, as a search among them takes it, and the one that was searched last."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gossamer.arrays import IntArray
from gossamer.errors import ArgumentError, ShapeError
from gossamer.index.building import restrict
from gossamer.index.contents import LISTS, ROWS
from gossamer.index.searching import Engine

if TYPE_CHECKING:
    from gossamer.index.contents import IndexContents

_US_PER_POSTING = 0.034  # to make posting lists of the documents
_LARGEST_SHARE = 0.7  # so many, or more, gain little by lists without the others
_USUAL_US = 250.0  # of a query, where the index has not measured it


class Subset:
    """Documents to search among; what a search needs of them is made when it is needed first, and kept.

    Parameters
    ----------
    doc_ids : array, shape (n,), int32
        Checked by `SubsetCache`; copied unless nobody may write to it.
    contents : IndexContents
        The index.
    """

    def __init__(self, doc_ids: IntArray, contents: IndexContents) -> None:
        self.doc_ids = doc_ids if _is_constant(doc_ids) else doc_ids.copy()
        self.doc_ids.flags.writeable = False
        self._contents = contents
        self._n_asked = 0

    def engine_for(self, n_queries: int) -> Engine | None:
        """Return an engine of the subset alone once queries could have saved what it takes to build it, else None."""
        self._n_asked += n_queries  # threads may lose a count, which only delays
        if self._saved_us <= 0:
            return None
        return self._own_engine if self._n_asked * self._saved_us >= self._build_us else None

    @cached_property
    def _share(self) -> float:
        return self.doc_ids.size / self._contents.n_docs

    @cached_property
    def _build_us(self) -> float:
        """What it takes to build an engine of the subset alone."""
        return self._share * self._contents.arrays[LISTS[-1]].size * _US_PER_POSTING

    @cached_property
    def _saved_us(self) -> float:
        """What a query saves by it, as far as what the index has measured tells; 0 if nothing.

        A scan takes less time the fewer documents there are, block max more, since its k-th best score is the lower,
        until it is given up for a scan.
        """
        if self._share >= _LARGEST_SHARE:
            return 0.0
        layout = self._contents.layout
        own_us = layout.measured_us.get(layout.plan, _USUAL_US)
        scan_us = layout.measured_us.get("scan", own_us)
        now_us = min(own_us / self._share, own_us + scan_us) if layout.plan == "block-max" else own_us
        return max(0.0, now_us - self._share * scan_us)

    @cached_property
    def rows(self) -> IntArray:
        """The rows of the documents, ascending."""
        order = self._contents.arrays[ROWS[-1]]
        if order.size == 0:
            return self.doc_ids
        rows: IntArray = np.flatnonzero(np.isin(order, self.doc_ids, kind="table")).astype(np.int32)
        rows.flags.writeable = False
        return rows

    @cached_property
    def bits(self) -> NDArray[np.uint64]:
        """A bit for each row of the index, as `gossamer.kernels.subsets` reads them."""
        from gossamer.kernels import call, subsets

        bits = np.zeros(-(-self._contents.n_docs // 64), np.uint64)
        call(subsets.set_bits, self.rows, bits)
        return bits

    @cached_property
    def _own_engine(self) -> Engine:
        return Engine(restrict(self._contents, self.rows))


class SubsetCache:
    """Checks subsets of one index, and keeps the last one: the same documents are often searched again and again."""

    def __init__(self, contents: IndexContents) -> None:
        self._contents = contents
        self._last: Subset | None = None

    def get(self, within: IntArray) -> Subset | None:
        """Return a subset, None for one of all documents; threads may call this at once.

        Raises
        ------
        ShapeError
            If within is not a vector.
        ArgumentError
            If it is not of dtype int32, not ascending, or not in the index.
        """
        if np.ndim(within) != 1:
            raise ShapeError(f"within: expected a vector of doc_ids; got shape {np.shape(within)}")
        doc_ids: IntArray = np.ascontiguousarray(within)
        if doc_ids.dtype != np.int32:
            raise ArgumentError(
                f"within: expected doc_ids of dtype int32; got {doc_ids.dtype}. Convert with .astype('int32')"
            )
        last = self._last
        if last is not None and last.doc_ids is doc_ids and _is_constant(doc_ids):
            return last
        if last is not None and _is_same(last.doc_ids, doc_ids):
            if _is_constant(doc_ids):
                last.doc_ids = doc_ids  # which need not be compared when it comes again
            return last
        _check(doc_ids, self._contents.n_docs)
        if doc_ids.size == self._contents.n_docs:
            return None
        self._last = subset = Subset(doc_ids, self._contents)
        return subset


def _is_constant(doc_ids: IntArray) -> bool:
    """Tell whether nobody writes to an array, so that it need not be looked at again."""
    return doc_ids.base is None and not doc_ids.flags.writeable


def _is_same(left: IntArray, right: IntArray) -> bool:
    from gossamer.kernels import call, subsets

    if left.size != right.size:
        return False
    is_equal = np.zeros(1, np.bool_)
    call(subsets.compare, left, _read_only(right), is_equal)
    return bool(is_equal[0])


def _check(doc_ids: IntArray, n_docs: int) -> None:
    from gossamer.kernels import call, subsets

    is_good = np.zeros(1, np.bool_)
    call(subsets.check, _read_only(doc_ids), n_docs, is_good)
    if is_good[0]:
        return
    falls = doc_ids[1:] <= doc_ids[:-1]
    if falls.any():
        place = int(np.argmax(falls))
        raise ArgumentError(
            f"within: expected ascending doc_ids; got {doc_ids[place + 1]} after {doc_ids[place]}. "
            "Use numpy.unique(within)"
        )
    outside = doc_ids[0] if doc_ids[0] < 0 else doc_ids[-1]
    raise ArgumentError(f"within: expected doc_ids from 0 to n_docs - 1 = {n_docs - 1}; got {outside}")


def _read_only(doc_ids: IntArray) -> IntArray:
    """Return a view that nobody writes to: numba compiles a kernel for each kind of array."""
    view = doc_ids.view()
    view.flags.writeable = False
    return view
