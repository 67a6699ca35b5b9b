"""Which images a step learns from."""

import numpy as np
import pytest

from gossamer.errors import ConfigError, TrainingError
from gossamer.learning.training.sampling import BalancedRows

TARGETS = np.random.default_rng(0).permutation(np.repeat(np.arange(6), [9, 1, 4, 3, 9, 2]))


def test_a_batch_holds_as_many_images_of_each_of_its_classes_and_all_classes_come_up():
    draw = BalancedRows(TARGETS, batch_size=16, rows_per_class=4, seed=0)
    times = np.zeros(6)
    for step in range(300):
        rows = draw(step)
        classes, counts = np.unique(TARGETS[rows], return_counts=True)
        assert counts.tolist() == [4, 4, 4, 4]
        times[classes] += 1
    assert times == pytest.approx([200] * 6, rel=0.15)  # evenly, whatever their sizes


def test_images_are_drawn_evenly_and_repeated_only_where_a_class_has_too_few():
    draw = BalancedRows(TARGETS, batch_size=8, rows_per_class=4, seed=0)
    times = np.zeros(len(TARGETS))
    for step in range(900):
        rows, repeats = np.unique(draw(step), return_counts=True)
        for row, repeat in zip(rows, repeats, strict=True):
            n_members = (TARGETS[row] == TARGETS).sum()
            assert repeat in (4 // n_members, -(-4 // n_members))
            times[row] += repeat
    for label, n_members in enumerate(np.bincount(TARGETS)):
        assert times[label == TARGETS] == pytest.approx([1200 / n_members] * n_members, rel=0.25)


def test_seed_and_step_alone_decide():
    draw, again = (BalancedRows(TARGETS, batch_size=8, rows_per_class=2, seed=3) for _ in range(2))
    first = [draw(step).tolist() for step in range(5)]
    assert [again(step).tolist() for step in reversed(range(5))] == first[::-1]
    assert BalancedRows(TARGETS, batch_size=8, rows_per_class=2, seed=4)(0).tolist() != first[0]


@pytest.mark.parametrize(("batch_size", "rows_per_class"), [(9, 2), (4, 4), (8, 0)])
def test_a_batch_that_cannot_be_so_made_up_is_refused(batch_size, rows_per_class):
    with pytest.raises(ConfigError, match=f"batch_size: expected a multiple of rows_per_class = {rows_per_class}"):
        BalancedRows(TARGETS, batch_size=batch_size, rows_per_class=rows_per_class, seed=0)


def test_more_classes_than_there_are_are_refused():
    with pytest.raises(TrainingError, match="16 images of 2 a class need 8 classes; there are 6. Lower batch_size"):
        BalancedRows(TARGETS, batch_size=16, rows_per_class=2, seed=0)
