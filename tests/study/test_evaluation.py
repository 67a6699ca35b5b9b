"""Timing asks every query once a round; accuracy is judged on the very lists that were timed."""

import itertools

import numpy as np
import pytest

from gossamer.baselines.exhaustive import ExhaustiveSearcher
from gossamer.errors import ArgumentError, DataError
from gossamer.results import SearchResult
from gossamer.study.evaluation import build_timed, judge, search_in_turns


class CountingSearcher(ExhaustiveSearcher):
    """Exhaustive search that remembers what it was asked."""

    def __init__(self, documents):
        super().__init__(documents)
        self.asked = []

    def search(self, queries, k=10):
        self.asked.append((len(queries), k))
        return super().search(queries, k)


def test_searching_one_by_one_finds_what_a_batch_finds(rng):
    documents, queries = (rng.standard_normal((n, 8)).astype(np.float32) for n in (50, 12))
    searcher, reports = CountingSearcher(documents), []
    timed = search_in_turns({"exhaustive": (searcher, queries)}, k=4, on_progress=lambda *done: reports.append(done))
    np.testing.assert_array_equal(timed["exhaustive"].found.doc_ids, searcher.search(queries, k=4).doc_ids)
    assert timed["exhaustive"].query_us.shape == (12,)
    assert (timed["exhaustive"].query_us > 0).all()
    assert searcher.asked == [(1, 4)] * (3 * (1 + 12)) + [(12, 4)]
    assert reports == [(36, 36)]


def test_batches_find_the_same_and_their_queries_share_the_time(rng, monkeypatch):
    documents, queries = (rng.standard_normal((n, 8)).astype(np.float32) for n in (50, 12))
    searcher, reports = CountingSearcher(documents), []
    ticks = itertools.count(step=10_000)
    monkeypatch.setattr("gossamer.study.evaluation.time.perf_counter_ns", lambda: next(ticks))  # 10 µs a call
    timed = search_in_turns(
        {"exhaustive": (searcher, queries)}, k=4, rounds=2, batch_size=5, on_progress=lambda *done: reports.append(done)
    )["exhaustive"]
    assert searcher.asked == [(5, 4), (5, 4), (5, 4), (2, 4)] * 2  # one to warm up, then all
    np.testing.assert_array_equal(timed.found.doc_ids, searcher.search(queries, k=4).doc_ids)
    assert timed.query_us.tolist() == [2.0] * 10 + [5.0] * 2
    assert reports == [(24, 24)]


def test_searchers_take_turns(rng):
    documents = rng.standard_normal((20, 8)).astype(np.float32)
    order = []

    class Named(ExhaustiveSearcher):
        def search(self, queries, k=10):
            order.append(self.name)
            return super().search(queries, k)

    searchers = {name: (Named(documents), documents[:1]) for name in "ab"}
    for name, (searcher, _) in searchers.items():
        searcher.name = name
    search_in_turns(searchers, k=1, rounds=2)
    assert order == ["a", "a", "b", "b"] * 2  # warmed up, then timed


def test_searches_and_builds_are_timed_on_one_thread(rng):
    from threadpoolctl import threadpool_info

    n_threads = []

    class Looking(ExhaustiveSearcher):
        def search(self, queries, k=10):
            n_threads.extend(pool["num_threads"] for pool in threadpool_info())
            return super().search(queries, k)

    def build():
        n_threads.extend(pool["num_threads"] for pool in threadpool_info())
        return Looking(rng.standard_normal((20, 8)).astype(np.float32))

    built = build_timed(build)
    search_in_turns({"looking": (built.searcher, built.searcher.documents)}, k=1, rounds=1)
    assert set(n_threads) == {1}
    assert built.build_s > 0


def test_counts_below_one_are_refused(rng):
    documents = rng.standard_normal((5, 8)).astype(np.float32)
    for setting in ("rounds", "batch_size"):
        with pytest.raises(ArgumentError, match=f"{setting}: expected a whole number of at least 1; got 0"):
            search_in_turns({"exhaustive": (ExhaustiveSearcher(documents), documents)}, k=1, **{setting: 0})


def test_no_queries_are_answered_with_no_results(rng):
    documents = rng.standard_normal((5, 8)).astype(np.float32)
    timed = search_in_turns({"exhaustive": (ExhaustiveSearcher(documents), documents[:0])}, k=3)
    assert timed["exhaustive"].found.doc_ids.shape == (0, 3)


def test_accuracy_leaves_out_the_query_itself_and_queries_without_an_answer():
    labels = np.array(["a", "a", "b", "c", "c"])
    doc_ids = np.int32([[0, 1, 2], [1, 2, 0], [2, 0, 1], [4, 3, 0], [4, 0, 1]])
    found = SearchResult(doc_ids, np.zeros(doc_ids.shape, np.float32))
    accuracy = judge(found, labels, labels, ks=(1, 2), own_ids=np.arange(5))
    # Row 2 is the only b. Without themselves: 0 -> 1 right; 1 -> 2 wrong, 0 right; 3 -> 4 right; 4 -> 0, 1 wrong.
    assert (accuracy.n_queries, accuracy.n_unanswerable) == (4, 1)
    assert accuracy.hit_rate == {1: 2 / 4, 2: 3 / 4}
    assert accuracy.precision == {1: 2 / 4, 2: 3 / 8}


def test_accuracy_against_a_gallery_counts_every_document():
    found = SearchResult(np.int32([[1], [0]]), np.zeros((2, 1), np.float32))
    accuracy = judge(found, np.array(["a", "z"]), np.array(["b", "a"]), ks=(1,))
    assert (accuracy.n_queries, accuracy.n_unanswerable, accuracy.hit_rate) == (1, 1, {1: 1.0})


def test_labels_that_leave_no_answer_are_refused():
    found = SearchResult(np.int32([[1], [0]]), np.zeros((2, 1), np.float32))
    with pytest.raises(DataError, match="shares its label"):
        judge(found, np.array(["a", "b"]), np.array(["a", "b"]), ks=(1,), own_ids=np.arange(2))


class Failing(ExhaustiveSearcher):
    """Exhaustive search that has had enough after some searches."""

    n_left = 60

    def search(self, queries, k=10):
        self.n_left -= 1
        if self.n_left < 0:
            raise ValueError("enough")
        return super().search(queries, k)


def test_in_a_round_searchers_take_turns_of_fifty_queries(rng, monkeypatch):
    seconds = itertools.count()
    monkeypatch.setattr("gossamer.study.evaluation.time.perf_counter", lambda: next(seconds))  # one warms up
    documents = rng.standard_normal((120, 8)).astype(np.float32)
    order = []

    class Named(ExhaustiveSearcher):
        def search(self, queries, k=10):
            order.append((self.name, len(queries)))
            return super().search(queries, k)

    searchers = {name: (Named(documents), documents[:n]) for name, n in (("a", 120), ("b", 60))}
    for name, (searcher, _) in searchers.items():
        searcher.name = name
    search_in_turns(searchers, k=1, rounds=1)
    assert order == [(name, 1) for name, n in (("a", 51), ("b", 51), ("a", 51), ("b", 11), ("a", 21)) for _ in range(n)]
    order.clear()
    search_in_turns(searchers, k=1, rounds=1, batch_size=40)  # the first of each turn warms up, with other queries
    turns = ("a", 40, 40), ("b", 20, 40), ("a", 40, 40), ("b", 40, 20), ("a", 40, 40)
    assert order == [(name, n) for name, *sizes in turns for n in sizes]


def test_what_warms_up_a_searcher_is_not_what_it_is_asked_next(monkeypatch):
    monkeypatch.setattr("gossamer.study.evaluation.time.perf_counter", lambda: 0.0)  # there is time for a whole turn
    documents, asked = np.eye(120, dtype=np.float32), []

    class Noting(ExhaustiveSearcher):
        def search(self, queries, k=10):
            asked.extend(queries.argmax(axis=1).tolist())
            return super().search(queries, k)

    search_in_turns({"noting": (Noting(documents), documents)}, k=1, rounds=1)
    first, second, third = [*range(50, 100)], [*range(100, 120), *range(30)], [*range(50)]
    assert asked == [*first, *range(50), *second, *range(50, 100), *third, *range(100, 120)]


def test_a_searcher_that_fails_late_is_left_out_if_somebody_is_told(rng):
    documents = rng.standard_normal((100, 8)).astype(np.float32)
    errors, reports = [], []
    searchers = {"failing": (Failing(documents), documents), "sound": (ExhaustiveSearcher(documents), documents)}
    timed = search_in_turns(
        searchers,
        k=1,
        on_progress=lambda *done: reports.append(done),
        on_error=lambda name, error: errors.append((name, str(error))),
    )
    assert (list(timed), errors, reports[-1]) == (["sound"], [("failing", "enough")], (600, 600))
    assert timed["sound"].found.doc_ids.shape == (100, 1)
    with pytest.raises(ValueError, match="enough"):
        search_in_turns({"failing": (Failing(documents), documents)}, k=1)
