"""The contract of every baseline: shapes, dtypes, order, missing places, refusals."""

import numpy as np
import pytest

from gossamer.baselines.exhaustive import ExhaustiveSearcher
from gossamer.baselines.hnsw import HnswSearcher
from gossamer.errors import ArgumentError, EmbeddingsError, ShapeError
from gossamer.metrics import recall_at_k


@pytest.fixture(params=[ExhaustiveSearcher, HnswSearcher], ids=lambda kind: kind.__name__)
def searcher_kind(request):
    if request.param is HnswSearcher:
        pytest.importorskip("faiss")
    return request.param


def unit_rows(rng, n, dim=16):
    rows = rng.standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_results_are_the_largest_inner_products(searcher_kind, rng):
    documents, queries = unit_rows(rng, 500), unit_rows(rng, 20)
    found = searcher_kind(documents).search(queries, k=10)
    scores = queries.astype(np.float64) @ documents.T.astype(np.float64)
    exact = np.argsort(-scores, axis=1, kind="stable")
    assert recall_at_k(found.doc_ids, exact.astype(np.int32), 10) >= (
        1.0 if searcher_kind is ExhaustiveSearcher else 0.99
    )
    assert (found.doc_ids.dtype, found.scores.dtype) == (np.int32, np.float32)
    np.testing.assert_allclose(found.scores, np.take_along_axis(scores, found.doc_ids, axis=1), atol=1e-6)
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_missing_results_are_marked(searcher_kind, rng):
    found = searcher_kind(unit_rows(rng, 3)).search(unit_rows(rng, 2), k=5)
    assert (found.doc_ids[:, 3:] == -1).all()
    assert (found.scores[:, 3:] == -np.inf).all()
    assert sorted(found.doc_ids[0, :3].tolist()) == [0, 1, 2]


def test_no_documents_and_no_queries_are_answered(searcher_kind, rng):
    assert (searcher_kind(unit_rows(rng, 0)).search(unit_rows(rng, 2), k=3).doc_ids == -1).all()
    assert searcher_kind(unit_rows(rng, 5)).search(unit_rows(rng, 0), k=3).doc_ids.shape == (0, 3)


def test_bad_input_is_refused(searcher_kind, rng):
    searcher = searcher_kind(unit_rows(rng, 5))
    with pytest.raises(ArgumentError, match="k: expected"):
        searcher.search(unit_rows(rng, 2), k=0)
    with pytest.raises(ShapeError, match=r"queries: expected shape \(n, 16\)"):
        searcher.search(unit_rows(rng, 2, dim=8))
    with pytest.raises(EmbeddingsError, match="row 1 holds others"):
        searcher_kind(np.float32([[1, 2], [np.nan, 1]]))
    with pytest.raises(EmbeddingsError, match="dtype int64"):
        searcher_kind(np.array([[1, 2]]))


def test_equal_scores_are_ordered_by_doc_id():
    documents = np.float32([[0, 1], [1, 0], [1, 0], [2, 0], [1, 0]])
    assert ExhaustiveSearcher(documents).search(np.float32([[1, 0]]), k=3).doc_ids.tolist() == [[3, 1, 2]]
