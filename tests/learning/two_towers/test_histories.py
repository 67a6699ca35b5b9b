import numpy as np
import pytest

from gossamer.errors import DataError
from gossamer.learning.two_towers import Histories, TwoTowersConfig
from gossamer.learning.two_towers.histories import UserBatches


def batches(histories, **settings):
    defaults = {"steps": 50, "n_users": 8, "n_targets": 3, "n_negatives": 15}
    return UserBatches(histories, TwoTowersConfig(n_items=histories.n_items, **{**defaults, **settings}))


def test_a_batch_shows_and_asks_for_different_items_of_its_users(histories):
    batch = batches(histories)[3]
    ends = [*batch.starts[1:].tolist(), len(batch.items)]
    owners = [set(histories[user].tolist()) for user in range(len(histories))]
    for row, (start, end) in enumerate(zip(batch.starts.tolist(), ends, strict=True)):
        shown = set(batch.items[start:end].tolist())
        targets = set(batch.targets[batch.target_users == row].tolist())
        assert shown
        assert 0 < len(targets) <= 3
        assert not shown & targets
        assert any(shown | targets <= own for own in owners)


def test_owned_candidates_are_marked(histories):
    batch = batches(histories)[0]
    candidates = np.concatenate([batch.targets, batch.drawn])
    for row in range(8):
        targets = batch.targets[batch.target_users == row].tolist()
        matching = [own for own in map(set, map(np.ndarray.tolist, (histories[u] for u in range(60))))
                    if {c for c, is_own in zip(candidates.tolist(), batch.is_owned[row], strict=True) if is_own} <= own
                    and set(targets) <= own]  # fmt: skip
        assert matching
        assert batch.is_owned[row, np.isin(candidates, targets)].all()


def test_batches_depend_on_seed_and_step_alone(histories):
    first, again, other = batches(histories)[5], batches(histories)[5], batches(histories, seed=1)[5]
    assert all((a == b).all() for a, b in zip(first[:-1], again[:-1], strict=True))
    assert first.drawn.tolist() != other.drawn.tolist()


def test_expected_targets_are_the_mean_of_many_batches(histories):
    served = batches(histories, steps=600)
    counted = np.zeros(histories.n_items)
    for step in range(600):
        counted += np.bincount(served[step].targets, minlength=histories.n_items) / 600
    np.testing.assert_allclose(counted, served.expected_targets(), atol=0.13)
    assert served.expected_targets().sum() == pytest.approx(counted.sum(), rel=0.02)


def test_users_with_one_item_are_not_learned_from():
    histories = Histories([np.array([1]), np.array([0, 2]), np.array([], np.int64)], n_items=3)
    assert histories.learnable.tolist() == [1]
    with pytest.raises(IndexError):
        batches(histories)[50]


@pytest.mark.parametrize(
    ("rows", "message"),
    [([], "at least one user"), ([[0, 0]], "user 0 has one more often"), ([[1], [0, 5]], "user 1 has 0 to 5")],
)
def test_histories_that_cannot_be_are_refused(rows, message):
    with pytest.raises(DataError, match=message):
        Histories([np.array(row) for row in rows], n_items=5)
