"""Metric-learning losses by name, from pytorch-metric-learning."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from pytorch_metric_learning.losses import ArcFaceLoss, CosFaceLoss
from torch import nn

from gossamer.errors import ConfigError

_SCALE = 32.0


def _arcface(n_classes: int, dim: int) -> nn.Module:
    loss: nn.Module = ArcFaceLoss(n_classes, dim, margin=15.0, scale=_SCALE)  # in degrees
    return loss


def _cosface(n_classes: int, dim: int) -> nn.Module:
    loss: nn.Module = CosFaceLoss(n_classes, dim, margin=0.2, scale=_SCALE)
    return loss


OBJECTIVES: Mapping[str, Callable[[int, int], nn.Module]] = MappingProxyType({"arcface": _arcface, "cosface": _cosface})
"""Functions of (n_classes, dim) that build a loss, by name."""


def make_objective(name: str, *, n_classes: int, dim: int) -> nn.Module:
    """Return a new loss module: ``loss(embeddings, targets)``, targets from 0 to n_classes − 1.

    ``arcface``: Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR
    2019, arXiv:1801.07698. ``cosface``: Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face
    Recognition", CVPR 2018, arXiv:1801.09414. Scale and margin are smaller than those papers', which
    are for millions of faces.

    Parameters
    ----------
    name : str
        One of `OBJECTIVES`.
    n_classes : int
        The classes to learn; each has a weight vector that is learned with the encoder.
    dim : int
        The dimensions of the embeddings.

    Raises
    ------
    ConfigError
        If the name is unknown.
    """
    if name not in OBJECTIVES:
        raise ConfigError(f"loss: expected one of {', '.join(OBJECTIVES)}; got {name!r}")
    return OBJECTIVES[name](n_classes, dim)
