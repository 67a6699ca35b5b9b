"""Calibration after training: drop the small entries, so that a search costs what it may and dims are even.

Most entries of a trained embedding are small: they make most of the FLOPs and little of the score.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from gossamer.arrays import FloatArray
from gossamer.errors import ConfigError, DataError
from gossamer.learning.encoder import Encoder
from gossamer.learning.encoding import encode_dense

MAX_ROWS = 8192
"""How many images are encoded, at most; their quantiles are what is wanted."""


def calibrate(encoder: Encoder, pixels: NDArray[np.uint8], *, flops_per_document: float, device: str = "cpu") -> None:
    r"""Set the head's thresholds so that every dimension is nonzero in an equal share of these images.

    The share is :math:`\sqrt{F/d}`: perfectly even rows of that share cost F FLOPs per document. Each
    dimension has its own threshold, the quantile of its magnitudes, because encoders are less even on
    images other than those they learned from, and part of that unevenness is always the same. On
    unseen classes the cost is larger than F, by a factor of about their sub-optimality ratio.

    Parameters
    ----------
    encoder : Encoder
        A sparse one; its ``head.thresholds`` are replaced, in place.
    pixels : array, shape (n, channels, image_size, image_size), uint8
        At least one image, of the kind that will be searched; of more than `MAX_ROWS`, evenly spaced ones.
    flops_per_document : float
        F, above 0 and at most d. Dimensions that are sparser already stay as they are.
    device : str
        Where to encode.

    Raises
    ------
    ConfigError
        If the encoder is dense, or F out of its range.
    DataError
        If there are no images.
    """
    dim = encoder.config.dim
    if not encoder.is_sparse:
        raise ConfigError("encoder: expected a sparse one to calibrate; got activation 'none'")
    if not 0 < flops_per_document <= dim:
        raise ConfigError(f"flops_per_document: expected above 0 and at most dim = {dim}; got {flops_per_document}")
    if len(pixels) == 0:
        raise DataError("pixels: expected at least one image to calibrate with; got none")
    chosen = np.linspace(0, len(pixels) - 1, min(len(pixels), MAX_ROWS)).astype(np.int64)
    encoder.head.thresholds.zero_()
    magnitudes = np.abs(encode_dense(encoder, pixels[chosen], device=device))
    encoder.head.thresholds.copy_(torch.from_numpy(_thresholds(magnitudes, math.sqrt(flops_per_document / dim))))


def _thresholds(magnitudes: FloatArray, share: float) -> FloatArray:
    """Return, of each column, a magnitude that a ``share`` of its entries exceeds."""
    n_kept = round(share * len(magnitudes))
    rank = len(magnitudes) - n_kept - 1
    if rank < 0:
        return np.zeros(magnitudes.shape[1], np.float32)
    if n_kept == 0:
        largest: FloatArray = magnitudes.max(axis=0)
        return largest
    # Half-way to the next larger: on an entry itself, rounding would decide whether that is kept.
    around = np.partition(magnitudes, (rank, rank + 1), axis=0)[rank : rank + 2]
    thresholds: FloatArray = around.mean(axis=0, dtype=np.float32)
    return thresholds
