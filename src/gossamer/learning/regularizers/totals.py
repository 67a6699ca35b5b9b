"""What regularizers read of a batch: sums of magnitudes, of one process or of all of them, with gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch import distributed as dist

from gossamer.errors import ShapeError


class BatchTotals(NamedTuple):
    """Sums over the rows of a batch, for each of its classes; without labels all rows are of one class."""

    classes: Tensor
    """The classes, ascending, shape (c,), int64."""
    magnitudes: Tensor
    """Σ |a| of each class and dimension, shape (c, d), float32 at least."""
    squares: Tensor
    """Σ a² of each class over its rows and all dimensions, shape (c,); 0 where they were not asked for."""
    counts: Tensor
    """Rows of each class, shape (c,), in the type of the sums; without gradient."""

    @property
    def n_rows(self) -> Tensor:
        """How many rows there are in all, shape ()."""
        return self.counts.sum()


def batch_totals(
    embeddings: Tensor,
    labels: Tensor | None = None,
    *,
    across_ranks: bool,
    with_squares: bool = False,
    min_rows: int = 1,
    is_nonnegative: bool = False,
) -> BatchTotals:
    """Sum the magnitudes of a batch, in float32 at least, also under autocast.

    Across ranks, what is sent is one vector of d numbers and two more for each class in the joined
    batch, whatever the number of rows. Ranks may hold different numbers of rows, also none.

    Parameters
    ----------
    embeddings : Tensor, shape (b, d)
        Activations, of any sign.
    labels : Tensor, shape (b,), optional
        The class of each row, int64.
    across_ranks : bool
        Whether to join the batches of all processes of the default group. Every process must call, in
        the same order. Without a process group, or with one of a single process, nothing is joined.
    with_squares : bool
        Whether to sum squares too: another pass over the batch.
    min_rows : int
        How many rows the joined batch needs.
    is_nonnegative : bool
        Whether no entry is below 0, so that entries are their own magnitudes: saves two passes over the batch.

    Raises
    ------
    ShapeError
        If ``embeddings`` is not a matrix, ``labels`` does not hold one whole number for each row, or
        there are fewer than ``min_rows`` rows.
    """
    check_batch(embeddings, min_rows=0)
    if labels is not None and (labels.shape != embeddings.shape[:1] or labels.dtype.is_floating_point):
        raise ShapeError(
            f"labels: expected one whole number for each of {len(embeddings)} rows; "
            f"got shape {tuple(labels.shape)}, {labels.dtype}"
        )
    is_joined = across_ranks and n_ranks() > 1
    # Half precision holds 3 digits: a sum over a batch would lose the small entries.
    magnitudes = embeddings if is_nonnegative else embeddings.abs()
    magnitudes = magnitudes.to(torch.promote_types(embeddings.dtype, torch.float32))
    if labels is None:
        classes, table = _of_one_class(magnitudes, with_squares=with_squares)
    else:
        classes = torch.unique(_gathered(labels) if is_joined else labels)
        table = _by_class(magnitudes, labels, classes, with_squares=with_squares)
    if is_joined:
        table = sum_over_ranks(table)
    totals = BatchTotals(classes, table[:, :-2], table[:, -2], table[:, -1].detach())
    # Of the joined batch, so that all ranks raise or none does: one alone would leave the others waiting.
    check_batch(embeddings, min_rows=min_rows, n_rows=int(totals.n_rows) if is_joined else None)
    return totals


def check_batch(embeddings: Tensor, *, min_rows: int = 1, n_rows: int | None = None) -> None:
    """Raise ShapeError if this is no matrix of so many rows, or the joined batch of ``n_rows`` has fewer."""
    if embeddings.ndim != 2 or (len(embeddings) if n_rows is None else n_rows) < min_rows:
        raise ShapeError(f"embeddings: expected shape (b >= {max(1, min_rows)}, d); got {tuple(embeddings.shape)}")


def n_ranks() -> int:
    """Return how many processes train together: those of the default group, or 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_ranks(tensor: Tensor) -> Tensor:
    r"""Sum a tensor over the processes of the default group, with gradient.

    The gradient is that of the sum of all processes' losses: each rank's gradients are summed too.
    `torch.nn.parallel.DistributedDataParallel` then divides by the number of ranks W. A penalty R that
    every rank computes from the same sums therefore leaves :math:`\frac{1}{W} \sum_r \nabla R =
    \nabla R`, the gradient of one process on the joined batch.
    """
    summed: Tensor = _SumOverRanks.apply(tensor)  # type: ignore[no-untyped-call]
    return summed


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # noqa: ARG004 (torch passes it)
        summed = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        summed = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed


def _of_one_class(magnitudes: Tensor, *, with_squares: bool) -> tuple[Tensor, Tensor]:
    """Return the class 0 and a table of one row: Σ|a| by dimension, Σa², rows."""
    squares = magnitudes.square().sum()[None] if with_squares else magnitudes.new_zeros(1)
    rows = magnitudes.new_full((1,), len(magnitudes))
    table = torch.cat([magnitudes.sum(dim=0), squares, rows])[None]
    return torch.zeros(1, dtype=torch.int64, device=magnitudes.device), table


def _by_class(magnitudes: Tensor, labels: Tensor, classes: Tensor, *, with_squares: bool) -> Tensor:
    """Return the same table with a row for each class."""
    members = (classes[:, None] == labels).to(magnitudes.dtype)
    rows = members.sum(dim=1, keepdim=True)
    # A product, not index_add: that is in no fixed order on a GPU. Autocast would round it to half precision.
    with torch.autocast(magnitudes.device.type, enabled=False):
        sums = members @ magnitudes
        squares = members @ magnitudes.square().sum(dim=1, keepdim=True) if with_squares else torch.zeros_like(rows)
    return torch.cat([sums, squares, rows], dim=1)


def _gathered(labels: Tensor) -> Tensor:
    """Return the labels of all ranks, of which each may have another number."""
    counts = [torch.zeros(1, dtype=torch.int64, device=labels.device) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, torch.tensor([len(labels)], device=labels.device))
    longest = max(int(count) for count in counts)
    padded = torch.zeros(longest, dtype=torch.int64, device=labels.device)
    padded[: len(labels)] = labels
    gathered = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(gathered, padded)
    return torch.cat([part[: int(count)] for part, count in zip(gathered, counts, strict=True)])
