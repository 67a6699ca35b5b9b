"""What two kinds of codes cost each other, and thresholds by which they cost what they may."""

from __future__ import annotations

import math

import numpy as np
import torch

from gossamer.arrays import DoubleArray, FloatArray
from gossamer.learning.calibration import meet_cost
from gossamer.learning.two_towers.network import TwoTowersNetwork


def towers_cost(users: FloatArray, items: FloatArray) -> float:
    r"""Return the FLOPs per item of codes, shapes (n, dim) and (m, dim): :math:`\sum_j p_j^{user} p_j^{item}`."""
    return float((users != 0).mean(axis=0) @ (items != 0).mean(axis=0))


@torch.no_grad()
def calibrate_towers(
    network: TwoTowersNetwork, users: FloatArray, items: FloatArray, *, flops_per_item: float
) -> float:
    r"""Set the thresholds of both heads so that users cost F against items; return what they cost.

    In each tower, a dimension's threshold is the quantile of its magnitudes, so that it is nonzero in an equal share
    of the rows. Items give up half of what is too much, as factors go: from a cost C of whole codes to
    :math:`\sqrt{C F}`; users the rest.

    Parameters
    ----------
    network : TwoTowersNetwork
        Sparse; its heads' ``thresholds`` are replaced, in place.
    users, items : arrays, shapes (n, dim) and (m, dim), float32
        Codes of length 1 of all users and items, or of many, from which nothing is dropped.
    flops_per_item : float
        F. Where whole codes cost less, nothing is dropped and the cost is below it.
    """
    users, items = np.abs(users), np.abs(items)
    whole_users, whole = _frequencies(users, None), towers_cost(users, items)
    between = math.sqrt(max(whole, flops_per_item) * flops_per_item)
    dim = users.shape[1]

    def items_cost(thresholds: FloatArray) -> float:
        return float(whole_users @ _frequencies(items, thresholds))

    of_items = meet_cost(
        np.sort(items, axis=0), items_cost, target=between, first_share=math.sqrt(min(1.0, between / dim))
    )
    item_frequencies = _frequencies(items, of_items.thresholds)

    def users_cost(thresholds: FloatArray) -> float:
        return float(_frequencies(users, thresholds) @ item_frequencies)

    of_users = meet_cost(
        np.sort(users, axis=0), users_cost, target=flops_per_item, first_share=math.sqrt(flops_per_item / dim)
    )
    for head, found in ((network.item_head, of_items), (network.user_head, of_users)):
        head.thresholds.copy_(torch.from_numpy(found.thresholds))
    return of_users.cost


def _frequencies(magnitudes: FloatArray, thresholds: FloatArray | None) -> DoubleArray:
    """Return the share of rows that keep each entry, as `SparseHead` keeps them; of whole rows without thresholds."""
    is_kept = magnitudes > 0
    if thresholds is not None:
        is_kept &= (magnitudes > thresholds) | (magnitudes == magnitudes.max(axis=1, keepdims=True))
    frequencies: DoubleArray = is_kept.mean(axis=0)
    return frequencies
