"""The best k against their definition."""

import itertools

import numpy as np
import pytest

from gossamer.kernels import reference, topk

SCORES = np.float32([-np.inf, -3e38, -2, -1e-45, 0, 1e-45, 0.5, 1, 1.0000001, 3e38, np.inf])


def test_ranks_order_by_score_and_then_by_smaller_doc_id():
    doc_ids = [2**31 - 1, 70_000, 1, 0]
    ranks = [topk.rank_of(score, doc_id) for score, doc_id in itertools.product(SCORES, doc_ids)]
    assert all(low < high for low, high in itertools.pairwise(ranks))


def test_a_rank_gives_back_its_score_and_doc_id():
    for score, doc_id in itertools.product(SCORES, [0, 65_536, 2**31 - 1]):
        rank = np.uint64(topk.rank_of(score, doc_id))  # Python's int is a signed one to numba
        assert topk.score_of(rank) == score
        assert topk.doc_id_of(rank) == doc_id


@pytest.mark.parametrize(("n", "k"), [(0, 3), (1, 1), (5, 9), (9, 5), (2000, 10), (2000, 1000), (2000, 1999)])
@pytest.mark.parametrize("n_scores", [1, 3, 10_000])
def test_the_best_are_written_best_first(rng, n, k, n_scores):
    scores, doc_ids = rng.integers(-n_scores, n_scores, n).astype(np.float32), rng.permutation(n)
    ranks = np.array([topk.rank_of(*document) for document in zip(scores, doc_ids, strict=True)], np.uint64)
    found = np.zeros(k, np.int32), np.zeros(k, np.float32)
    topk.write_best(ranks, *found)
    expected = reference.best(scores, doc_ids, k)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("arrangement", [np.sort, lambda ranks: np.sort(ranks)[::-1], lambda ranks: ranks])
def test_selection_puts_the_kth_best_in_its_place(rng, arrangement):
    for size, k in [(1, 1), (2, 1), (20, 10), (20, 20), (1000, 1), (1000, 500)]:
        ranks = np.ascontiguousarray(arrangement(rng.permutation(size).astype(np.uint64)))
        topk.select_best(ranks, k)
        assert sorted(ranks[:k].tolist()) == list(range(size - k, size))
        assert ranks[k - 1] == size - k
