"""Calibration of a sparsifier: thresholds by which unseen rows meet the budget against the corpus."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gossamer.arrays import DoubleArray, FloatArray
from gossamer.learning.calibration import meet_cost
from gossamer.learning.sparsifier.network import SparsifierNetwork


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

    first_share = math.sqrt(flops_per_document / documents.shape[1])
    found = meet_cost(np.sort(documents, axis=0), cost, target=flops_per_document, first_share=first_share)
    network.head.thresholds.copy_(torch.from_numpy(found.thresholds))
    return found.cost


@torch.no_grad()
def measure_network(network: SparsifierNetwork, corpus: Tensor, unseen: Tensor) -> float:
    """Return what unseen rows cost against the corpus, dropping what the head's thresholds drop now.

    The parameters are those of `calibrate_network`.
    """
    documents, queries = (network(rows).abs().cpu().numpy() for rows in (corpus, unseen))
    nothing_more = np.zeros(documents.shape[1], np.float32)
    return float(_frequencies(documents, nothing_more) @ _frequencies(queries, nothing_more))


def _frequencies(magnitudes: FloatArray, thresholds: FloatArray) -> DoubleArray:
    """Return the share of rows that keep each entry, as `SparseHead` keeps them."""
    is_kept = magnitudes > thresholds
    is_kept |= magnitudes == magnitudes.max(axis=1, keepdims=True)
    is_kept &= magnitudes > 0
    frequencies: DoubleArray = is_kept.mean(axis=0)
    return frequencies
