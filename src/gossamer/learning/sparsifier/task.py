"""The training step of a sparsifier, and the batches that it learns from."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import Dataset

from gossamer.arrays import AnyArray, OffsetArray
from gossamer.errors import TrainingError
from gossamer.learning.budget import BudgetController, FlopsBudget
from gossamer.learning.cost import measured_cost
from gossamer.learning.regularizers import make_regularizer
from gossamer.learning.sparsifier.config import SparsifierConfig
from gossamer.learning.sparsifier.dense_rows import DenseRows
from gossamer.learning.sparsifier.network import SparsifierNetwork
from gossamer.learning.sparsifier.objectives import make_objective
from gossamer.learning.training.config import LOG_EVERY
from gossamer.learning.training.health_callback import PREFIX
from gossamer.learning.training.learning_rate import learning_rate_share
from gossamer.learning.training.sampling import ShuffledRows

HEADROOM = 16.0
"""Training aims at this many times the budget, counting every nonzero; calibration drops the small ones."""


class RowBatch(NamedTuple):
    """What one training step learns from."""

    rows: Tensor
    """Dense rows of length 1, shape (b, width)."""
    targets: Tensor | None
    """The class of each row, shape (b,), int64; None where there are no labels."""
    step: int
    """The number of the step, from 0."""


class RowBatches(Dataset[RowBatch]):
    """Serve rows to Lightning: every row is drawn once before any is drawn again, keyed by seed and step.

    Parameters
    ----------
    dense : DenseRows
        Where the rows are.
    chosen : array, shape (n,), int64
        The numbers of those to learn from.
    targets : array, shape (n,), int64, optional
        The class of each chosen row.
    config : SparsifierConfig
        Steps, batch size and seed.
    """

    def __init__(
        self, dense: DenseRows, chosen: OffsetArray, targets: AnyArray | None, config: SparsifierConfig
    ) -> None:
        self._dense, self._chosen, self._targets, self._steps = dense, chosen, targets, config.steps
        batch_size = min(config.batch_size, len(chosen))
        self._rows = ShuffledRows(len(chosen), batch_size=batch_size, seed=config.random_state)

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> RowBatch:
        if not 0 <= step < self._steps:
            raise IndexError(step)
        drawn = self._rows(step)
        targets = None if self._targets is None else torch.from_numpy(self._targets[drawn])
        return RowBatch(self._dense.take(self._chosen[drawn]), targets, step)


class SparsifierTask(LightningModule):
    """Learn a network from dense rows: objective + λ · regularizer, λ by the budget's controller.

    Parameters
    ----------
    network : SparsifierNetwork
        Trained in place.
    config : SparsifierConfig
        Objective, budget and their settings.
    held_out : Tensor, shape (m, width)
        Rows that are not learned from: what the controller measures the cost on.

    Attributes
    ----------
    history : list of dict
        A row for every tenth step and the last one: ``step`` (steps done), ``loss``, ``penalty``,
        ``weight``; and of the held-out rows, before calibration, ``held_out_flops_per_document``,
        ``held_out_dead_dims`` and ``held_out_zero_rows`` as the controller last saw them.
    """

    def __init__(self, network: SparsifierNetwork, config: SparsifierConfig, held_out: Tensor) -> None:
        super().__init__()
        self.network, self.config = network, config
        self.objective = make_objective(config.objective, width=config.width, dim=config.dim)
        self.history: list[dict[str, Any]] = []
        # Flops of all nonzeros, small ones too: calibration takes the rest of the way to the budget.
        self._aim = FlopsBudget(flops_per_document=min(HEADROOM * config.flops_per_document, config.dim))
        self._controller = BudgetController(self._aim, dim=config.dim, steps=config.steps)
        self._held_out = held_out
        self._seen: dict[str, float] = {}
        self._losses: list[Tensor] = []
        self.regularizer = make_regularizer(
            config.regularizer, dim=config.dim, is_nonnegative=config.activation == "relu"
        )
        self._is_penalized = config.regularizer != "none"

    @property
    def is_saturated(self) -> bool:
        """Whether λ is as large as it may be, and the cost still above what training aims at."""
        return self._controller.is_saturated

    def training_step(self, batch: RowBatch) -> Tensor:
        """Return the loss of one batch.

        Raises
        ------
        TrainingError
            If it is not finite.
        """
        sparse: Tensor = self.network(batch.rows)
        loss: Tensor = self.objective(sparse, batch.rows, batch.targets)
        penalty, weight = self._penalty(sparse, loss, batch.step)
        total = loss if weight == 0 else loss + weight * penalty
        if not torch.isfinite(total):
            raise TrainingError(
                f"training stopped at step {batch.step + 1} of {self.config.steps}: the loss is not finite; "
                "lower the learning rate"
            )
        done = batch.step + 1
        if done % LOG_EVERY == 0 or done == self.config.steps:
            row = {"step": done, "loss": float(loss.detach()), "penalty": float(penalty.detach()), "weight": weight}
            self.history.append(row | self._seen)
        if self._is_penalized:  # else no controller reads and clears them
            self._losses.append(loss.detach())
        return total

    def on_train_batch_end(self, outputs: Any, batch: RowBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Let the controller see what the held-out rows cost."""
        if self._is_penalized and (batch.step + 1) % self._controller.interval == 0:
            sparse = self._encode_held_out()
            cost, used = measured_cost(self._aim, sparse), sparse != 0
            n_zero = int((~used.any(dim=1)).sum())
            mean_loss = float(torch.stack(self._losses).mean())
            self._losses.clear()
            self._controller.observe(batch.step + 1, cost, zero_share=n_zero / len(sparse), loss=mean_loss)
            self._seen = {
                PREFIX + "flops_per_document": cost,
                PREFIX + "dead_dims": int((~used.any(dim=0)).sum()),
                PREFIX + "zero_rows": n_zero,
            }

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW without decay; the rate rises, then falls along a cosine."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.config.learning_rate, weight_decay=0.0, fused=True)
        course = partial(learning_rate_share, steps=self.config.steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, course)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _penalty(self, sparse: Tensor, loss: Tensor, step: int) -> tuple[Tensor, float]:
        """Return the regularizer of a batch and its weight at this step."""
        if not self._is_penalized:
            return self.regularizer(sparse), 0.0
        penalty: Tensor = self.regularizer(sparse)
        if self._controller.needs_balance(step):
            gradients = (torch.autograd.grad(of, sparse, retain_graph=True)[0] for of in (loss, penalty))
            of_loss, of_penalty = (float(gradient.norm()) for gradient in gradients)
            self._controller.balance(step, loss_gradient=of_loss, penalty_gradient=of_penalty)
        return penalty, self._controller.weight_at(step)

    @torch.no_grad()
    def _encode_held_out(self) -> Tensor:
        self.network.eval()
        sparse: Tensor = self.network(self._held_out.to(self.device))
        self.network.train()
        return sparse
