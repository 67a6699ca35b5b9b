"""The digits that come with scikit-learn."""

import numpy as np

from gossamer.datasets.digits import digits


def test_digits_are_dark_ink_on_white():
    images = digits()
    assert images.pixels.shape == (1797, 1, 8, 8)
    assert (images.pixels.min(), images.pixels.max()) == (0, 255)
    assert np.median(images.pixels[:, 0, :, 0]) == 255


def test_digits_are_named_by_class_and_number():
    images = digits()
    assert images.n_classes == 10
    assert images.catalog.keys[:2].tolist() == ["0/0000", "1/0001"]
    assert images.labels[:2].tolist() == ["0", "1"]
