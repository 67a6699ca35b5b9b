"""Which images are held out to measure costs on."""

import numpy as np
import pytest

from gossamer.errors import TrainingError
from gossamer.learning.training import ImageDataModule, hold_out


def test_many_classes_are_held_out_whole_and_nothing_of_them_is_learned():
    labels = np.repeat(np.arange(600).astype(str), 3)
    held_out = hold_out(labels, seed=0)
    assert held_out.are_whole_classes
    kept = np.delete(labels, held_out.rows)
    assert len(np.unique(labels[held_out.rows])) == 60
    assert not np.isin(kept, labels[held_out.rows]).any()
    assert len(kept) + len(held_out.rows) == len(labels) == len(set(held_out.rows)) + len(kept)


@pytest.mark.parametrize(
    ("n_classes", "per_class", "n_chosen"), [(10, 400, 200), (10, 40, 50), (300, 2, 64), (3, 2, 2)]
)
def test_of_few_classes_rows_are_held_out_and_every_class_keeps_one(n_classes, per_class, n_chosen):
    labels = np.tile(np.arange(n_classes).astype(str), per_class)
    for seed in range(5):
        held_out = hold_out(labels, seed=seed)
        assert not held_out.are_whole_classes
        assert len(held_out.rows) == len(set(held_out.rows.tolist())) == n_chosen
        assert (np.diff(held_out.rows) > 0).all()
        assert len(np.unique(np.delete(labels, held_out.rows))) == n_classes


def test_the_seed_chooses_and_nothing_else():
    labels = np.repeat(np.arange(600).astype(str), 3)
    np.testing.assert_array_equal(hold_out(labels, seed=1).rows, hold_out(labels, seed=1).rows)
    assert not np.array_equal(hold_out(labels, seed=1).rows, hold_out(labels, seed=2).rows)


def test_one_image_of_each_class_leaves_none_to_hold_out():
    with pytest.raises(TrainingError, match="at least two to hold out .* beside one of each class; got 4 of 3 classes"):
        hold_out(np.array(["a", "b", "c", "c"]), seed=0)


def test_no_batch_holds_an_image_that_is_held_out(images):
    held_out = hold_out(images.labels, seed=0)
    data = ImageDataModule(images, steps=10, batch_size=16, held_out=held_out)
    np.testing.assert_array_equal(data.cost_sample.pixels, images.pixels[held_out.rows])
    batches = [batch.pixels.numpy() for batch in data.train_dataloader()]
    learned = {image.tobytes() for pixels in batches for image in pixels}
    unseen = {image.tobytes() for image in data.cost_sample.pixels}
    assert learned.isdisjoint(unseen)
    assert len(learned | unseen) == len(images)
    assert (data.n_images, data.n_classes) == (len(images) - len(held_out.rows), 8)


def test_targets_are_those_of_the_images_that_are_left(images):
    held_out = hold_out(images.labels, seed=0)
    data = ImageDataModule(images, steps=2, batch_size=16, held_out=held_out)
    labels = {image.tobytes(): label for image, label in zip(images.pixels, images.labels, strict=True)}
    for batch in data.train_dataloader():
        expected = [ord(labels[image.tobytes()]) - ord("a") for image in batch.pixels.numpy()]
        assert batch.targets.tolist() == expected
