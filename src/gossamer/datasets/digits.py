"""The handwritten digits that come with scikit-learn: real images for where there is no network."""

from __future__ import annotations

import numpy as np

from gossamer.catalog import Catalog
from gossamer.datasets.images import LabeledImages
from gossamer.errors import MissingDependencyError


def digits() -> LabeledImages:
    """Return 1,797 handwritten digits of 8 × 8 pixels, dark on white as Omniglot's characters are.

    Keys are like ``3/0013`` (the digit, the image's number), labels ``0`` to ``9``. Source: Alpaydin
    and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.

    Raises
    ------
    MissingDependencyError
        If scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependencyError(
            "The digits come with scikit-learn, which is not installed: pip install 'gossamer[learn]'"
        ) from error
    images, classes = load_digits(return_X_y=True)
    # Ink is 0 to 16.
    pixels = np.round(255 - images * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = classes.astype(np.str_)
    keys = np.array([f"{label}/{row:04}" for row, label in enumerate(labels)])
    return LabeledImages(pixels=pixels, catalog=Catalog(n=len(keys), keys=keys, labels=labels))
