"""Class retrieval, verification, recommendation and nearest neighbours: by hand, and against loops."""

import numpy as np
import pytest

from gossamer.baselines.exhaustive import ExhaustiveSearcher
from gossamer.errors import ArgumentError, ConfigError, DataError, ShapeError
from gossamer.results import SearchResult
from gossamer.study.evaluation import search_in_turns
from gossamer.study.protocols.class_retrieval import class_retrieval
from gossamer.study.protocols.nearest_neighbours import nearest_neighbours
from gossamer.study.protocols.recommendation import Interactions, items_of_users, recommendation, split_interactions
from gossamer.study.protocols.verification import verification


def lists(rows):
    return SearchResult(np.int32(rows), -np.arange(np.size(rows), dtype=np.float32).reshape(np.shape(rows)))


def test_precision_counts_all_queries_and_leaves_out_each_own_image():
    labels = np.array(["a", "a", "a", "b"])
    found = lists([[0, 1, 3], [2, 1, 3], [2, 3, 0], [3, 0, 1]])
    result = class_retrieval(found, labels, labels, own_ids=np.arange(4), ks=(1, 2))
    # Left: 1 3; 2 3; 3 0; 0 1. The b is alone and counts as wrong.
    assert result.precision == {1: 2 / 4, 2: 3 / 8}
    assert (result.n_queries, result.n_documents) == (4, 4)
    against_train = class_retrieval(found, labels, np.array(["b", "b", "b", "a"]), ks=(3,))
    assert against_train.precision == {3: pytest.approx((1 + 1 + 1 + 2) / 12)}


def test_precision_of_timed_lists_equals_a_loop(rng):
    rows, labels = rng.standard_normal((120, 6)).astype(np.float32), rng.integers(0, 5, 120).astype(str)
    timed = search_in_turns({"exhaustive": (ExhaustiveSearcher(rows), rows)}, k=65, rounds=1)["exhaustive"]
    result = class_retrieval(timed.found, labels, labels, own_ids=np.arange(120))
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")
    for k in (1, 4, 16, 64):
        assert result.precision[k] == pytest.approx((labels[order[:, :k]] == labels[:, None]).mean())


def scored(rng, n_queries, n_documents, k):
    """All scores, and the lists of the k best."""
    scores = rng.integers(0, 40, (n_queries, n_documents)).astype(np.float32) / 8
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)
    return scores, SearchResult(order, np.take_along_axis(scores, order, axis=1))


@pytest.mark.parametrize("k", [60, 100])
def test_true_accepts_of_lists_equal_those_of_all_pairs(rng, k):
    queries, documents = rng.integers(0, 4, 30).astype(str), rng.integers(0, 4, 100).astype(str)
    scores, found = scored(rng, 30, 100, k)
    rates = (0.0, 0.01, 0.1) if k == 60 else (0.0, 0.01, 0.1, 0.9, 1.0)
    result = verification(found, queries, documents, false_accept_rates=rates)
    same = queries[:, None] == documents[None, :]
    assert (result.n_genuine, result.n_impostors) == (same.sum(), (~same).sum())
    for rate in rates:
        thresholds = [-1.0, *np.unique(scores)]
        allowed = [t for t in thresholds if (scores[~same] > t).mean() <= rate]
        assert result.true_accept_rate[rate] == pytest.approx((scores[same] > min(allowed)).mean())


@pytest.mark.parametrize("k", [40, 61])
def test_no_document_is_a_pair_with_itself(rng, k):
    labels = rng.integers(0, 4, 60).astype(str)
    scores, _ = scored(rng, 60, 60, 60)
    np.fill_diagonal(scores, 9.0)  # were it a pair, it would pass any threshold
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)
    found = SearchResult(order, np.take_along_axis(scores, order, axis=1))
    result = verification(found, labels, labels, own_ids=np.arange(60), false_accept_rates=(0.02,))
    same, others = labels[:, None] == labels, ~np.eye(60, dtype=bool)
    assert (result.n_genuine, result.n_impostors) == ((same & others).sum(), (~same).sum())
    threshold = min(t for t in np.unique(scores) if (scores[~same] > t).mean() <= 0.02)
    assert result.true_accept_rate[0.02] == pytest.approx((scores[same & others] > threshold).mean())


def test_lists_too_short_to_tell_are_refused(rng):
    queries, documents = rng.integers(0, 4, 30).astype(str), rng.integers(0, 4, 100).astype(str)
    _, found = scored(rng, 30, 100, 5)
    with pytest.raises(ArgumentError, match="long enough for a false accept rate of 0.2; got k = 5"):
        verification(found, queries, documents, false_accept_rates=(0.2,))
    with pytest.raises(ArgumentError, match="expected all 100 documents for a rate of 1; got k = 5"):
        verification(found, queries, documents, false_accept_rates=(1.0,))


def test_documents_that_a_sparse_search_does_not_find_are_not_accepted():
    found = SearchResult(np.int32([[0, -1], [2, 0]]), np.float32([[0.5, -np.inf], [0.9, 0.2]]))
    labels = np.array(["a", "b"]), np.array(["a", "a", "b"])
    result = verification(found, *labels, false_accept_rates=(0.0,))
    # Genuine: 0.5, unlisted, 0.9. Impostors: unlisted, since it shares nothing; 0.2; unlisted, at most 0.2.
    assert (result.n_genuine, result.n_impostors, result.true_accept_rate) == (3, 3, {0.0: 2 / 3})
    with pytest.raises(ArgumentError, match="long enough"):
        verification(found, *labels, false_accept_rates=(0.4,))


def test_places_without_a_document_are_no_pairs():
    found = SearchResult(np.int32([[1, 0, -1, -1]]), np.float32([[0.9, 0.1, -np.inf, -np.inf]]))
    result = verification(found, np.array(["a"]), np.array(["b", "a"]), false_accept_rates=(0.0, 1.0))
    assert (result.n_genuine, result.n_impostors) == (1, 1)
    assert result.true_accept_rate == {0.0: 1.0, 1.0: 1.0}


def test_pairs_of_one_kind_alone_are_refused():
    with pytest.raises(DataError, match="got 0 of one and 1 of two"):
        verification(lists([[0]]), np.array(["a"]), np.array(["b"]))


def test_items_that_a_user_has_are_no_results():
    found = lists([[4, 2, 1, 0, 3], [0, 1, 2, 3, 4]])
    result = recommendation(
        found, [np.array([1, 3]), np.array([], int)], seen=[np.array([4, 0]), np.array([1])], n_items=5, k=2
    )
    # The first user is left with 2, 1, 3: one of two in the first two, at rank 2.
    assert result.item_recall == 1 / 2
    assert result.ndcg == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))
    assert (result.n_users, result.k) == (1, 2)


def test_recommendation_refuses_what_it_cannot_judge():
    found, one = lists([[4, 2, 1]]), [np.array([1])]
    with pytest.raises(ArgumentError, match="of 3, user 0 has seen all but 1. Search for more"):
        recommendation(found, one, seen=[np.array([4, 2])], n_items=9, k=2)
    recommendation(lists([[4, 2, 1, -1]]), one, seen=[np.array([4, 2])], n_items=9, k=2)  # no more were found
    with pytest.raises(DataError, match="user 0 has seen item 1"):
        recommendation(found, one, seen=one, n_items=3, k=2)
    with pytest.raises(DataError, match="held_out: expected items of at least one user"):
        recommendation(found, [np.array([])], seen=one, n_items=3, k=2)
    with pytest.raises(ArgumentError, match="seen: expected one array for each of 1 users; got 0"):
        recommendation(found, one, seen=[], n_items=3, k=2)


def test_interactions_are_split_user_by_user():
    users = np.repeat([0, 1, 2], [10, 4, 6])
    items = np.concatenate([np.arange(10), np.arange(4), np.arange(6)])
    order = np.random.default_rng(5).permutation(20)
    all_of_them = Interactions(users[order], items[order])
    kept, held_out = split_interactions(all_of_them, seed=0)
    assert np.bincount(held_out.users, minlength=3).tolist() == [2, 0, 1]  # a fifth; none of fewer than five; 1.2
    both = np.concatenate([np.stack(kept), np.stack(held_out)], axis=1)
    assert sorted(zip(*both.tolist(), strict=True)) == sorted(zip(users.tolist(), items.tolist(), strict=True))
    again = split_interactions(all_of_them, seed=0)[1]
    np.testing.assert_array_equal(again.items, held_out.items)
    drawn = {tuple(split_interactions(all_of_them, seed=seed)[1].items) for seed in range(20)}
    assert len(drawn) > 10
    assert [row.tolist() for row in items_of_users(Interactions(np.array([2, 0, 2]), np.array([7, 1, 3])), 4)] == [
        [1],
        [],
        [3, 7],
        [],
    ]


def test_bad_splits_are_refused():
    pairs = Interactions(np.array([0, 0]), np.array([3, 3]))
    with pytest.raises(DataError, match="expected each pair of user and item once"):
        split_interactions(pairs, seed=0)
    with pytest.raises(ConfigError, match="split: expected a share above 0 and below 1"):
        split_interactions(pairs, held_out_share=1.0, seed=0)


def test_recall_counts_results_that_score_as_much_as_the_kth_best():
    documents = np.float32([[3, 0], [2, 1], [2, 2], [1, 0], [0, 5]])
    queries = np.float32([[1, 0]])
    exact = ExhaustiveSearcher(documents).search(queries, k=2)
    assert exact.doc_ids.tolist() == [[0, 1]]
    tied = SearchResult(np.int32([[2, 0]]), np.float32([[9, 9]]))  # document 2 scores as document 1 does
    assert nearest_neighbours(tied, exact, queries, documents, k=2).recall == 1
    missed = SearchResult(np.int32([[0, 3]]), np.float32([[9, 9]]))
    assert nearest_neighbours(missed, exact, queries, documents, k=2).recall == 1 / 2
    nothing = SearchResult(np.int32([[-1, -1]]), np.float32([[9, 9]]))
    assert nearest_neighbours(nothing, exact, queries, documents, k=2).recall == 0


def test_recall_leaves_out_the_queries_themselves(rng):
    rows = rng.standard_normal((50, 4)).astype(np.float32)
    exact = ExhaustiveSearcher(rows).search(rows, k=11)
    alone = SearchResult(np.repeat(np.arange(50, dtype=np.int32)[:, None], 11, axis=1), exact.scores)
    assert nearest_neighbours(exact, exact, rows, rows, own_ids=np.arange(50)).recall == 1
    alone.doc_ids[:, 1:] = -1
    assert nearest_neighbours(alone, exact, rows, rows, own_ids=np.arange(50)).recall == 0


def test_recall_of_short_lists_is_refused_and_of_no_queries_is_one(rng):
    rows = rng.standard_normal((5, 4)).astype(np.float32)
    exact = ExhaustiveSearcher(rows).search(rows, k=10)
    with pytest.raises(ShapeError, match=r"found: expected shape \(5, at least k = 10\); got \(5, 3\)"):
        nearest_neighbours(ExhaustiveSearcher(rows).search(rows, k=3), exact, rows, rows)
    none = ExhaustiveSearcher(rows).search(rows[:0], k=10)
    assert nearest_neighbours(none, none, rows[:0], rows).recall == 1
