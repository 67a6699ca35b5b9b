"""Calibration of a sparsifier: thresholds by which unseen rows meet the budget against the corpus."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gossamer.arrays import DoubleArray, FloatArray
from gossamer.learning.sparsifier.network import SparsifierNetwork

_N_HALVINGS, _STEP = 14, 1.25


@torch.no_grad()
def calibrate_network(
    network: SparsifierNetwork, corpus: Tensor, unseen: Tensor, *, flops_per_document: float
) -> float:
    r"""Set the head's thresholds so that unseen rows cost F against the corpus; return what they cost.

    Every dimension is nonzero in an equal share of the corpus, so that it is even: its threshold is the
    quantile of its magnitudes. A share of :math:`\sqrt{F/d}` makes the corpus cost F against itself; rows
    that were not learned from, as queries are not, use other dimensions a little more or less. The share
    is therefore found by halving, on rows held out from training.

    Parameters
    ----------
    network : SparsifierNetwork
        In evaluation mode; its ``head.thresholds`` are replaced, in place.
    corpus, unseen : Tensor, shapes (n, width) and (m, width)
        Dense rows of length 1: a sample of the corpus, and rows that stand for queries.
    flops_per_document : float
        F. Where even undropped entries cost less, nothing is dropped and the cost is below it.
    """
    network.head.thresholds.zero_()
    documents, queries = (network(rows).abs().cpu().numpy() for rows in (corpus, unseen))

    def cost(thresholds: FloatArray) -> float:
        return float(_frequencies(documents, thresholds) @ _frequencies(queries, thresholds))

    ascending = np.sort(documents, axis=0)
    low, high, share = 0.0, 1.0, math.sqrt(flops_per_document / documents.shape[1])
    for _ in range(_N_HALVINGS):
        is_below = cost(_thresholds(ascending, share)) < flops_per_document
        low, high = (share, high) if is_below else (low, share)
        # What is wanted is near the first guess: by small steps, until it lies between two.
        share = share * _STEP if high == 1.0 else share / _STEP if low == 0.0 else (low + high) / 2
    thresholds = _thresholds(ascending, low)
    network.head.thresholds.copy_(torch.from_numpy(thresholds))
    return cost(thresholds)


def _frequencies(magnitudes: FloatArray, thresholds: FloatArray) -> DoubleArray:
    """Return the share of rows that keep each entry, as `SparseHead` keeps them."""
    is_kept = magnitudes > thresholds
    is_kept |= magnitudes == magnitudes.max(axis=1, keepdims=True)
    is_kept &= magnitudes > 0
    frequencies: DoubleArray = is_kept.mean(axis=0)
    return frequencies


def _thresholds(ascending: FloatArray, share: float) -> FloatArray:
    """Return, of each column of ascending magnitudes, one that a ``share`` of its entries exceeds."""
    n = len(ascending)
    n_kept = round(share * n)
    if n_kept >= n:
        return np.zeros(ascending.shape[1], np.float32)
    if n_kept == 0:
        largest: FloatArray = ascending[-1]
        return largest
    # Half-way to the next larger: on an entry itself, rounding would decide whether that is kept.
    thresholds: FloatArray = ascending[n - n_kept - 1 : n - n_kept + 1].mean(axis=0, dtype=np.float32)
    return thresholds
