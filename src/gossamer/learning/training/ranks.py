"""Several processes that share each batch, so that together they train as one process does."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch import distributed as dist

from gossamer.errors import ConfigError
from gossamer.learning.regularizers.totals import n_ranks, sum_over_ranks


def own_rows() -> slice:
    """Return which rows of a batch this process encodes: of W processes, every W-th."""
    return slice(dist.get_rank(), None, n_ranks()) if n_ranks() > 1 else slice(None)


def joined_rows(embeddings: Tensor) -> Tensor:
    """Return the rows of the whole batch, from those that each process encoded, with gradient.

    A loss that every process computes of them then has the gradient of one process on the whole batch,
    also if it compares rows; see `gossamer.learning.regularizers.totals.sum_over_ranks`.
    """
    if n_ranks() == 1:
        return embeddings
    whole = embeddings.new_zeros(len(embeddings) * n_ranks(), embeddings.shape[1])
    whole[own_rows()] = embeddings
    return sum_over_ranks(whole)


def lightning_devices(n: int, device: torch.device) -> list[int] | int:
    """Return what Lightning is to train on.

    Raises
    ------
    ConfigError
        If there are not so many devices, or this program cannot be started once more for each: it is in
        no file, or has done so before, and the others would start at its first training again.
    """
    if n == 1:
        return [device.index or 0] if device.type == "cuda" else 1
    if device.type == "cuda" and (device.index is not None or n > torch.cuda.device_count()):
        raise ConfigError(
            f"devices: expected at most the {torch.cuda.device_count()} that torch sees, of device cuda; "
            f"got {n} of {str(device)!r}"
        )
    if not dist.is_torchelastic_launched():
        if not Path(sys.argv[0]).is_file():
            raise ConfigError("devices: expected a program in a file, to be started once for each device; got none")
        if os.environ.get("LOCAL_RANK") == "0":  # Lightning leaves that when it has started the others
            raise ConfigError("devices: a program can train on several only once; start it again for another training")
    return n


@contextmanager
def joined_batch_norms(module: nn.Module) -> Iterator[None]:
    """Let batch norms in a module take their statistics from the rows of all processes."""
    norms = [part for part in module.modules() if type(part) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)]
    kinds = [type(norm) for norm in norms]
    for norm in norms:
        norm.__class__ = _JoinedBatchNorm  # the same parameters, for whoever holds them
    try:
        yield
    finally:
        for norm, kind in zip(norms, kinds, strict=True):
            norm.__class__ = kind


@contextmanager
def ended_ranks() -> Iterator[None]:
    """At the end, end all processes but the first, and let that one be alone again."""
    try:
        yield
        if n_ranks() > 1:
            dist.barrier()  # none may take its connection away from one that still sends
    finally:
        rank = dist.get_rank() if dist.is_initialized() else 0
        if dist.is_initialized():
            dist.destroy_process_group()
    if rank > 0:
        raise SystemExit(0)


class _JoinedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the rows of all processes; `torch.nn.SyncBatchNorm` does so on GPUs alone."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Take what the norm took before."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or n_ranks() == 1 or self.momentum is None:
            return super().forward(input)
        dims = [0, *range(2, input.ndim)]
        shape = [1, -1, *([1] * (input.ndim - 2))]
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        count = values.new_full((1,), values.numel() / values.shape[1])
        totals = sum_over_ranks(torch.cat([values.sum(dims), count]))
        n = totals[-1].detach()
        mean = totals[:-1] / n
        centered = values - mean.view(shape)
        variance = sum_over_ranks(centered.square().sum(dims)) / n
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.lerp_(mean.detach(), self.momentum)
            self.running_var.lerp_(variance.detach() * (n / (n - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        normalized = centered * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normalized = normalized * self.weight.view(shape) + self.bias.view(shape)
        return normalized.to(input.dtype)
