"""The pictures of the demo: Omniglot, or scikit-learn's digits where there is no network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from gossamer.datasets.digits import digits
from gossamer.datasets.images import ImageCollection, LabeledImages
from gossamer.datasets.omniglot import Split, omniglot
from gossamer.errors import NotFoundError


@dataclass(frozen=True, kw_only=True)
class DemoData:
    """Pictures to learn from and pictures of other classes to search among."""

    train: LabeledImages
    search: LabeledImages
    description: str
    notice: str = ""
    """What the reader must know before reading the figures; empty for the real thing."""


def load_demo_data(image_size: int, on_progress: Callable[[str, int, int], None]) -> DemoData:
    """Read Omniglot, background and evaluation; without it and without a network, the digits.

    Parameters
    ----------
    image_size : int
        Width and height that pictures are scaled to, in pixels.
    on_progress : callable
        Called with what is being done, how much of it is done, and how much there is.
    """
    try:
        train = _read_omniglot("background", image_size, on_progress)
        search = _read_omniglot("evaluation", image_size, on_progress)
    except NotFoundError as error:
        return _digits_by_class(str(error))
    # A label is the folder of a character: images_evaluation/ALPHABET/CHARACTER.
    alphabets = {label.split("/")[-2] for label in search.labels}
    return DemoData(
        train=train,
        search=search,
        description=(
            f"Omniglot: learned from {len(train):,} images of {train.n_classes} characters; searched among "
            f"{len(search):,} images of {search.n_classes} characters from {len(alphabets)} alphabets never seen."
        ),
    )


def _read_omniglot(split: Split, image_size: int, on_progress: Callable[[str, int, int], None]) -> LabeledImages:
    path = omniglot(split, on_progress=lambda done, total: on_progress(f"download Omniglot {split}", done, total))
    images = ImageCollection.open(path)
    return images.decode(
        size=image_size,
        channels=1,
        on_progress=lambda done, total: on_progress(f"read Omniglot {split}", done, total),
    )


def _digits_by_class(reason: str) -> DemoData:
    small = digits()
    # The backbone halves a picture three times: 8 x 8 pixels would leave one.
    images = replace(small, pixels=small.pixels.repeat(4, axis=2).repeat(4, axis=3))
    is_searched = np.isin(images.labels, ["5", "6", "7", "8", "9"])
    train, search = images.take(np.flatnonzero(~is_searched)), images.take(np.flatnonzero(is_searched))
    return DemoData(
        train=train,
        search=search,
        description=(
            f"Digits of scikit-learn: learned from {len(train):,} images of 0 to 4; searched among {len(search):,} "
            "images of 5 to 9."
        ),
        notice=(
            f"Omniglot could not be read ({reason}), so this run used the small 8 × 8 digits that come with "
            "scikit-learn: five classes to learn from are too few, and its figures say little about the method."
        ),
    )
