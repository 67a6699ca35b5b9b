"""Which of the images to learn from are held out, to measure on what a search costs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gossamer.arrays import OffsetArray, TextArray
from gossamer.errors import TrainingError

SHARE = 0.05
"""Of the images."""

SHARE_OF_CLASSES = 0.1
"""Of the classes, where they are held out whole. What some cost varies with which they are: a twentieth was too few for
what they cost to say within a tenth what others do."""

MIN_CLASSES = 40
"""Classes are held out whole only where the share makes so many: fewer say little of others."""

_MIN_ROWS = 64  # for fewer images the share is larger: up to one in eight
_KEY = 0x5B117  # its draws share nothing with those of the batches


class HeldOut(NamedTuple):
    """What `hold_out` chose."""

    rows: OffsetArray
    """Of the images, ascending: none of them is learned from."""
    are_whole_classes: bool
    """Whether no image of their classes is learned from; if not, every class keeps one at least."""


def hold_out(labels: TextArray, *, seed: int) -> HeldOut:
    """Choose a share of the images at random: some classes whole, or where classes are few, some rows.

    Unseen classes cost more than those that an encoder learned from (measured: by a third), so that a
    budget for unseen classes is to be measured on such. Of fewer than 400 classes every one is needed to
    learn from, and what is searched is mostly they themselves.

    Parameters
    ----------
    labels : array of str, shape (n,)
        The class of each image.
    seed : int
        Keys the choice.

    Raises
    ------
    TrainingError
        If fewer than two images are left beside one of each class.
    """
    rng = np.random.default_rng((seed, _KEY))
    classes, targets = np.unique(labels, return_inverse=True)
    if len(labels) == 0:
        raise TrainingError("images: expected at least two classes to tell apart; got no images")
    if round(SHARE_OF_CLASSES * len(classes)) >= MIN_CLASSES:
        chosen = rng.choice(len(classes), round(SHARE_OF_CLASSES * len(classes)), replace=False)
        return HeldOut(np.flatnonzero(np.isin(targets, chosen)), are_whole_classes=True)
    n = len(labels)
    n_spare = n - len(classes)
    if n_spare < 2:
        raise TrainingError(
            f"images: expected at least two to hold out for the budget, beside one of each class; "
            f"got {n} of {len(classes)} classes"
        )
    order = rng.permutation(n)
    # One image of each class, its last in this order, is not among those to choose from.
    last = np.zeros(len(classes), np.int64)
    last[targets[order]] = np.arange(n)
    spare = np.delete(order, last)
    n_chosen = max(2, round(SHARE * n), min(_MIN_ROWS, n // 8))
    return HeldOut(np.sort(spare[:n_chosen]), are_whole_classes=False)
