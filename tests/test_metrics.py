"""Metrics against numbers worked out by hand, and tied to what the machine does."""

import numpy as np
import pytest

from gossamer import SparseEmbeddings
from gossamer.errors import ArgumentError, ShapeError
from gossamer.metrics import (
    class_suboptimality_ratio,
    dead_dims,
    dim_frequencies,
    flops_per_document,
    hit_rate_at_k,
    item_recall_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    suboptimality_ratio,
    true_accept_rate,
)
from gossamer.results import SearchResult, excluding_self

FOUND = np.int32([[0, 1, 2], [3, -1, -1], [2, 0, 1]])
QUERY_LABELS = np.array(["cat", "dog", "cow"])
DOCUMENT_LABELS = np.array(["dog", "cat", "cow", "cow"])


def test_recall_counts_the_exact_documents_that_were_found():
    exact = np.int32([[0, 2, 3], [3, -1, -1], [0, 1, 3]])
    assert recall_at_k(FOUND, exact, 3) == pytest.approx((2 + 1 + 2) / 7)
    assert recall_at_k(FOUND, exact, 1) == pytest.approx(2 / 3)


def test_hit_rate_counts_queries_and_precision_counts_places():
    # cat: the second is a cat; dog: none; cow: the first is a cow.
    assert hit_rate_at_k(FOUND, QUERY_LABELS, DOCUMENT_LABELS, 1) == pytest.approx(1 / 3)
    assert hit_rate_at_k(FOUND, QUERY_LABELS, DOCUMENT_LABELS, 3) == pytest.approx(2 / 3)
    assert precision_at_k(FOUND, QUERY_LABELS, DOCUMENT_LABELS, 3) == pytest.approx(2 / 9)


def test_a_missing_result_is_never_right_though_minus_one_is_an_index():
    assert hit_rate_at_k(np.int32([[-1]]), np.array(["b"]), np.array(["a", "b"]), 1) == 0.0


def test_flops_are_the_postings_touched_by_a_pair_on_average():
    queries = SparseEmbeddings.from_dense(np.float32([[1, 0, -1, 0], [1, 0, 0, 0]]))  # p = 1, 0, 1/2, 0
    documents = SparseEmbeddings.from_dense(np.float32([[1, 1, 0, 0], [0, 1, 3, 0], [0, 0, -1, 0]]))  # 1/3, 2/3, 2/3, 0
    assert flops_per_document(queries, documents) == pytest.approx(1 / 3 + 1 / 2 * 2 / 3)
    dense_work = (queries.to_dense() != 0).astype(int) @ (documents.to_dense() != 0).astype(int).T
    assert flops_per_document(queries, documents) == pytest.approx(dense_work.mean())


def test_suboptimality_is_one_for_even_rows_and_dim_for_rows_in_one_dimension():
    assert suboptimality_ratio(SparseEmbeddings.from_dense(np.eye(5, dtype=np.float32))) == pytest.approx(1.0)
    assert suboptimality_ratio(SparseEmbeddings.from_dense(np.eye(5, dtype=np.float32)[[2, 2]])) == pytest.approx(5.0)
    assert np.isnan(suboptimality_ratio(SparseEmbeddings.from_dense(np.zeros((3, 5), np.float32))))


@pytest.mark.parametrize(("dim", "nnz", "n_classes"), [(512, 16, 27), (512, 16, 400), (64, 48, 3)])
def test_few_classes_are_uneven_as_classes_drawn_at_random_are(dim, nnz, n_classes):
    rng = np.random.default_rng(0)

    def drawn():
        classes = np.zeros((n_classes, dim), np.float32)
        for row in classes:
            row[rng.choice(dim, nnz, replace=False)] = 1.0
        return SparseEmbeddings.from_dense(np.repeat(classes, 2, axis=0))

    expected = np.mean([suboptimality_ratio(drawn()) for _ in range(40)])
    assert class_suboptimality_ratio(dim, nnz, n_classes) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("dim", "nnz", "n_classes"), [(0, 1, 1), (4, 0, 1), (4, 5, 1), (4, 2, 0)])
def test_no_classes_and_no_nonzeros_have_no_ratio(dim, nnz, n_classes):
    with pytest.raises(ArgumentError, match="expected at least one dimension and class"):
        class_suboptimality_ratio(dim, nnz, n_classes)


def test_frequencies_and_dead_dimensions():
    rows = SparseEmbeddings.from_dense(np.float32([[1, 0, 2], [1, 0, 0]]))
    assert dim_frequencies(rows).tolist() == [1, 0, 0.5]
    assert dead_dims(rows).tolist() == [1]
    assert dim_frequencies(rows[:0]).tolist() == [0, 0, 0]


def test_a_querys_own_document_is_dropped_else_the_last():
    found = SearchResult(np.int32([[4, 0, 2], [7, 8, 9], [2, -1, -1]]), np.float32([[3, 2, 1], [6, 5, 4], [1, 0, 0]]))
    kept = excluding_self(found, np.array([0, 1, 2]))
    assert kept.doc_ids.tolist() == [[4, 2], [7, 8], [-1, -1]]
    assert kept.scores.tolist() == [[3, 1], [6, 5], [0, 0]]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="at least k = 4"):
        precision_at_k(FOUND, QUERY_LABELS, DOCUMENT_LABELS, 4)
    with pytest.raises(ShapeError, match="query_labels"):
        hit_rate_at_k(FOUND, QUERY_LABELS[:2], DOCUMENT_LABELS, 1)
    with pytest.raises(ShapeError, match="document_labels"):
        hit_rate_at_k(FOUND, QUERY_LABELS, DOCUMENT_LABELS[:2], 1)
    with pytest.raises(ShapeError, match="own_ids"):
        excluding_self(SearchResult(FOUND, FOUND.astype(np.float32)), np.array([1]))
    with pytest.raises(ShapeError, match="queries: expected 3"):
        rows = SparseEmbeddings.from_dense(np.eye(3, dtype=np.float32))
        flops_per_document(SparseEmbeddings.from_dense(np.eye(2, dtype=np.float32)), rows)


ITEMS_FOUND = np.int32([[5, 2, 9, 4], [1, 0, -1, -1], [3, 7, 8, 6]])
HELD_OUT = [np.array([4, 2]), np.array([], np.int64), np.array([0, 1, 2, 3, 9])]


def test_item_recall_divides_by_the_held_out_items_of_users_that_have_any():
    # The first user: 2 of 4, 2 at ranks 2 and 4; the second holds nothing out; the third: 3 alone, of five.
    assert item_recall_at_k(ITEMS_FOUND, HELD_OUT, 4) == pytest.approx((2 / 2 + 1 / 5) / 2)
    assert item_recall_at_k(ITEMS_FOUND, HELD_OUT, 1) == pytest.approx((0 + 1 / 5) / 2)


def test_ndcg_discounts_by_the_logarithm_of_the_rank():
    first = (1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3))
    third = 1 / (1 + 1 / np.log2(3) + 1 / 2 + 1 / np.log2(5))  # at best four of the five fit into the list
    assert ndcg_at_k(ITEMS_FOUND, HELD_OUT, 4) == pytest.approx((first + third) / 2)
    assert ndcg_at_k(np.int32([[3, 1]]), [np.array([1, 3])], 2) == 1.0


def test_item_metrics_equal_those_of_scikit_learn_and_a_loop(rng):
    ranking = pytest.importorskip("sklearn.metrics")
    scores, relevant = rng.standard_normal((30, 50)), rng.random((30, 50)) < 0.1
    relevant[:, 0] = True  # every user holds something out
    found = np.argsort(-scores, axis=1).astype(np.int32)[:, :10]
    held_out = [np.flatnonzero(row) for row in relevant]
    assert ndcg_at_k(found, held_out, 10) == pytest.approx(ranking.ndcg_score(relevant, scores, k=10))
    recalls = [len(set(f.tolist()) & set(h.tolist())) / len(h) for f, h in zip(found, held_out, strict=True)]
    assert item_recall_at_k(found, held_out, 10) == pytest.approx(np.mean(recalls))


def test_item_metrics_of_missing_results_repeats_and_nobody():
    missing = np.int32([[2, -1, -1]])
    assert item_recall_at_k(missing, [np.array([-1, 2])], 3) == 0.5  # -1 is no item, whoever names it
    assert item_recall_at_k(missing, [np.array([2, 2, 2, 5])], 3) == 0.5
    for metric in (item_recall_at_k, ndcg_at_k):
        assert np.isnan(metric(missing, [np.array([], np.int32)], 3))
        assert np.isnan(metric(np.empty((0, 3), np.int32), [], 3))


@pytest.mark.parametrize(
    ("rate", "accepted"),
    [(0.0, 1), (0.19, 1), (0.2, 2), (0.4, 2), (0.6, 2), (0.8, 3), (1.0, 4)],
)
def test_true_accepts_exceed_the_lowest_threshold_that_lets_few_impostors_in(rate, accepted):
    # Of 5 impostors 0, 1, 2 … may pass; those at 0.5 tie, so three may pass only as two do.
    genuine = np.float32([0.95, 0.7, 0.4, -np.inf])
    impostors = np.float32([0.9, 0.5, 0.5, 0.5, -np.inf])
    assert true_accept_rate(genuine, impostors, rate) == accepted / 4


def test_a_rate_that_floats_just_miss_still_allows_the_whole_number():
    impostors = np.arange(100, dtype=np.float32)
    assert true_accept_rate(np.float32([71, 70]), impostors, 0.29) == 0.5  # 29 allowed: above 70


def test_true_accepts_need_pairs_of_both_kinds():
    some, none = np.float32([0.5]), np.float32([])
    assert np.isnan(true_accept_rate(none, some, 0.1))
    assert np.isnan(true_accept_rate(some, none, 0.1))


def test_bad_calls_of_item_metrics_and_rates_are_refused():
    with pytest.raises(ShapeError, match="held_out: expected one array for each of 3 users; got 2"):
        ndcg_at_k(ITEMS_FOUND, HELD_OUT[:2], 4)
    with pytest.raises(ShapeError, match="at least k = 5"):
        item_recall_at_k(ITEMS_FOUND, HELD_OUT, 5)
    with pytest.raises(ArgumentError, match="false_accept_rate: expected a number from 0 to 1; got 1.5"):
        true_accept_rate(np.float32([1]), np.float32([1]), 1.5)
