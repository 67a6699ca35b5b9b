"""Batches: how many, of what, and keyed by seed and step."""

import itertools

import numpy as np
import pytest

from gossamer.errors import DataError, TrainingError
from gossamer.learning import ImageDataModule


def rows_of(images, batch):
    """Which images a batch holds."""
    places = {image.tobytes(): row for row, image in enumerate(images.pixels)}
    return [places[image.numpy().tobytes()] for image in batch.pixels]


@pytest.mark.parametrize("steps", [1, 5, 23])
def test_there_are_exactly_as_many_batches_as_steps(images, steps):
    batches = list(ImageDataModule(images, steps=steps, batch_size=24).train_dataloader())
    assert [batch.step for batch in batches] == list(range(steps))
    assert all(batch.pixels.shape == (24, 1, 16, 16) and batch.targets.shape == (24,) for batch in batches)


def test_every_image_is_drawn_once_before_any_is_drawn_again(images):
    batches = ImageDataModule(images, steps=8, batch_size=24).train_dataloader()
    drawn = list(itertools.chain.from_iterable(rows_of(images, batch) for batch in batches))
    rounds = [drawn[start : start + 64] for start in (0, 64, 128)]
    assert all(sorted(round_) == list(range(64)) for round_ in rounds)
    assert rounds[0] != rounds[1] != list(range(64))


def test_targets_number_the_classes_of_the_images(images):
    for batch in ImageDataModule(images, steps=3, batch_size=24).train_dataloader():
        labels = images.labels[rows_of(images, batch)]
        assert [list("abcdefgh")[target] for target in batch.targets.tolist()] == labels.tolist()


def test_a_step_can_be_drawn_without_those_before_it(images):
    in_order = list(ImageDataModule(images, steps=9, batch_size=24, seed=3).train_dataloader())
    alone = ImageDataModule(images, steps=9, batch_size=24, seed=3).train_dataloader().dataset[7]
    assert rows_of(images, alone) == rows_of(images, in_order[7])


def test_another_seed_draws_another_order(images):
    first, second = (
        next(iter(ImageDataModule(images, steps=1, batch_size=24, seed=s).train_dataloader())) for s in (0, 1)
    )
    assert rows_of(images, first) != rows_of(images, second)


def test_batches_may_be_larger_than_the_data(images):
    few = images.take(np.arange(0, 64, 8))
    batch = next(iter(ImageDataModule(few, steps=1, batch_size=24).train_dataloader()))
    assert np.bincount(rows_of(few, batch)).tolist() == [3] * 8


def test_validation_images_come_in_order(images, unseen_images):
    data = ImageDataModule(images, steps=1, batch_size=2, validation=unseen_images)
    np.testing.assert_array_equal(np.concatenate(list(data.val_dataloader())), unseen_images.pixels)


def test_what_cannot_be_learned_from_or_validated_on_is_refused(images):
    with pytest.raises(TrainingError, match="images: expected at least two classes to tell apart; got 1"):
        ImageDataModule(images.take(np.arange(8)), steps=1, batch_size=2)
    with pytest.raises(DataError, match="validation: expected at least one image"):
        ImageDataModule(images, steps=1, batch_size=2, validation=images.take(np.arange(0)))
    with pytest.raises(DataError, match="the data module has none"):
        ImageDataModule(images, steps=1, batch_size=2).val_dataloader()
