"""The network of a sparsifier: one linear layer and a sparse head."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gossamer.learning.heads import SparseHead
from gossamer.learning.sparsifier.config import SparsifierConfig

_SIGNED = ("soft-threshold", "learned-soft-threshold", "top-k")  # activations that leave the sign


class SparsifierNetwork(nn.Module):
    """Map dense rows of length 1, shape (b, width), to sparse ones of length 1, shape (b, dim).

    A zero row, which has no direction, stays zero; in evaluation, every other row has a nonzero.

    Parameters
    ----------
    config : SparsifierConfig
        Its width, dim, activation and, for ``top-k``, budget.
    """

    def __init__(self, config: SparsifierConfig) -> None:
        super().__init__()
        self.head = SparseHead(
            config.width,
            config.dim,
            activation=config.activation,
            nnz_per_row=config.even_nnz_per_row if config.activation == "top-k" else None,
        )
        self._is_signed = config.activation in _SIGNED
        self._scale = math.sqrt(config.width)  # the entries' variance, at most 1 / width, is then at most 1

    def forward(self, rows: Tensor) -> Tensor:
        """Return the embeddings; in evaluation, without the entries that calibration drops."""
        features = rows * self._scale
        embeddings: Tensor = self.head(features) * rows.any(dim=1, keepdim=True)
        if self.training:
            return embeddings
        # A row unlike all that was learned from may pass no threshold; no search would find it.
        is_lost = rows.any(dim=1) & ~embeddings.any(dim=1)
        lost = self.head.norm(self.head.linear(features[is_lost]))
        best = (lost.abs() if self._is_signed else lost).argmax(dim=1, keepdim=True)
        entry = lost.gather(1, best).sign() if self._is_signed else torch.ones_like(lost[:, :1])
        embeddings[is_lost] = torch.zeros_like(lost).scatter(1, best, entry).to(embeddings)
        return embeddings

    @torch.no_grad()
    def settle(self, corpus: Tensor) -> None:
        """Give the batch norm the exact mean and variance of some rows, in place of its running averages."""
        features = self.head.linear(corpus * self._scale)
        norm = self.head.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(features.mean(dim=0))
        norm.running_var.copy_(features.var(dim=0, correction=0))
