"""Calibration after training: drop the small entries, so that a search costs what it may and dims are even.

Most entries of a trained embedding are small: they make most of the FLOPs and little of the score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from gossamer.arrays import FloatArray, OffsetArray
from gossamer.errors import ConfigError, DataError
from gossamer.learning.budget import FlopsBudget
from gossamer.learning.cost import measured_cost
from gossamer.learning.encoder import Encoder
from gossamer.learning.encoding import encode_dense

MAX_ROWS = 8192
"""How many images are encoded, at most; their quantiles are what is wanted."""

_CLOSE_ENOUGH = 0.002
_MAX_HALVINGS = 40
_GOLDEN = 0.6180339887498949

_Kind = TypeVar("_Kind", bound=np.generic)


class CostSample(NamedTuple):
    """Images on which a cost is measured, none of them learned from."""

    pixels: NDArray[np.uint8]
    """Shape (n, channels, image_size, image_size); at least two images."""
    labels: OffsetArray | None = None
    """The class of each, if they are all images of some classes; see `gossamer.learning.measured_cost`."""
    n_classes: int | None = None
    """How many classes the corpus has, with labels."""


class Calibration(NamedTuple):
    """Thresholds, and what rows cost with them."""

    thresholds: FloatArray  # shape (dim,)
    cost: float  # of the sample, in the unit of the budget


def calibrate(
    encoder: Encoder,
    pixels: NDArray[np.uint8],
    *,
    budget: FlopsBudget,
    sample: CostSample | None = None,
    margin: float = 0.0,
    device: str = "cpu",
) -> float:
    r"""Set the head's thresholds so that a sample of images meets a budget, with even dimensions.

    Each dimension has its own threshold, a quantile of its magnitudes: every one is then nonzero in an
    equal share of ``pixels``. That share is the one number that is fitted, so that the sample may be
    small; it is sought by halving until the sample costs what the budget says. Encoders are less even on
    classes that they did not learn from, so that those cost more: if such will be searched, they belong
    in the sample.

    Parameters
    ----------
    encoder : Encoder
        A sparse one; its ``head.thresholds`` are replaced, in place.
    pixels : array, shape (n, channels, image_size, image_size), uint8
        At least one image, of the kind that will be searched; of more than `MAX_ROWS`, evenly spaced ones.
    budget : FlopsBudget
        The cost to meet. If even the whole rows cost less, nothing is dropped; if the largest entries of
        the rows alone cost more, nothing else is kept.
    sample : CostSample, optional
        On what the cost is measured; ``pixels`` if it is left out.
    margin : float
        By what share of itself to stay below the budget, at least 0 and below 1: for a corpus that costs more
        than the sample.
    device : str
        Where to encode.

    Returns
    -------
    float
        What the sample costs now, in the unit of the budget.

    Raises
    ------
    ConfigError
        If the encoder is dense, the budget above its dimensions, or the margin out of its range.
    DataError
        If there are no images, or fewer than two to measure on.
    """
    if not encoder.is_sparse:
        raise ConfigError("encoder: expected a sparse one to calibrate; got activation 'none'")
    budget.share(encoder.config.dim)  # refuses what is above dim
    if not 0 <= margin < 1:
        raise ConfigError(f"margin: expected at least 0 and below 1; got {margin}")
    if len(pixels) == 0:
        raise DataError("pixels: expected at least one image to calibrate with; got none")
    before = encoder.head.thresholds.clone()
    encoder.head.thresholds.zero_()
    try:
        magnitudes = np.abs(encode_dense(encoder, spaced(pixels), device=device))
        measured, labels, n_classes = magnitudes, None, None
        if sample is not None:
            measured = np.abs(encode_dense(encoder, spaced(sample.pixels), device=device))
            labels, n_classes = None if sample.labels is None else spaced(sample.labels), sample.n_classes
        found = fit_thresholds(
            magnitudes, budget, sample=measured, labels=labels, n_classes=n_classes, target=(1 - margin) * budget.target
        )
        encoder.head.thresholds.copy_(torch.from_numpy(found.thresholds))
    except BaseException:
        encoder.head.thresholds.copy_(before)
        raise
    return found.cost


def fit_thresholds(
    magnitudes: FloatArray,
    budget: FlopsBudget,
    *,
    sample: FloatArray,
    labels: OffsetArray | None = None,
    n_classes: int | None = None,
    target: float | None = None,
) -> Calibration:
    """Find a threshold for each dimension, so that a sample of rows meets a budget: see `calibrate`.

    Parameters
    ----------
    magnitudes : array, shape (n, dim), float32
        Absolute entries of unit rows, at least one, that give the quantiles.
    budget : FlopsBudget
        The cost to meet.
    sample : array, shape (m, dim), float32
        Absolute entries of at least two unit rows whose cost is measured; may be ``magnitudes``.
    labels, n_classes
        As in `gossamer.learning.measured_cost`, of the sample.
    target : float, optional
        What to meet instead of the budget's target, in its unit.

    Raises
    ------
    DataError
        If the sample has fewer than two rows.
    """
    ascending = np.sort(magnitudes, axis=0)
    rows = torch.from_numpy(sample)
    is_largest = rows == rows.amax(dim=1, keepdim=True)
    rows_labels = None if labels is None else torch.from_numpy(labels)

    def cost(thresholds: FloatArray) -> float:
        # As in SparseHead: no threshold makes a row all zero.
        kept = (rows > 0) & ((rows > torch.from_numpy(thresholds)) | is_largest)
        return measured_cost(budget, kept, rows_labels, n_classes=n_classes)

    dim = magnitudes.shape[1]
    share = budget.share(dim) if budget.target <= dim else 1.0
    return meet_cost(ascending, cost, target=budget.target if target is None else target, first_share=share)


def meet_cost(
    ascending: FloatArray, cost: Callable[[FloatArray], float], *, target: float, first_share: float
) -> Calibration:
    """Find the share of rows that may use each dimension, by halving, so that a cost meets its target.

    Parameters
    ----------
    ascending : array, shape (n, dim), float32
        Magnitudes, each column in ascending order.
    cost : callable
        What thresholds, shape (dim,), cost: the lower they are, the more.
    target : float
        The cost to meet. If even thresholds of 0 cost less, they are returned; if the highest cost more, those.
    first_share : float
        A guess.
    """

    def at(share: float) -> Calibration:
        thresholds = _thresholds(ascending, share)
        return Calibration(thresholds, cost(thresholds))

    whole, least = at(1.0), at(0.0)
    if whole.cost <= target or least.cost >= target:
        return whole if whole.cost <= target else least
    low, high, best, middle = 0.0, 1.0, whole, first_share
    for _ in range(_MAX_HALVINGS):
        found = at(middle)
        if abs(found.cost - target) < abs(best.cost - target):
            best = found
        if abs(best.cost / target - 1) <= _CLOSE_ENOUGH:
            break
        low, high = (middle, high) if found.cost < target else (low, middle)
        middle = (low + high) / 2
    return best


def _thresholds(ascending: FloatArray, share: float) -> FloatArray:
    """Return, of each column, a magnitude that a ``share`` of its entries exceeds; of ascending columns."""
    n, dim = ascending.shape
    # Columns round at places of their own, else all of them would gain an entry at once.
    n_kept = np.floor(share * n + np.arange(1, dim + 1) * _GOLDEN % 1.0).astype(np.int64)
    # Half-way to the next larger: on an entry itself, rounding would decide whether that is kept.
    below, columns = n - 1 - n_kept, np.arange(dim)
    upper = ascending[np.minimum(below + 1, n - 1), columns]
    between = (ascending[np.maximum(below, 0), columns] + upper) / 2
    thresholds: FloatArray = np.where(below < 0, np.float32(0), np.where(n_kept == 0, upper, between))
    return thresholds.astype(np.float32)


def spaced(rows: NDArray[_Kind], *, most: int = MAX_ROWS) -> NDArray[_Kind]:
    """Return some rows, evenly spaced from the first to the last; all where there are no more than ``most``."""
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)
    return rows[chosen]
