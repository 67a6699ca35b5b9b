"""The last layers of an encoder: features in, embeddings of unit length out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gossamer.learning.activations import make_activation

_RELU_SHIFT = -1.0


class SparseHead(nn.Module):
    """Map features to L2-normalized embeddings: linear, batch norm, activation, unit length.

    Batch norm gives the pre-activations of each dimension mean 0 and variance 1 whatever the scale of
    the features, so that the activation lets a known share of entries through from the first step. For
    ReLU their mean starts at −1: about one entry in six is then positive, instead of one in two.

    Parameters
    ----------
    in_features : int
        Features of a row.
    dim : int
        Dimensions of an embedding.
    activation : str
        ``relu``, ``soft-threshold`` (signed values) or ``none`` (a dense head).
    theta : float
        The threshold of ``soft-threshold``, in standard deviations of the pre-activations.

    Raises
    ------
    ConfigError
        If the activation is unknown, or its threshold out of range.

    Attributes
    ----------
    thresholds : Tensor, shape (dim,)
        In evaluation, the entries of a unit row whose magnitudes are not above these are dropped, all but
        the row's largest, and the rest is normalized again. Zero, without effect, until
        `gossamer.learning.calibrate` sets them.
    """

    thresholds: Tensor

    def __init__(self, in_features: int, dim: int, *, activation: str = "relu", theta: float = 1.0) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, dim, bias=False)  # batch norm brings its own
        self.norm = nn.BatchNorm1d(dim)
        self.activation = make_activation(activation, theta=theta)
        self.register_buffer("thresholds", torch.zeros(dim))
        if activation == "relu":
            nn.init.constant_(self.norm.bias, _RELU_SHIFT)

    def forward(self, features: Tensor) -> Tensor:
        """Return embeddings of shape (b, dim), float32 also under autocast.

        Rows have length 1, but for rows that the activation zeroed: those stay zero.
        """
        activations = self.activation(self.norm(self.linear(features)))
        # normalize divides by max(norm, 1e-12), which half precision would round to 0.
        activations = activations.to(torch.promote_types(activations.dtype, torch.float32))
        embeddings = F.normalize(activations)
        if self.training:
            return embeddings
        magnitudes = embeddings.abs()
        kept = magnitudes > self.thresholds
        kept |= magnitudes == magnitudes.amax(dim=1, keepdim=True)  # no search finds an all-zero row
        return F.normalize(activations * kept)
