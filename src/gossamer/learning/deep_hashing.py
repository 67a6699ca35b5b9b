"""SDH: learn k-of-d hash codes end to end, the paper's learned baseline.

Jeong and Song, "Efficient end-to-end learning for quantizable representations", ICML 2018,
arXiv:1805.05809. Each batch, every class is given a code of k ones, so that codes follow the network's outputs
and classes share few buckets; the loss then compares rows in the dimensions of their codes alone. What is
learned is searched by `gossamer.baselines.hash_table`. The abstract and the authors' code
(github.com/maestrojeong/Deep-Hash-Table-ICML18) were at hand, the text was not: numbers of sections are unverified.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gossamer.arrays import AnyArray, DoubleArray
from gossamer.errors import ConfigError, ShapeError
from gossamer.learning.encoder import EncoderConfig
from gossamer.learning.objectives import CUSTOM_OBJECTIVE
from gossamer.results import check_count

if TYPE_CHECKING:
    from gossamer.datasets.images import LabeledImages
    from gossamer.learning.training import TrainedEncoder, TrainingConfig

_ROUNDING = 1e-12  # of the largest output: a shorter path is shorter by more


def assign_codes(outputs: AnyArray, *, n_active: int, collision_weight: float) -> NDArray[np.bool_]:
    r"""Return the codes of k ones that fit the outputs of classes best and collide least, exactly.

    .. math:: \min_{z_1 \dots z_n \in \{0, 1\}^d,\ \|z_p\|_1 = k}
        \ -\sum_p c_p^T z_p + \lambda \sum_{p \ne q} z_p^T z_q

    The second sum is λ Σ_j s_j (s_j − 1) for s_j classes in bucket j: the t-th class to enter costs
    2 λ (t − 1), which grows, so that the minimum is that of a flow from classes through buckets (section 4.1
    of Jeong and Song). It is found by successive shortest paths, n · k of them, each O(n · d) a step.

    Parameters
    ----------
    outputs : array, shape (n_classes, dim)
        c: the mean output of the network over the rows of each class.
    n_active : int
        k, the ones of a code, at most ``dim``.
    collision_weight : float
        λ, what two classes pay for a bucket that they share, each; at least 0.

    Returns
    -------
    array, shape (n_classes, dim), bool
        ``n_active`` true entries in each row.

    Raises
    ------
    ShapeError
        If outputs is not a matrix of finite numbers.
    ConfigError
        If n_active or collision_weight is out of range.

    Examples
    --------
    >>> outputs = [[0.9, 0.8, 0.1], [0.9, 0.2, 0.1]]  # both want bucket 0; the first gives way at less loss
    >>> assign_codes(outputs, n_active=1, collision_weight=1.0).astype(int)
    array([[0, 1, 0],
           [1, 0, 0]])
    """
    gains: DoubleArray = np.asarray(outputs, dtype=np.float64)
    if gains.ndim != 2 or not np.isfinite(gains).all():
        raise ShapeError(f"outputs: expected finite numbers of shape (n_classes, dim); got shape {gains.shape}")
    _check_settings(n_active, collision_weight, gains.shape[1])
    codes = np.zeros(gains.shape, bool)
    for _ in range(n_active):
        for start in range(len(codes)):
            _send_one(codes, -gains, start, 2 * collision_weight)
    return codes


def _send_one(codes: NDArray[np.bool_], costs: DoubleArray, start: int, step: float) -> None:
    """Give class ``start`` one more bucket along the cheapest path of exchanges (Bellman and Ford)."""
    n_classes, dim = codes.shape
    to_class, to_bucket = np.full(n_classes, math.inf), np.full(dim, math.inf)
    class_before, bucket_before = np.zeros(dim, np.int64), np.zeros(n_classes, np.int64)
    to_class[start] = 0.0
    rounding = _ROUNDING * max(1.0, float(np.abs(costs).max()))
    while True:
        # Into a bucket that the class does not hold, and out of one that it holds, which it then leaves.
        entering = np.where(codes, math.inf, to_class[:, None] + costs)
        nearer = entering.min(axis=0) < to_bucket - rounding
        if not nearer.any():
            break
        class_before[nearer] = entering.argmin(axis=0)[nearer]
        to_bucket[nearer] = entering.min(axis=0)[nearer]
        leaving = np.where(codes, to_bucket - costs, math.inf)
        nearer = leaving.min(axis=1) < to_class - rounding
        bucket_before[nearer] = leaving.argmin(axis=1)[nearer]
        to_class[nearer] = leaving.min(axis=1)[nearer]
    bucket = int(np.argmin(to_bucket + step * codes.sum(axis=0)))
    while True:
        mover = class_before[bucket]
        codes[mover, bucket] = True
        if mover == start:
            return
        bucket = int(bucket_before[mover])
        codes[mover, bucket] = False


class DeepHashingLoss(nn.Module):
    r"""Assign a code to each class of a batch, and compare rows in the dimensions of their codes.

    The distance of rows i and j, with the codes h of their classes, is

    .. math:: d_{ij} = \| (h_i \lor h_j) \odot (f_i - f_j) \|_1

    and the loss the mean of d_ap − d_an + margin over the semi-hard triplets: those of an anchor a, another
    row p of its class and a row n of another with d_ap < d_an < d_ap + margin; 0 if there are none. Codes
    carry no gradient. Section 4.2 of Jeong and Song. Distances are those of the authors' code; of a pair's negatives it
    takes the nearest beyond the positive, or the farthest where there is none, and not all within the margin. Their
    second loss, of N pairs, to which that code defaults, is not here.

    Parameters
    ----------
    n_active : int
        k, the ones of a code.
    collision_weight : float
        λ, as in `assign_codes`.
    margin : float
        Above 0.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    """

    def __init__(self, *, n_active: int, collision_weight: float = 0.1, margin: float = 0.2) -> None:
        super().__init__()
        _check_settings(n_active, collision_weight, None)
        if not 0 < margin < math.inf:
            raise ConfigError(f"margin: expected a finite number above 0; got {margin}")
        self.n_active, self.collision_weight, self.margin = n_active, collision_weight, margin

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch: embeddings of shape (b, dim), targets of shape (b,)."""
        distances = masked_distances(embeddings, self.codes(embeddings, targets))
        same = targets[:, None] == targets[None, :]
        positive = same & ~torch.eye(len(targets), dtype=torch.bool, device=targets.device)
        gap = distances[:, None, :] - distances[:, :, None]  # anchor, positive, negative: d_an − d_ap
        chosen = positive[:, :, None] & ~same[:, None, :] & (gap > 0) & (gap < self.margin)
        losses: Tensor = (self.margin - gap) * chosen
        return losses.sum() / chosen.sum().clamp(min=1)

    @torch.no_grad()
    def codes(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Return the code of each row's class, shape (b, dim), bool."""
        classes, row_class = torch.unique(targets, return_inverse=True)
        sums = torch.zeros(len(classes), embeddings.shape[1], dtype=torch.float64, device=embeddings.device)
        sums.index_add_(0, row_class, embeddings.double())
        means = sums / torch.bincount(row_class)[:, None]
        assigned = assign_codes(means.cpu().numpy(), n_active=self.n_active, collision_weight=self.collision_weight)
        return torch.from_numpy(assigned).to(embeddings.device)[row_class]


def masked_distances(embeddings: Tensor, codes: Tensor) -> Tensor:
    """Return ‖(h_i ∨ h_j) ⊙ (f_i − f_j)‖₁ of all pairs of rows, shape (b, b)."""
    differences = (embeddings[:, None, :] - embeddings[None, :, :]).abs()
    distances: Tensor = (differences * (codes[:, None, :] | codes[None, :, :])).sum(dim=2)
    return distances


def train_deep_hashing(
    images: LabeledImages,
    encoder_config: EncoderConfig,
    config: TrainingConfig,
    *,
    loss: DeepHashingLoss,
    validation: LabeledImages | None = None,
    progress: bool = False,
) -> TrainedEncoder:
    """Learn an encoder whose outputs' largest entries are hash codes; its rows are dense, of unit length.

    Parameters
    ----------
    images : LabeledImages
        What to learn from.
    encoder_config : EncoderConfig
        Of activation ``none``; its ``dim`` is that of the codes.
    config : TrainingConfig
        Steps, batches, augmentation and seed. Its loss and regularizer are replaced by ``loss`` alone;
        ``rows_per_class`` must be given, at least 2, for the loss compares rows of one class.
    loss : DeepHashingLoss
        The codes' ones, λ and the margin.
    validation, progress
        As in `gossamer.learning.train_encoder`, whose errors these are too.

    Raises
    ------
    ConfigError
        If the encoder is sparse, smaller than a code, or rows_per_class is missing or 1.
    """
    from gossamer.learning.training import train_encoder

    if encoder_config.activation != "none":
        raise ConfigError(f"activation: expected 'none' for hash codes; got {encoder_config.activation!r}")
    if (config.rows_per_class or 0) < 2:
        raise ConfigError(f"rows_per_class: expected at least 2 for hash codes; got {config.rows_per_class}")
    _check_settings(loss.n_active, loss.collision_weight, encoder_config.dim)
    settings = dataclasses.replace(
        config, loss=CUSTOM_OBJECTIVE, margin=None, scale=None, regularizer="none", budget=None
    )
    return train_encoder(
        images,
        encoder_config,
        settings,
        validation=validation,
        objective=loss,
        progress=progress,
        description="train, deep hashing",
    )


def _check_settings(n_active: int, collision_weight: float, dim: int | None) -> None:
    if check_count(n_active, name="n_active") > (math.inf if dim is None else dim):
        raise ConfigError(f"n_active: expected at most dim = {dim}; got {n_active}")
    if not 0 <= collision_weight < math.inf:
        raise ConfigError(f"collision_weight: expected a finite number of at least 0; got {collision_weight}")
