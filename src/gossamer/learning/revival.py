"""Dead dimensions, which no row uses, start afresh: learning alone cannot reach them any more."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from gossamer.errors import ConfigError
from gossamer.learning.heads import SparseHead
from gossamer.learning.regularizers.totals import n_ranks, sum_over_ranks


class DeadDimRevival:
    """Watch which dimensions of a head are zero for many rows on end, and start those afresh.

    Where an activation is zero it has no gradient, so that a dimension that is zero in every row stays
    so: its share of the dimensions is lost, and the other ones are less even. A dimension started afresh
    costs what it costs at the beginning of training; if it is of no use, the regularizer silences it
    again.

    Parameters
    ----------
    head : SparseHead
        Watched, and changed by `revive`.
    patience : int
        After how many rows without a nonzero a dimension is dead, at least 1: those of many batches,
        else rare dimensions are taken for dead ones.

    Raises
    ------
    ConfigError
        If ``patience`` is below 1.

    References
    ----------
    After the resampling of dead neurons in Bricken et al., "Towards Monosemanticity", 2023; ours draws new
    weights at random rather than from rows with a large loss.
    """

    def __init__(self, head: SparseHead, *, patience: int) -> None:
        if patience < 1:
            raise ConfigError(f"patience: expected at least 1 row; got {patience}")
        self.head, self.patience = head, patience
        self._idle_rows = torch.zeros(len(head.thresholds), dtype=torch.int64)

    @torch.no_grad()
    def observe(self, embeddings: Tensor) -> None:
        """Note which dimensions the rows of a batch use, of all ranks.

        Parameters
        ----------
        embeddings : Tensor, shape (b, dim)
            What the head returned in training.
        """
        counts = torch.cat([(embeddings != 0).sum(dim=0), torch.full((1,), len(embeddings), device=embeddings.device)])
        if n_ranks() > 1:
            counts = sum_over_ranks(counts)
        idle = self._idle_rows.to(counts.device)
        self._idle_rows = torch.where(counts[:-1] > 0, 0, idle + counts[-1])

    @property
    def dead_dims(self) -> Tensor:
        """The dimensions that are dead by now, ascending, shape (n,), int64."""
        return (self._idle_rows >= self.patience).nonzero().flatten()

    def state_dict(self) -> dict[str, Tensor]:
        """Return for how many rows each dimension has been idle, for a checkpoint."""
        return {"idle_rows": self._idle_rows}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a state that `state_dict` returned."""
        self._idle_rows = state["idle_rows"]

    @torch.no_grad()
    def revive(self, optimizer: Optimizer | None = None, *, seed: int) -> int:
        """Start the dead dimensions afresh, between two steps, and return how many there were.

        Parameters
        ----------
        optimizer : Optimizer, optional
            Its running averages of those dimensions' gradients are set to 0, as they are at the start.
        seed : int
            Of the new weights: another at each call, and the same on every rank.
        """
        dims = self.dead_dims.to(self.head.linear.weight.device)
        if len(dims) == 0:
            return 0
        self.head.restart(dims, seed=seed)
        self._idle_rows[self.dead_dims] = 0
        for parameter in self.head.parameters_by_dim if optimizer is not None else ():
            for average in optimizer.state.get(parameter, {}).values():  # type: ignore[union-attr]
                if isinstance(average, Tensor) and average.shape == parameter.shape:
                    average[dims] = 0
        return len(dims)
