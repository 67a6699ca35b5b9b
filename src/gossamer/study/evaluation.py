"""Time searches in turns, one by one or in batches, and judge the very lists that were timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gossamer.arrays import AnyArray, DoubleArray, TextArray
from gossamer.errors import DataError
from gossamer.metrics import hit_rate_at_k, precision_at_k
from gossamer.results import Searcher, SearchResult, check_count, empty_result, excluding_self

_QUERIES_PER_REPORT = 500
_MOST_WARM_UP_QUERIES = 64


class Timed(NamedTuple):
    """What one searcher found, and how long each query took."""

    found: SearchResult
    """Shape (n_queries, k)."""
    query_us: DoubleArray
    """Microseconds of each query, shape (n_queries,): the median over the rounds; in batches, its share of one."""


class Built(NamedTuple):
    """A searcher, and what it took to build it."""

    searcher: Searcher[Any]
    build_s: float
    """Seconds, on one thread; without reading or encoding the documents."""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Accuracy of result lists, over the queries that have a right answer at all."""

    hit_rate: dict[int, float]
    precision: dict[int, float]
    n_queries: int
    n_unanswerable: int
    """Queries that no document (other than themselves) shares a label with; they are not counted."""


def build_timed(build: Callable[[], Searcher[Any]]) -> Built:
    """Call a function that builds a searcher, on one thread, and take its time.

    What it compiles or imports at its first call counts; build something small before where that matters.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        start = time.perf_counter()
        searcher = build()
        return Built(searcher, time.perf_counter() - start)


def search_in_turns(
    searchers: Mapping[str, tuple[Searcher[Any], Any]],
    k: int,
    *,
    rounds: int = 3,
    batch_size: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Timed]:
    """Ask each searcher its queries, one at a time or in batches, on one thread, the searchers taking turns.

    Parameters
    ----------
    searchers : mapping of name to (searcher, queries)
        Queries are rows that slice, ``queries[i : i + 1]``: an array, `SparseEmbeddings` or
        `gossamer.TwoStageQueries`.
    k : int
        Results a query.
    rounds : int
        How often every query is asked. A round asks all queries of one searcher, then of the next;
        turns spread a machine's slow moments over all of them.
    batch_size : int
        Queries in one call; of a batch, each query takes an equal share of the time.
    on_progress : callable, optional
        Called with the number of searches done, and of all, every few hundred.

    Raises
    ------
    ArgumentError
        If rounds or batch_size is not a whole number of at least 1.
    """
    from threadpoolctl import threadpool_limits

    rounds, batch_size = check_count(rounds, name="rounds"), check_count(batch_size, name="batch_size")
    times = {name: np.zeros((rounds, len(queries))) for name, (_, queries) in searchers.items()}
    found = {name: empty_result(len(queries), k) for name, (_, queries) in searchers.items()}
    n_done, n_all = 0, rounds * sum(len(queries) for _, queries in searchers.values())
    with threadpool_limits(limits=1):
        for turn in range(rounds):
            for name, (searcher, queries) in searchers.items():
                # Compile and warm up outside the clock.
                searcher.search(queries[: min(batch_size, _MOST_WARM_UP_QUERIES)], k)
                for first in range(0, len(queries), batch_size):
                    rows = slice(first, min(first + batch_size, len(queries)))
                    batch, n_before = queries[rows], n_done
                    start = time.perf_counter_ns()
                    result = searcher.search(batch, k)
                    elapsed = time.perf_counter_ns() - start
                    times[name][turn, rows] = elapsed / 1000 / (rows.stop - first)
                    found[name].doc_ids[rows], found[name].scores[rows] = result
                    n_done += rows.stop - first
                    is_due = n_done // _QUERIES_PER_REPORT > n_before // _QUERIES_PER_REPORT
                    if on_progress and (is_due or n_done == n_all):
                        on_progress(n_done, n_all)
    return {name: Timed(found[name], np.median(times[name], axis=0)) for name in searchers}


def judge(
    found: SearchResult,
    query_labels: TextArray,
    document_labels: TextArray,
    *,
    ks: Sequence[int] = (1, 5, 10),
    own_ids: AnyArray | None = None,
) -> Accuracy:
    """Compute hit rate@k and precision@k of result lists.

    Parameters
    ----------
    found : SearchResult, shape (n_queries, max(ks)), or one more where own_ids are given
        What was found.
    query_labels, document_labels : arrays of str
        The classes.
    ks : sequence of int
        At which numbers of results.
    own_ids : array, shape (n_queries,), optional
        Where the queries are documents themselves: their doc_ids, which are left out of the results.

    Raises
    ------
    DataError
        If no query has a right answer.
    """
    if own_ids is not None:
        found = excluding_self(found, own_ids)
    classes, counts = np.unique(document_labels, return_counts=True)
    n_right = dict(zip(classes.tolist(), counts.tolist(), strict=True))
    own = 0 if own_ids is None else 1
    answerable = np.array([n_right.get(label, 0) > own for label in query_labels.tolist()], bool)
    if not answerable.any():
        raise DataError("labels: expected a query that shares its label with another document; there is none")
    doc_ids, labels = found.doc_ids[answerable], query_labels[answerable]
    return Accuracy(
        hit_rate={k: hit_rate_at_k(doc_ids, labels, document_labels, k) for k in ks},
        precision={k: precision_at_k(doc_ids, labels, document_labels, k) for k in ks},
        n_queries=int(answerable.sum()),
        n_unanswerable=int((~answerable).sum()),
    )
