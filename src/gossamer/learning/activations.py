"""Activations that make exact zeros: the last nonlinearity of a sparse head."""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from gossamer.errors import ConfigError


class SoftThreshold(nn.Module):
    r"""Shrink every entry towards 0 by θ, and to exactly 0 within [−θ, θ]; signs are kept.

    .. math:: S_\theta(x) = \operatorname{sign}(x) \max(|x| - \theta, 0)

    Source: Paria et al., arXiv:2004.05665, section 5, for embeddings of both signs.

    Parameters
    ----------
    theta : float
        The threshold, above 0.

    Raises
    ------
    ConfigError
        If ``theta`` is not a finite number above 0: without a threshold nothing becomes 0.

    Examples
    --------
    >>> import torch
    >>> SoftThreshold(0.5)(torch.tensor([-2.0, 0.25, 0.75]))
    tensor([-1.5000,  0.0000,  0.2500])
    """

    def __init__(self, theta: float) -> None:
        super().__init__()
        if not (math.isfinite(theta) and theta > 0):
            raise ConfigError(f"theta: expected a finite number above 0; got {theta}")
        self.theta = theta

    def forward(self, x: Tensor) -> Tensor:
        """Return the shrunk entries, in the shape of ``x``."""
        return F.softshrink(x, self.theta)

    def extra_repr(self) -> str:
        """Return the threshold, for the printed form of a model."""
        return f"theta={self.theta}"


ACTIVATIONS = ("relu", "soft-threshold", "none")
"""The activations by name; ``none`` leaves embeddings dense."""


def make_activation(name: str, *, theta: float) -> nn.Module:
    """Return an activation by its name.

    Parameters
    ----------
    name : str
        One of `ACTIVATIONS`.
    theta : float
        The threshold of ``soft-threshold``; the others have none and do not read it.

    Raises
    ------
    ConfigError
        If the name is unknown, or the threshold out of range.
    """
    match name:
        case "relu":
            return nn.ReLU()
        case "soft-threshold":
            return SoftThreshold(theta)
        case "none":
            return nn.Identity()
    raise ConfigError(f"activation: expected one of {', '.join(ACTIVATIONS)}; got {name!r}")
