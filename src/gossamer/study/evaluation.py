"""Time searches in turns, one by one or in batches, and judge the very lists that were timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gossamer.arrays import AnyArray, DoubleArray, TextArray
from gossamer.errors import DataError
from gossamer.metrics import count_same_label, hit_rate_at_k, precision_at_k
from gossamer.results import Searcher, SearchResult, check_count, empty_result, excluding_self

_QUERIES_PER_REPORT = 500
_QUERIES_PER_TURN = 50
_MOST_WARM_UP_QUERIES = 64
_WARM_UP_S = 0.02


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


class _Asked:
    """One searcher, and what it found and took so far."""

    def __init__(self, searcher: Searcher[Any], queries: Any, k: int, *, rounds: int) -> None:
        self.searcher, self.queries, self.k = searcher, queries, k
        self.times, self.found = np.zeros((rounds, len(queries))), empty_result(len(queries), k)

    def ask(self, turn: int, slice_of_queries: range, batch_size: int) -> None:
        """Ask some queries, after others outside the clock."""
        first, stop = slice_of_queries.start, slice_of_queries.stop
        self._warm_up(first, stop, batch_size)
        for start_row in range(first, stop, batch_size):
            rows = slice(start_row, min(start_row + batch_size, stop))
            batch = self.queries[rows]
            start = time.perf_counter_ns()
            result = self.searcher.search(batch, self.k)
            elapsed = time.perf_counter_ns() - start
            self.times[turn, rows] = elapsed / 1000 / (rows.stop - rows.start)
            self.found.doc_ids[rows], self.found.scores[rows] = result

    def _warm_up(self, first: int, stop: int, batch_size: int) -> None:
        """Ask for a moment what is not asked next: the searcher before has filled the caches with what is its own."""
        size = min(batch_size, _MOST_WARM_UP_QUERIES)
        others = [(a, min(a + size, end)) for start, end in ((stop, len(self.queries)), (0, first))
                  for a in range(start, end, size)]  # fmt: skip
        is_over = time.perf_counter() + _WARM_UP_S
        for start_row, end_row in others[:_QUERIES_PER_TURN] or [(first, min(first + size, stop))]:
            self.searcher.search(self.queries[start_row:end_row], self.k)
            if time.perf_counter() > is_over:
                break


def search_in_turns(
    searchers: Mapping[str, tuple[Searcher[Any], Any]],
    k: int,
    *,
    rounds: int = 3,
    batch_size: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
    on_error: Callable[[str, Exception], None] | None = None,
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
        How often every query is asked. In a round each searcher is asked 50 queries, or one batch if that is
        more, then the next searcher, until all are asked: a machine's slow moments fall on all of them.
    batch_size : int
        Queries in one call; of a batch, each query takes an equal share of the time.
    on_progress : callable, optional
        Called with the number of searches done, and of all, every few hundred.
    on_error : callable, optional
        Called with the name of a searcher that fails and its error; it is asked no more and left out of what is
        returned. Without it, the error is raised.

    Raises
    ------
    ArgumentError
        If rounds or batch_size is not a whole number of at least 1.
    """
    from threadpoolctl import threadpool_limits

    rounds, batch_size = check_count(rounds, name="rounds"), check_count(batch_size, name="batch_size")
    asked = {name: _Asked(*given, k, rounds=rounds) for name, given in searchers.items()}
    with threadpool_limits(limits=1):
        n_done, n_all = 0, rounds * sum(len(each.queries) for each in asked.values())
        for turn, name, queries in _turns(asked, rounds, batch_size):
            if name in asked:
                try:
                    asked[name].ask(turn, queries, batch_size)
                except Exception as error:
                    if on_error is None:
                        raise
                    on_error(name, error)
                    del asked[name]
            n_before, n_done = n_done, n_done + len(queries)
            is_due = n_done // _QUERIES_PER_REPORT > n_before // _QUERIES_PER_REPORT
            if on_progress and (is_due or n_done == n_all):
                on_progress(n_done, n_all)
    return {name: Timed(each.found, np.median(each.times, axis=0)) for name, each in asked.items()}


def _turns(asked: Mapping[str, _Asked], rounds: int, batch_size: int) -> list[tuple[int, str, range]]:
    """Return the round, the searcher and the queries of each turn, in order."""
    n_queries = {name: len(each.queries) for name, each in asked.items()}
    n_in_turn = batch_size * max(1, _QUERIES_PER_TURN // batch_size)
    return [
        (turn, name, range(first, min(first + n_in_turn, n)))
        for turn in range(rounds)
        for first in range(0, max(n_queries.values(), default=0), n_in_turn)
        for name, n in n_queries.items()
        if first < n
    ]


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
    answerable = count_same_label(query_labels, document_labels) > (0 if own_ids is None else 1)
    if not answerable.any():
        raise DataError("labels: expected a query that shares its label with another document; there is none")
    doc_ids, labels = found.doc_ids[answerable], query_labels[answerable]
    return Accuracy(
        hit_rate={k: hit_rate_at_k(doc_ids, labels, document_labels, k) for k in ks},
        precision={k: precision_at_k(doc_ids, labels, document_labels, k) for k in ks},
        n_queries=int(answerable.sum()),
        n_unanswerable=int((~answerable).sum()),
    )
