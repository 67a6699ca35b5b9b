"""Rows to the arrays of an index, under the plan that is asked for or under the one that is fastest."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np

from gossamer.arrays import AnyArray, FloatArray, IntArray, OffsetArray
from gossamer.embeddings import SparseEmbeddings
from gossamer.errors import FormatError
from gossamer.index import contents as parameters
from gossamer.index.contents import BLOCKS, LISTS, PARTS, ROWS, IndexContents, Layout, Plan
from gossamer.index.searching import Engine
from gossamer.results import SearchResult

if TYPE_CHECKING:
    from collections.abc import Iterable

_K = 10  # results of a query of the sample
_SAMPLE_SIZE = 100
_N_ROUNDS = 2
_IN_TURN = 50  # queries of the sample
_SHARES = (0.3, 0.5)  # of the threshold, tried for a split
_BLOCK_SHARES = (0.0, 0.3, 0.4)  # and for block max
_LARGEST_BLOCK = 256  # rows
_MIN_DOCS = 4096  # of fewer, a scan takes no longer than the other plans could save
# Of distinct dimensions of blocks to nonzeros of rows: with more, hardly a block would stay closed.
_MOST_PAIRS = 0.6
_ALL: IntArray = np.empty(0, np.int32)
_ALL.flags.writeable = False


def build_contents(
    rows: SparseEmbeddings, *, plan: Plan | None, sample: SparseEmbeddings | None, fingerprint: str
) -> IndexContents:
    """Return the contents of an index of rows.

    Without a plan, every plan is built and asked the sample, and the fastest is kept. Without a sample it is drawn
    from the rows.
    """
    sample = _draw(rows) if sample is None else _draw(sample)
    scan = _with_lists(rows, _ALL, fingerprint)
    if plan == "scan" or (plan is None and rows.nnz and len(rows) < _MIN_DOCS):
        return _measured([scan], sample)
    tried: list[IndexContents] = [] if plan in ("split", "block-max") else [scan]
    expected = _expected_share(scan, sample)
    if plan != "block-max":
        tried += [_with_share(scan, share, expected=expected) for share in _SHARES]
    if plan != "split":
        tried += _with_blocks(rows, expected, fingerprint, most_pairs=1.0 if plan == "block-max" else _MOST_PAIRS)
    return _measured(tried, sample)


def restrict(contents: IndexContents, members: IntArray) -> IndexContents:
    """Return the contents of an index, for a scan, of some of the rows; documents keep their doc_ids."""
    indptr, dims, values, doc_ids = contents.group(ROWS)
    rows = _gathered(indptr, dims, values, contents.dim, members)
    if rows.nnz and int(rows.dims.max()) >= contents.dim:  # 16 bits of a file are not checked when it is opened
        raise FormatError(f"{contents.path}: a row has dimension {rows.dims.max()} of {contents.dim}; it is damaged")
    scan = _with_lists(rows, doc_ids[members] if doc_ids.size else members, contents.fingerprint)
    return _with_sums(scan, contents.layout.sum_bits)


def _draw(rows: SparseEmbeddings) -> SparseEmbeddings:
    """Return some of the rows that are not all zero, evenly spread."""
    places = np.flatnonzero(rows.nnz_per_row)
    if places.size > _SAMPLE_SIZE:
        places = places[np.linspace(0, places.size - 1, _SAMPLE_SIZE).astype(np.int64)]
    return rows[places]


def _with_lists(rows: SparseEmbeddings, order: IntArray, fingerprint: str) -> IndexContents:
    """Return the contents for a scan of rows, which have been put in an order unless that is empty."""
    from gossamer.kernels.postings import build_lists

    window = parameters.WINDOW
    lists, capacity = build_lists(rows.indptr, rows.dims, rows.values, rows.values, rows.dim, window)
    arrays = rows.indptr, _as_dims(rows.dims, rows.dim), rows.values, order
    layout = Layout(
        plan="scan",
        longest=int(rows.nnz_per_row.max(initial=0)),
        radius=float(_norms(rows).max(initial=0)) * (1 + 2.0**-30),  # a bound, however it was rounded
        capacity=capacity,
        lowest=float(rows.values.min(initial=0)),
    )
    return IndexContents(
        n_docs=len(rows),
        dim=rows.dim,
        window=window,
        fingerprint=fingerprint,
        layout=layout,
        arrays=_sealed(ROWS, arrays) | _sealed(LISTS, lists),
    )


def _with_share(scan: IndexContents, share: float, *, expected: float) -> IndexContents:
    layout = dataclasses.replace(scan.layout, plan="split", share=share, expected=expected)
    return dataclasses.replace(scan, layout=layout)


def _with_sums(contents: IndexContents, bits: int) -> IndexContents:
    return dataclasses.replace(contents, layout=dataclasses.replace(contents.layout, sum_bits=bits))


def _with_blocks(
    rows: SparseEmbeddings, expected: float, fingerprint: str, *, most_pairs: float
) -> list[IndexContents]:
    """Return the contents for block max: rows in an order in which similar ones are neighbours, and their blocks.

    Or nothing, if the blocks together have too many dimensions.
    """
    from gossamer.kernels.block_summaries import encode_parts, summarize_blocks
    from gossamer.kernels.ordering import order_rows
    from gossamer.kernels.postings import build_lists

    block_size = _choose_block_size(len(rows))
    order = order_rows(rows.indptr, rows.dims, rows.values, rows.dim, n_threads=2)
    rows = _gathered(rows.indptr, rows.dims, rows.values, rows.dim, order)
    indptr, dims, highs, lows = summarize_blocks(rows.indptr, rows.dims, rows.values, rows.dim, block_size)
    if dims.size > most_pairs * rows.nnz:
        return []
    blocks, capacity = build_lists(indptr, dims, highs, lows, rows.dim, parameters.WINDOW)
    longest = int(np.diff(indptr).max(initial=0))
    part_indptr, dims, highs, lows = summarize_blocks(
        rows.indptr, rows.dims, rows.values, rows.dim, parameters.PART_SIZE
    )
    parts = part_indptr, _as_dims(dims, rows.dim), *encode_parts(part_indptr, highs, lows)
    del dims, highs, lows
    contents = _with_lists(rows, order, fingerprint)
    layout = dataclasses.replace(
        contents.layout,
        plan="block-max",
        expected=expected,
        block_size=block_size,
        part_size=parameters.PART_SIZE,
        block_longest=longest,
        block_capacity=capacity,
    )
    arrays = contents.arrays | _sealed(BLOCKS, blocks) | _sealed(PARTS, parts)
    return [
        dataclasses.replace(contents, layout=dataclasses.replace(layout, share=share), arrays=arrays)
        for share in _BLOCK_SHARES
    ]


def _choose_block_size(n_docs: int) -> int:
    """Return how many rows are a block: as many as let one window hold all blocks, within limits.

    The first window is searched with a threshold from its own best blocks. If what a query is like lies in a later
    one, that threshold is low, and most of the first window is opened for nothing: three times as slow at 4 M rows.
    """
    block_size = parameters.BLOCK_SIZE
    while block_size < _LARGEST_BLOCK and n_docs > block_size * parameters.WINDOW:
        block_size *= 2
    return block_size


def _measured(tried: list[IndexContents], sample: SparseEmbeddings) -> IndexContents:
    """Ask each of them the sample, with wide and narrow sums, in turns; return the fastest, which knows the times."""
    if len(sample) == 0:
        return tried[0]
    if tried[0].layout.lowest >= 0:
        tried = tried + [_with_sums(contents, 8) for contents in tried]
    engines = [Engine(contents) for contents in tried]
    queries = [sample[i : i + 1] for i in range(len(sample))]
    for engine in engines:  # compiles, and reads what is not in memory yet
        _times(engine, queries)
    # Some queries at a time: while the machine is busy with something else, all engines are slow.
    parts = [queries[i : i + _IN_TURN] for i in range(0, len(queries), _IN_TURN)]
    rounds = [
        np.hstack([[_warm_times(engine, parts[i - 1], part) for engine in engines] for i, part in enumerate(parts)])
        for _ in range(_N_ROUNDS)
    ]
    per_query = np.min(rounds, axis=0)
    medians = np.median(per_query, axis=1)
    measured: dict[str, float] = {}
    for contents, median in zip(tried, medians.tolist(), strict=True):
        plan = contents.layout.plan
        measured[plan] = min(median, measured.get(plan, median))
    best = int(np.argmin(medians))
    engine = engines[best]
    call_us, posting_us = _fit_cost(_postings(engine, queries), per_query[best])
    layout = dataclasses.replace(
        tried[best].layout,
        call_us=call_us,
        posting_us=posting_us,
        measured_us={plan: round(us, 1) for plan, us in measured.items()},
        n_sample_queries=len(sample),
    )
    return dataclasses.replace(tried[best], layout=layout)


def _times(engine: Engine, queries: Iterable[SparseEmbeddings]) -> list[float]:
    """Return the microseconds of each query."""
    found = SearchResult(np.empty((1, _K), np.int32), np.empty((1, _K), np.float32))
    times = []
    for query in queries:
        start = time.perf_counter()
        engine.search(query, np.float32(0), None, 1.0, found)
        times.append((time.perf_counter() - start) * 1e6)
    return times


def _warm_times(engine: Engine, others: Iterable[SparseEmbeddings], queries: Iterable[SparseEmbeddings]) -> list[float]:
    """Return the times of some queries after others: the engine before has filled the caches with what is its own."""
    _times(engine, others)
    return _times(engine, queries)


def _postings(engine: Engine, queries: list[SparseEmbeddings]) -> AnyArray:
    return np.array([engine.touched_lengths[query.dims].sum() for query in queries], np.float64)


def _fit_cost(postings: AnyArray, times: AnyArray) -> tuple[float, float]:
    """Return the line through the median time of the shorter and of the longer half of the queries.

    Medians, because a shared machine makes some times far too long; the line does not fall, nor start below 0.
    """
    order = np.argsort(postings, kind="stable")
    halves = np.array_split(order, 2) if order.size > 1 else [order, order]
    (low, high), (fast, slow) = ([float(np.median(values[half])) for half in halves] for values in (postings, times))
    slope = max(0.0, (slow - fast) / (high - low)) if high > low else 0.0
    slope = min(slope, fast / low) if low else slope
    return round(fast - slope * low, 3), slope


def _expected_share(scan: IndexContents, sample: SparseEmbeddings) -> float:
    """Return the median of the k-th best scores, as a share of the largest that there could be."""
    found = SearchResult(np.empty((len(sample), _K), np.int32), np.empty((len(sample), _K), np.float32))
    if len(sample) == 0 or scan.layout.radius == 0:
        return 0.0
    Engine(scan).search(sample, np.float32(0), None, 1.0, found)
    shares = found.scores[:, -1] / (_norms(sample) * scan.layout.radius)
    return max(0.0, float(np.median(shares)))


def _gathered(indptr: OffsetArray, dims: AnyArray, values: FloatArray, dim: int, chosen: IntArray) -> SparseEmbeddings:
    """Return some rows, in less memory than indexing `SparseEmbeddings` takes."""
    from gossamer.kernels import call
    from gossamer.kernels.rows import gather_rows

    new_indptr = np.append(0, np.cumsum(np.diff(indptr)[chosen]))
    new_dims, new_values = np.empty(new_indptr[-1], np.int32), np.empty(new_indptr[-1], np.float32)
    call(gather_rows, indptr, dims, values, chosen, new_indptr, new_dims, new_values)
    return SparseEmbeddings._trusted(new_indptr, new_dims, new_values, dim)


def _norms(rows: SparseEmbeddings) -> AnyArray:
    from gossamer.kernels import call
    from gossamer.kernels.rows import write_norms

    norms = np.empty(len(rows))
    call(write_norms, rows.indptr, rows.values, norms)
    return norms


def _as_dims(dims: AnyArray, dim: int) -> AnyArray:
    return dims.astype(np.uint16) if dim <= 1 << 16 else dims


def _sealed(names: tuple[str, ...], arrays: Iterable[AnyArray]) -> dict[str, AnyArray]:
    """Name arrays, read-only: numba compiles a kernel for each kind of array, and mapped ones are."""
    named = {}
    for name, array in zip(names, arrays, strict=True):
        view = np.ascontiguousarray(array).view()
        view.flags.writeable = False
        named[name] = view
    return named
