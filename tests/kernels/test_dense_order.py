"""Candidates in dense order, against sums and sorts in plain Python."""

import numpy as np
import pytest

from gossamer.kernels.dense_order import order_candidates


def expected_order(candidates, query, rows, k):
    """Add float32 products up one by one, and sort by score and doc_id."""
    scored = []
    for doc_id in candidates:
        total = np.float32(0)
        for one, other in zip(query, rows[doc_id], strict=True):
            total = np.float32(total + np.float32(one * other))
        scored.append((-total, doc_id))
    best = sorted(scored)[:k]
    missing = k - len(best)
    return [doc_id for _, doc_id in best] + [-1] * missing, [-score for score, _ in best] + [-np.inf] * missing


def ordered(candidates, queries, rows, k):
    doc_ids, scores = np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.float32)
    bad = np.array([-1.0, 0.0])
    order_candidates(candidates, candidates, queries, rows, doc_ids, scores, bad)
    return doc_ids, scores, bad


@pytest.mark.parametrize("values", ["reals", "ties"])
@pytest.mark.parametrize("k", [1, 5, 30])
def test_any_number_of_candidates_is_put_in_order(rng, k, values):
    shapes = (40, 9), (17, 9)
    rows, queries = (
        (rng.standard_normal(shape) if values == "reals" else rng.integers(-1, 2, shape)).astype(np.float32)
        for shape in shapes
    )
    candidates = np.full((17, 16), -1, np.int32)  # 0 to 16 of them: whole groups of four, and what is left over
    for n in range(17):
        candidates[n, :n] = rng.permutation(40)[:n]
    doc_ids, scores, bad = ordered(candidates, queries, rows, k)
    assert bad[0] == -1
    for n in range(17):
        expected = expected_order(candidates[n, :n].tolist(), queries[n], rows, k)
        assert (doc_ids[n].tolist(), scores[n].tolist()) == expected


def test_sums_of_negative_zeros_tie_with_sums_of_zeros():
    rows = np.float32([[0, 0], [-0.0, -0.0], [0, 0], [1, 0]])
    doc_ids, scores, _ = ordered(np.int32([[2, 1, 0, 3]]), np.ones((1, 2), np.float32), rows, 4)
    assert doc_ids.tolist() == [[3, 0, 1, 2]]
    assert scores.tolist() == [[1, 0, 0, 0]]


@pytest.mark.parametrize("place", [0, 3, 4, 5])
def test_the_first_score_that_is_not_finite_is_named(place):
    rows = np.ones((6, 2), np.float32)
    rows[place:] = np.inf
    _, _, bad = ordered(np.arange(6, dtype=np.int32)[None], np.ones((1, 2), np.float32), rows, 2)
    assert bad.tolist() == [place, np.inf]
