"""What a sparsifier learns from dense rows alone: losses by name.

Each is a module called with the sparse rows of a batch, shape (b, dim), and its dense rows, shape (b,
width), both of length 1; it returns a number. What it learns for itself is trained with the network.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gossamer.errors import ConfigError

OBJECTIVES = ("similarity", "squared-similarity", "reconstruction", "contrastive")
"""The objectives by name."""

TEMPERATURE = 0.05
"""Of ``similarity``: the smaller, the more the nearest neighbors alone count."""

LABEL_BONUS = 0.2
"""By how much rows of one class are taken for more alike than they are, as a cosine."""

_NEVER = -1e4  # a score that no softmax gives a share


class SimilarityObjective(nn.Module):
    r"""Let the similarities of sparse rows order the batch as those of the dense rows do.

    The Kullback–Leibler divergence, over the other rows of the batch, of two softmaxes:

    .. math:: \frac{1}{b} \sum_i \mathrm{KL}\bigl(\mathrm{softmax}_{k \ne i}(x_i \cdot x_k / \tau) \,\|\,
              \mathrm{softmax}_{k \ne i}(s \, a_i \cdot a_k)\bigr)

    with dense rows x, sparse rows a, and a scale s that is learned: scores of nonnegative rows have
    another range than cosines. With labels, rows of one class are taken for more alike than they are.

    Parameters
    ----------
    temperature : float
        τ: the smaller, the more the nearest neighbors alone count.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, sparse: Tensor, dense: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the divergence of a batch."""
        itself = torch.eye(len(dense), dtype=torch.bool, device=dense.device)
        similarities = dense @ dense.T
        if labels is not None:
            similarities = similarities + LABEL_BONUS * (labels[:, None] == labels)
        wanted = (similarities / self.temperature).masked_fill(itself, _NEVER).log_softmax(dim=1)
        found = (sparse @ sparse.T * self.log_scale.exp()).masked_fill(itself, _NEVER).log_softmax(dim=1)
        return F.kl_div(found, wanted, log_target=True, reduction="batchmean")


class SquaredSimilarityObjective(nn.Module):
    """Let the similarity of two sparse rows be that of the dense ones: mean squared difference over all pairs."""

    def forward(self, sparse: Tensor, dense: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the mean over the pairs of different rows."""
        itself = torch.eye(len(dense), dtype=torch.bool, device=dense.device)
        wanted = dense @ dense.T
        if labels is not None:
            wanted = wanted + LABEL_BONUS * (labels[:, None] == labels)
        return (sparse @ sparse.T - wanted).masked_fill(itself, 0.0).square().sum() / (len(dense) * (len(dense) - 1))


class ContrastiveObjective(nn.Module):
    """Let the nearest dense neighbor of a row within the batch be its nearest sparse one: a cross-entropy.

    With labels, the nearest row of its class, if the batch has one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(TEMPERATURE)))

    def forward(self, sparse: Tensor, dense: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the cross-entropy of a batch."""
        itself = torch.eye(len(dense), dtype=torch.bool, device=dense.device)
        similarities = dense @ dense.T
        if labels is not None:
            similarities = similarities + 2.0 * (labels[:, None] == labels)  # above any cosine
        nearest = similarities.masked_fill(itself, _NEVER).argmax(dim=1)
        return F.cross_entropy((sparse @ sparse.T * self.log_scale.exp()).masked_fill(itself, _NEVER), nearest)


class ReconstructionObjective(nn.Module):
    """Let a linear layer make the dense rows of the sparse ones: a sparse autoencoder.

    As CompresSAE (Kasalický et al., RecSys 2025, arXiv:2505.11388) learns, with its squared error in place
    of its cosine.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.decoder = nn.Linear(dim, width)

    def forward(self, sparse: Tensor, dense: Tensor, labels: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return the mean squared distance of the rows made from the rows wanted."""
        distances: Tensor = (self.decoder(sparse) - dense).square().sum(dim=1)
        return distances.mean()


def make_objective(name: str, *, width: int, dim: int) -> nn.Module:
    """Return a new objective by its name.

    Raises
    ------
    ConfigError
        If the name is unknown.
    """
    match name:
        case "similarity":
            return SimilarityObjective(TEMPERATURE)
        case "squared-similarity":
            return SquaredSimilarityObjective()
        case "contrastive":
            return ContrastiveObjective()
        case "reconstruction":
            return ReconstructionObjective(width, dim)
    raise ConfigError(f"objective: expected one of {', '.join(OBJECTIVES)}; got {name!r}")
