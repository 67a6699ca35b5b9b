"""Scores from the rows against the reference, to the bit, and the best of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer.kernels import reference, rows, topk
from rows import csr, integer_embeddings
from search_cases import KINDS, draw_rows


def assert_scores_equal_the_reference(documents, query, *, k, threshold, doc_ids=None, start=0):
    """Score all rows from ``start`` on and compare the best k above the threshold."""
    stored = documents if doc_ids is None else documents[doc_ids]
    indptr, dims, values = csr(stored)
    dims = dims.astype(np.uint16) if documents.dim <= 1 << 16 else dims
    own = indptr, dims, values, np.empty(0, np.int32) if doc_ids is None else doc_ids
    dense, ranks = np.zeros(documents.dim, np.float32), np.zeros(2 * k, np.uint64)
    asked = (query.indptr, query.values, np.arange(query.nnz)), query.dims, 0
    rows.spread(*asked, dense)
    candidates = np.arange(start, len(stored), dtype=np.int32)
    n, raised = rows.score_rows(own, candidates, dense, np.float32(threshold), 0, ranks)
    n, raised = rows.keep_best(ranks, n, k, np.float32(raised))
    rows.clear(*asked, dense)
    assert not dense.any()
    scores, _ = reference.score_documents(csr(documents), query.dims, query.values)
    kept = np.arange(len(documents)) if doc_ids is None else doc_ids.astype(np.int64)
    kept = kept[start:][scores[kept[start:]] > threshold]
    expected = reference.best(scores[kept], kept, k)
    found = np.zeros(k, np.int32), np.zeros(k, np.float32)
    topk.write_best(ranks[:n], *found)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1].view(np.uint32), expected[1].view(np.uint32))
    if n < k:
        assert raised == np.float32(threshold)
    else:  # what ties with the k-th best can still be among them, and nothing below it
        assert threshold <= raised < found[1][-1]
        between = found[1][-1] if found[1][-1] == 0 else np.nextafter(np.float32(raised), np.float32(np.inf))
        assert max(np.float32(threshold), between) <= found[1][-1]


@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(list(KINDS)),
    k=st.sampled_from([1, 2, 10, 300]),
    threshold=st.sampled_from([0.0, -np.inf, 0.5, -3.0, 1e-45, 1e30]),
    is_ordered=st.booleans(),
)
def test_scores_have_the_bits_of_the_reference(*, seed, kind, k, threshold, is_ordered):
    rng = np.random.default_rng(seed)
    drawn = draw_rows(rng, kind)
    doc_ids = rng.permutation(len(drawn.documents)).astype(np.int32) if is_ordered else None
    for row in range(min(3, len(drawn.queries))):
        query = drawn.queries[row : row + 1]
        assert_scores_equal_the_reference(drawn.documents, query, k=k, threshold=threshold, doc_ids=doc_ids)


@pytest.mark.parametrize("n", [0, 1, 5, 11, 12, 13, 24])
def test_fewer_rows_than_are_fetched_ahead_are_scored_too(rng, n):
    documents = integer_embeddings(rng, n=n, dim=5, density=0.8)
    query = integer_embeddings(rng, n=1, dim=5, density=1.0)
    for start in (0, n // 2):
        assert_scores_equal_the_reference(documents, query, k=4, threshold=-np.inf, start=start)


TINY = np.float32(2.0**-149)


@pytest.mark.parametrize(
    ("scores", "k", "raised"),
    [
        ([3, 2, 1], 2, np.nextafter(np.float32(2), np.float32(0))),
        ([3, -2, -5], 2, np.nextafter(np.float32(-2), np.float32(-3))),
        ([1, 0], 2, -TINY),  # there is no score of -0, so that the next below 0 is this
        ([1, TINY], 2, 0),
        ([1, -TINY], 2, -2 * TINY),
        ([3, 2], 3, -np.inf),  # not yet k
        ([3e38, -3.4028235e38], 2, -np.inf),
    ],
)
def test_the_threshold_is_one_step_below_the_kth_best(scores, k, raised):
    ranks = np.array([topk.rank_of(np.float32(score), 7) for score in scores] + [0] * 5, np.uint64)
    n, threshold = rows.keep_best(ranks, len(scores), k, np.float32(-np.inf))
    assert n == min(k, len(scores))
    assert threshold == np.float32(raised)


def test_the_threshold_never_falls():
    ranks = np.array([topk.rank_of(np.float32(score), 7) for score in [1, 2]], np.uint64)
    assert rows.keep_best(ranks, 2, 1, np.float32(1.5))[1] < 2
    assert rows.keep_best(ranks, 1, 1, np.float32(1.9999999))[1] == np.float32(1.9999999)


@pytest.mark.parametrize("kept", [[], [0], [4, 1, 1, 9], list(range(10))])
def test_gathered_rows_are_copies_in_the_order_asked_for(rng, kept):
    documents = integer_embeddings(rng, n=10, dim=6, density=0.5)
    expected = documents[np.array(kept, int)]
    dims, values = np.zeros(expected.nnz, np.int32), np.zeros(expected.nnz, np.float32)
    rows.gather_rows(*csr(documents), np.array(kept, np.int32), expected.indptr, dims, values)
    np.testing.assert_array_equal(dims, expected.dims)
    np.testing.assert_array_equal(values, expected.values)


def test_a_query_is_spread_to_its_places_and_taken_away_again(rng):
    searched = integer_embeddings(rng, n=6, dim=9, density=0.5)
    list_dims, query_lists = np.unique(searched.dims, return_inverse=True)
    for q, expected in enumerate(searched.to_dense()):
        dense = np.zeros(9, np.float32)
        rows.spread((searched.indptr, searched.values, query_lists), list_dims, q, dense)
        np.testing.assert_array_equal(dense, expected)
        rows.clear((searched.indptr, searched.values, query_lists), list_dims, q, dense)
        assert not dense.any()


def test_norms_are_those_of_the_rows(rng):
    documents = integer_embeddings(rng, n=20, dim=9, density=0.3)
    norms = np.empty(20)
    rows.write_norms(documents.indptr, documents.values, norms)
    np.testing.assert_allclose(norms, np.linalg.norm(documents.to_dense().astype(float), axis=1), rtol=1e-14)
