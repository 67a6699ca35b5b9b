"""Metrics against numbers worked out by hand, and tied to what the machine does."""

import numpy as np
import pytest

from gossamer import SparseEmbeddings
from gossamer.errors import ShapeError
from gossamer.metrics import (
    dead_dims,
    dim_frequencies,
    flops_per_document,
    hit_rate_at_k,
    precision_at_k,
    recall_at_k,
    suboptimality_ratio,
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
