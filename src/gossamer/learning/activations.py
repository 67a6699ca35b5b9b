"""Activations that make exact zeros: the last nonlinearity of a sparse head."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gossamer.errors import ConfigError, ShapeError


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
        self.theta = _checked_theta(theta)

    def forward(self, x: Tensor) -> Tensor:
        """Return the shrunk entries, in the shape of ``x``."""
        return F.softshrink(x, self.theta)

    def extra_repr(self) -> str:
        """Return the threshold, for the printed form of a model."""
        return f"theta={self.theta}"


class _ThresholdPerDimension(nn.Module):
    """Hold a learned threshold for each dimension, as its logarithm: above 0 whatever the gradient does."""

    def __init__(self, dim: int, theta: float) -> None:
        super().__init__()
        if dim < 1:
            raise ConfigError(f"dim: expected at least 1; got {dim}")
        self._initial = math.log(_checked_theta(theta))
        self.log_theta = nn.Parameter(torch.full((dim,), self._initial))

    @property
    def theta(self) -> Tensor:
        """The thresholds, shape (dim,)."""
        return self.log_theta.exp()

    @torch.no_grad()
    def restart(self, dims: Tensor) -> None:
        """Set the thresholds of some dimensions to what they began with."""
        self.log_theta[dims] = self._initial

    def extra_repr(self) -> str:
        """Return the initial threshold, for the printed form of a model."""
        return f"dim={len(self.log_theta)}, theta={math.exp(self._initial):g} at first"

    def _check(self, x: Tensor) -> None:
        if x.shape[-1:] != self.log_theta.shape:
            raise ShapeError(f"x: expected shape (..., {len(self.log_theta)}); got {tuple(x.shape)}")


class LearnedSoftThreshold(_ThresholdPerDimension):
    """Soft-threshold each dimension at a θ of its own that is learned: `SoftThreshold`, with gradient in θ.

    A penalty on magnitudes raises the thresholds of dimensions that are used too much.

    Parameters
    ----------
    dim : int
        Dimensions of an embedding.
    theta : float
        What every threshold begins with, above 0.

    Raises
    ------
    ConfigError
        If ``dim`` is below 1, or ``theta`` not a finite number above 0.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the shrunk entries, in the shape of ``x``, (..., dim).

        Raises
        ------
        ShapeError
            If ``x`` has another number of dimensions.
        """
        self._check(x)
        return x.sign() * F.relu(x.abs() - self.theta)


class JumpReLU(_ThresholdPerDimension):
    r"""Keep entries above θ as they are, and set the others to 0; a θ for each dimension is learned.

    .. math:: \operatorname{JumpReLU}_\theta(x) = x \, [x > \theta]

    Kept entries are not shrunk, unlike those of a soft threshold. The jump has no useful derivative in
    θ; its gradient is that of the mean over the rows, −θ p(θ), with the density p of x at θ estimated
    by the share of rows within ± ``bandwidth`` / 2, over ``bandwidth``.

    Parameters
    ----------
    dim : int
        Dimensions of an embedding.
    theta : float
        What every threshold begins with, above 0.
    bandwidth : float
        Width of the window around θ. Ours is wider than the paper's 0.001, since the pre-activations of
        a `SparseHead` have variance 1 and a batch some hundred rows, not thousands.

    Raises
    ------
    ConfigError
        If ``dim`` is below 1, or ``theta`` or ``bandwidth`` not a finite number above 0.

    References
    ----------
    Rajamanoharan et al., "Jumping Ahead: Improving Reconstruction Fidelity with JumpReLU Sparse
    Autoencoders", 2024, arXiv:2407.14435.
    """

    def __init__(self, dim: int, theta: float, *, bandwidth: float = 0.2) -> None:
        super().__init__(dim, theta)
        if not (math.isfinite(bandwidth) and bandwidth > 0):
            raise ConfigError(f"bandwidth: expected a finite number above 0; got {bandwidth}")
        self.bandwidth = bandwidth

    def forward(self, x: Tensor) -> Tensor:
        """Return the kept entries, in the shape of ``x``, (..., dim).

        Raises
        ------
        ShapeError
            If ``x`` has another number of dimensions.
        """
        self._check(x)
        kept: Tensor = _Jump.apply(x, self.theta, self.bandwidth)  # type: ignore[no-untyped-call]
        return kept


class AbsoluteTopK(nn.Module):
    """Keep the k entries of largest magnitude in each row, with their signs, and set the others to 0.

    Every row has k nonzeros (fewer only if it had fewer); which dimensions they are is not evened out.

    Parameters
    ----------
    k : int
        Entries to keep, at least 1.

    Raises
    ------
    ConfigError
        If ``k`` is below 1.

    References
    ----------
    Kasalický et al., "The Future is Sparse: Embedding Compression for Scalable Retrieval in Recommender
    Systems", RecSys 2025, arXiv:2505.11388 (CompresSAE).

    Examples
    --------
    >>> AbsoluteTopK(2)(torch.tensor([[-2.0, 0.25, 0.75]]))
    tensor([[-2.0000,  0.0000,  0.7500]])
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        if k < 1:
            raise ConfigError(f"k: expected at least 1; got {k}")
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        """Return the kept entries, in the shape of ``x``, (..., dim); gradients reach those alone.

        Raises
        ------
        ShapeError
            If rows have fewer than k entries.
        """
        if x.shape[-1] < self.k:
            raise ShapeError(f"x: expected rows of at least k = {self.k} entries; got {x.shape[-1]}")
        largest = x.abs().topk(self.k, dim=-1, sorted=False).indices
        return torch.zeros_like(x).scatter(-1, largest, x.gather(-1, largest))

    def extra_repr(self) -> str:
        """Return k, for the printed form of a model."""
        return f"k={self.k}"


ACTIVATIONS = ("relu", "soft-threshold", "learned-soft-threshold", "jump-relu", "top-k", "none")
"""The activations by name; ``none`` leaves embeddings dense."""


def make_activation(name: str, *, dim: int, theta: float = 1.0, nnz_per_row: int | None = None) -> nn.Module:
    """Return an activation by its name.

    Parameters
    ----------
    name : str
        One of `ACTIVATIONS`.
    dim : int
        Dimensions of an embedding.
    theta : float
        The threshold of ``soft-threshold``, and what those of ``learned-soft-threshold`` and
        ``jump-relu`` begin with; the others have none and do not read it.
    nnz_per_row : int, optional
        The entries that ``top-k`` keeps; for it alone.

    Raises
    ------
    ConfigError
        If the name is unknown, the threshold out of range, or ``nnz_per_row`` not from 1 to ``dim`` for
        ``top-k``, or given for another.
    """
    if (nnz_per_row is not None) != (name == "top-k"):
        raise ConfigError(f"nnz_per_row: expected a number if and only if activation is 'top-k'; got {nnz_per_row}")
    match name:
        case "relu":
            return nn.ReLU()
        case "soft-threshold":
            return SoftThreshold(theta)
        case "learned-soft-threshold":
            return LearnedSoftThreshold(dim, theta)
        case "jump-relu":
            return JumpReLU(dim, theta)
        case "top-k" if nnz_per_row is not None:
            if nnz_per_row > dim:
                raise ConfigError(f"nnz_per_row: expected at most dim = {dim}; got {nnz_per_row}")
            return AbsoluteTopK(nnz_per_row)
        case "none":
            return nn.Identity()
    raise ConfigError(f"activation: expected one of {', '.join(ACTIVATIONS)}; got {name!r}")


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, theta: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(x, theta)
        ctx.bandwidth = bandwidth
        return x * (x > theta)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, theta = ctx.saved_tensors
        is_near = (x - theta).abs() < ctx.bandwidth / 2
        of_theta = -(theta / ctx.bandwidth) * (gradient * is_near)
        return gradient * (x > theta), of_theta.sum_to_size(theta.shape).to(theta.dtype), None


def _checked_theta(theta: float) -> float:
    if not (math.isfinite(theta) and theta > 0):
        raise ConfigError(f"theta: expected a finite number above 0; got {theta}")
    return theta
