import numpy as np
import pytest

from gossamer import InvertedIndex
from gossamer.baselines.exhaustive import ExhaustiveSearcher
from gossamer.embeddings import as_embeddings
from gossamer.study.ratings.searchers import UnseenSearcher, UserQueries, item_neighbours, owned_rows


def test_what_a_user_has_is_not_found(rng):
    items, users = rng.integers(0, 4, (30, 6)).astype(np.float32), rng.integers(0, 4, (5, 6)).astype(np.float32)
    seen = [rng.choice(30, n, replace=False) for n in (0, 3, 12, 29, 30)]
    found = UnseenSearcher(ExhaustiveSearcher(items)).search(UserQueries(users, seen), k=4)
    for row, own in enumerate(seen):
        order = [i for i in np.lexsort((np.arange(30), -(items @ users[row]))) if i not in own][:4]
        assert found.doc_ids[row].tolist() == order + [-1] * (4 - len(order))
        assert found.scores[row, len(order) :].tolist() == [-np.inf] * (4 - len(order))


def test_users_are_searched_alike_alone_and_together(rng):
    items = as_embeddings(owned_rows([rng.choice(9, 3, replace=False) for _ in range(20)], 9))
    queries = UserQueries(items[:6], [np.arange(n) for n in range(6)])
    searcher = UnseenSearcher(InvertedIndex.build(items))
    together = searcher.search(queries, k=5)
    for row in range(6):
        alone = searcher.search(queries[row : row + 1], k=5)
        np.testing.assert_array_equal(alone.doc_ids[0], together.doc_ids[row])
    assert len(queries[2:4]) == 2


def test_neighbours_are_those_of_a_loop():
    histories = [np.array([0, 1, 2]), np.array([0, 1]), np.array([1, 3]), np.array([2])]
    owned = owned_rows(histories, 5)
    counts = [2, 3, 2, 1]
    together = {(0, 1): 2, (0, 2): 1, (1, 2): 1, (1, 3): 1}
    expected = np.zeros((5, 5))
    for (i, j), n in together.items():
        expected[i, j] = expected[j, i] = n / np.sqrt(counts[i] * counts[j])
    np.testing.assert_allclose(item_neighbours(owned, n_neighbours=4).toarray(), expected, rtol=1e-6)
    nearest = item_neighbours(owned, n_neighbours=1).toarray()
    assert (nearest != 0).sum(axis=1).tolist() == [1, 1, 1, 1, 0]
    assert nearest[1, 0] == pytest.approx(2 / np.sqrt(6))
