"""Metric-learning losses by name, from pytorch-metric-learning, with the miners and batches they need."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pytorch_metric_learning.distances import DotProductSimilarity, LpDistance
from pytorch_metric_learning.losses import (
    ArcFaceLoss,
    ContrastiveLoss,
    CosFaceLoss,
    MultiSimilarityLoss,
    NPairsLoss,
    ProxyAnchorLoss,
    TripletMarginLoss,
)
from pytorch_metric_learning.miners import MultiSimilarityMiner, TripletMarginMiner
from torch import Tensor, nn

from gossamer.errors import ConfigError

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""A loss of embeddings, shape (b, dim), and targets, shape (b,): a number."""

CUSTOM_OBJECTIVE = "custom"
"""The name, in a configuration, of a loss that the caller brings."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What a loss takes, and the batches that it learns from."""

    build: Callable[[int, int, float, float], nn.Module]
    """A function of n_classes, dim, margin and scale."""
    margin: float | None = None
    """The margin unless another is given; None if the loss has none."""
    scale: float | None = None
    """The factor of the scores unless another is given; None if the loss has none."""
    rows_per_class: int | None = None
    """How many rows of each class a batch should hold; None if it compares no rows with each other."""


def _arcface(n_classes: int, dim: int, margin: float, scale: float) -> nn.Module:
    loss: nn.Module = ArcFaceLoss(n_classes, dim, margin=math.degrees(margin), scale=scale)
    return loss


def _cosface(n_classes: int, dim: int, margin: float, scale: float) -> nn.Module:
    loss: nn.Module = CosFaceLoss(n_classes, dim, margin=margin, scale=scale)
    return loss


def _proxy_anchor(n_classes: int, dim: int, margin: float, scale: float) -> nn.Module:
    loss: nn.Module = ProxyAnchorLoss(n_classes, dim, margin=margin, alpha=scale)
    return loss


def _triplet(n_classes: int, dim: int, margin: float, scale: float) -> nn.Module:  # noqa: ARG001
    distance = LpDistance(power=2)
    miner = TripletMarginMiner(margin, type_of_triplets="semihard", distance=distance)
    return _Mined(TripletMarginLoss(margin, distance=distance), miner)


def _n_pairs(n_classes: int, dim: int, margin: float, scale: float) -> nn.Module:  # noqa: ARG001
    return _Scaled(NPairsLoss(distance=DotProductSimilarity(normalize_embeddings=False)), scale)


def _multi_similarity(n_classes: int, dim: int, margin: float, scale: float) -> nn.Module:  # noqa: ARG001
    return _Mined(MultiSimilarityLoss(alpha=2.0, beta=scale, base=margin), MultiSimilarityMiner(epsilon=0.1))


def _contrastive(n_classes: int, dim: int, margin: float, scale: float) -> nn.Module:  # noqa: ARG001
    loss: nn.Module = ContrastiveLoss(pos_margin=0.0, neg_margin=margin)
    return loss


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "arcface": Objective(build=_arcface, margin=math.radians(15), scale=32.0),
        "cosface": Objective(build=_cosface, margin=0.2, scale=32.0),
        "proxy-anchor": Objective(build=_proxy_anchor, margin=0.1, scale=32.0),
        "semi-hard-triplet": Objective(build=_triplet, margin=0.2, rows_per_class=4),
        "n-pairs": Objective(build=_n_pairs, scale=32.0, rows_per_class=2),
        "multi-similarity": Objective(build=_multi_similarity, margin=0.5, scale=50.0, rows_per_class=4),
        "contrastive": Objective(build=_contrastive, margin=1.0, rows_per_class=4),
    }
)
"""The losses by name."""


def make_objective(
    name: str, *, n_classes: int, dim: int, margin: float | None = None, scale: float | None = None
) -> nn.Module:
    """Return a new loss module: ``loss(embeddings, targets)``, targets from 0 to n_classes − 1.

    Three learn a vector for each class, with the encoder, and compare rows with those:

    - ``arcface``: Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR
      2019, arXiv:1801.07698. ``cosface``: Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face
      Recognition", CVPR 2018, arXiv:1801.09414. Scale and margin are smaller than those papers', which
      are for millions of faces.
    - ``proxy-anchor``: Kim et al., "Proxy Anchor Loss for Deep Metric Learning", CVPR 2020,
      arXiv:2003.13911.

    The others compare the rows of a batch, and need several of each class:

    - ``semi-hard-triplet``: Schroff et al., "FaceNet: A Unified Embedding for Face Recognition and
      Clustering", CVPR 2015, arXiv:1503.03832, on squared distances; all triplets whose negative is
      farther than the positive, by less than the margin.
    - ``n-pairs``: Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective", NeurIPS
      2016. The paper's embeddings are of any length; ours are of length 1, hence the scale.
    - ``multi-similarity``: Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric
      Learning", CVPR 2019, arXiv:1904.06627, with its miner; α 2, β the scale, λ the margin.
    - ``contrastive``: after Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping",
      CVPR 2006; distances and what they lack to the margin are not squared, and averaged where not 0.

    Parameters
    ----------
    name : str
        One of `OBJECTIVES`.
    n_classes : int
        The classes to learn.
    dim : int
        The dimensions of the embeddings.
    margin : float, optional
        As in the loss's paper: of ``arcface`` in radians, of ``contrastive`` the distance at which
        different classes are left alone.
    scale : float, optional
        The factor of the cosines.

    Raises
    ------
    ConfigError
        If the name is unknown, or margin or scale out of range or given to a loss that has none.
    """
    if name not in OBJECTIVES:
        raise ConfigError(f"loss: expected one of {', '.join(OBJECTIVES)}; got {name!r}")
    objective = OBJECTIVES[name]
    for setting, given, default in (("margin", margin, objective.margin), ("scale", scale, objective.scale)):
        if given is not None and default is None:
            raise ConfigError(f"{setting}: the loss {name!r} has none; got {given}")
        if given is not None and not 0 < given < math.inf:
            raise ConfigError(f"{setting}: expected a finite number above 0; got {given}")
    margin = objective.margin if margin is None else margin
    scale = objective.scale if scale is None else scale
    return objective.build(n_classes, dim, margin or 0.0, scale or 0.0)


class CustomObjective(nn.Module):
    """A loss of the caller's as a module; one that is a module is trained with the encoder."""

    def __init__(self, loss: LossFunction) -> None:
        super().__init__()
        self._loss = loss  # torch registers it if it is a module

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Return the caller's loss."""
        return self._loss(embeddings, targets)


class _Mined(nn.Module):
    """A loss over the pairs or triplets of a batch that its miner picks."""

    def __init__(self, loss: nn.Module, miner: nn.Module) -> None:
        super().__init__()
        self.loss, self.miner = loss, miner

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self.loss(embeddings, targets, self.miner(embeddings, targets))
        return loss


class _Scaled(nn.Module):
    """A loss over inner products, which are multiplied by a factor."""

    def __init__(self, loss: nn.Module, scale: float) -> None:
        super().__init__()
        self.loss, self._factor = loss, math.sqrt(scale)

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self.loss(self._factor * embeddings, targets)
        return loss
