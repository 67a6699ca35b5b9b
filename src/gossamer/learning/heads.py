"""The last layers of an encoder: features in, embeddings of unit length out."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gossamer.learning.activations import JumpReLU, LearnedSoftThreshold, make_activation

_RELU_SHIFT = -1.0


class SparseHead(nn.Module):
    """Map features to L2-normalized embeddings: linear, batch norm, activation, unit length.

    Batch norm gives the pre-activations of each dimension mean 0 and variance 1 whatever the scale and
    offset of the features (of standard deviation 1e-3 or more: below, the 1e-8 that it adds to variances
    counts), so that the activation lets a known share of entries through from the first step. For ReLU
    their mean starts at −1: about one entry in six is then positive, instead of one in two.

    Parameters
    ----------
    in_features : int
        Features of a row.
    dim : int
        Dimensions of an embedding.
    activation : str
        One of `gossamer.learning.activations.ACTIVATIONS`. Values are signed after ``soft-threshold``,
        ``learned-soft-threshold`` and ``top-k``, and dense after ``none``.
    theta : float
        The threshold of ``soft-threshold``, and what those of ``learned-soft-threshold`` and ``jump-relu``
        begin with, in standard deviations of the pre-activations.
    nnz_per_row : int, optional
        The entries that ``top-k`` keeps; for it alone.

    Raises
    ------
    ConfigError
        If the activation is unknown, or a setting of it out of its range.

    Attributes
    ----------
    thresholds : Tensor, shape (dim,)
        In evaluation, the entries of a unit row whose magnitudes are not above these are dropped, all but
        the row's largest, and the rest is normalized again. Zero, without effect, until
        `gossamer.learning.calibrate` sets them.
    """

    thresholds: Tensor

    def __init__(
        self,
        in_features: int,
        dim: int,
        *,
        activation: str = "relu",
        theta: float = 1.0,
        nnz_per_row: int | None = None,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, dim, bias=False)  # batch norm brings its own
        # With torch's 1e-5 no entry would pass a threshold where features are small.
        self.norm = nn.BatchNorm1d(dim, eps=1e-8)
        self.activation = make_activation(activation, dim=dim, theta=theta, nnz_per_row=nnz_per_row)
        self.register_buffer("thresholds", torch.zeros(dim))
        self._initial_mean = _RELU_SHIFT if activation == "relu" else 0.0
        nn.init.constant_(self.norm.bias, self._initial_mean)

    def forward(self, features: Tensor) -> Tensor:
        """Return embeddings of shape (b, dim), float32 also under autocast.

        Rows have length 1, but for rows that the activation zeroed: those stay zero.
        """
        activations = self.activation(self.norm(self.linear(features)))
        activations = activations.to(torch.promote_types(activations.dtype, torch.float32))
        embeddings = _unit_rows(activations)
        if self.training:
            return embeddings
        magnitudes = embeddings.abs()
        kept = magnitudes > self.thresholds
        kept |= magnitudes == magnitudes.amax(dim=1, keepdim=True)  # no search finds an all-zero row
        return _unit_rows(activations * kept)

    @property
    def parameters_by_dim(self) -> list[Tensor]:
        """The parameters of which each dimension has an entry or a row of its own."""
        found = [self.linear.weight, self.norm.weight, self.norm.bias]
        if isinstance(self.activation, LearnedSoftThreshold | JumpReLU):
            found.append(self.activation.log_theta)
        return found

    @torch.no_grad()
    def restart(self, dims: Tensor, *, seed: int) -> None:
        """Start some dimensions afresh, as in a new head: new random weights, norms and thresholds.

        Parameters
        ----------
        dims : Tensor, shape (n,), int64
            Which; none is fine.
        seed : int
            Of the weights: the same on every device and rank.
        """
        weight, norm = self.linear.weight, self.norm
        bound = 1 / math.sqrt(weight.shape[1])  # as torch.nn.Linear draws them
        drawn = torch.rand(len(dims), weight.shape[1], generator=torch.Generator().manual_seed(seed)) * 2 - 1
        weight[dims] = (bound * drawn).to(weight)
        norm.weight[dims], norm.bias[dims] = 1.0, self._initial_mean
        if norm.running_mean is not None and norm.running_var is not None:
            norm.running_mean[dims], norm.running_var[dims] = 0.0, 1.0
        if isinstance(self.activation, LearnedSoftThreshold | JumpReLU):
            self.activation.restart(dims)
        self.thresholds[dims] = 0.0


def _unit_rows(rows: Tensor) -> Tensor:
    """Scale rows to length 1; rows of zeros stay, and their gradients are not made huge as by `F.normalize`."""
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / torch.where(norms > 0, norms.clamp_min(1e-12), torch.ones_like(norms))
