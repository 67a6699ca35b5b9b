"""The network of a sparsifier: one linear layer and a sparse head."""

from __future__ import annotations

import hashlib
import json
import math

import torch
from torch import Tensor, nn

from gossamer.learning.heads import SparseHead
from gossamer.learning.sparsifier.config import SparsifierConfig


class SparsifierNetwork(nn.Module):
    """Map dense rows of length 1, shape (b, width), to sparse ones of length 1, shape (b, dim).

    A zero row, which has no direction, stays zero.
    """

    def __init__(self, config: SparsifierConfig) -> None:
        super().__init__()
        self.config = config
        nnz_per_row = config.nnz_per_row if config.activation == "top-k" else None
        self.head = SparseHead(config.width, config.dim, activation=config.activation, nnz_per_row=nnz_per_row)
        self._scale = math.sqrt(config.width)  # entries of variance 1 / width are then of variance 1

    def forward(self, rows: Tensor) -> Tensor:
        """Return the embeddings; in evaluation, without the entries that calibration drops."""
        embeddings: Tensor = self.head(rows * self._scale)
        return embeddings * rows.any(dim=1, keepdim=True)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of a SHA-256 over what rows are made with: equal if that is."""
        config = self.config
        made_with = {"width": config.width, "dim": config.dim, "activation": config.activation}
        digest = hashlib.sha256(json.dumps(made_with, sort_keys=True).encode())
        for name, weights in sorted(self.state_dict().items()):
            digest.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
            digest.update(weights.cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()[:16]
