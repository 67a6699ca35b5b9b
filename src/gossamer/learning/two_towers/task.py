"""The training step of two towers: sampled softmax, and the penalty on what users cost against items."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from gossamer.arrays import DoubleArray
from gossamer.errors import TrainingError
from gossamer.learning.budget import BudgetController, FlopsBudget
from gossamer.learning.calibration import spaced
from gossamer.learning.regularizers import CorpusFlops
from gossamer.learning.training.config import LOG_EVERY
from gossamer.learning.training.health_callback import PREFIX
from gossamer.learning.training.learning_rate import learning_rate_share
from gossamer.learning.two_towers.calibration import towers_cost
from gossamer.learning.two_towers.config import TwoTowersConfig
from gossamer.learning.two_towers.histories import Histories, TowerBatch
from gossamer.learning.two_towers.network import TwoTowersNetwork, sampled_softmax

_MOST_MEASURED = 2048  # users, and items, on which the controller measures the cost
_MEMORY = 4  # batches after which an observation of frequencies counts half


class TwoTowersTask(LightningModule):
    """Learn two towers from what users have: loss + λ · FLOPs per item, λ by the budget's controller.

    The penalty is that of `CorpusFlops` in both directions: users by how often items use their dimensions, and items,
    those drawn evenly from the catalog, by how often users do.

    Parameters
    ----------
    network : TwoTowersNetwork
        Trained in place.
    config : TwoTowersConfig
        Budget and settings.
    histories : Histories
        Of the users on whom the cost is measured.
    expected_targets : array, shape (n_items,)
        How often each item is a target of a batch, on average.

    Attributes
    ----------
    history : list of dict
        A row for every tenth step and the last one: ``step`` (steps done), ``loss``, and of sparse codes
        ``penalty``, ``weight`` and, before calibration, ``held_out_flops_per_document``, the FLOPs per item, as the
        controller last saw them.
    """

    expected: Tensor

    def __init__(
        self, network: TwoTowersNetwork, config: TwoTowersConfig, histories: Histories, expected_targets: DoubleArray
    ) -> None:
        super().__init__()
        self.network, self.config, self.history = network, config, list[dict[str, Any]]()
        expected = torch.from_numpy(expected_targets + config.n_negatives / config.n_items)
        self.register_buffer("expected", expected.float(), persistent=False)
        self._controller: BudgetController | None = None
        if config.flops_per_item is not None:
            aim = FlopsBudget(flops_per_document=min(config.headroom * config.flops_per_item, config.dim))
            self._controller = BudgetController(aim, dim=config.dim, steps=config.steps)
            half_lives = _MEMORY * config.n_users, _MEMORY * config.n_negatives
            self.item_penalty, self.user_penalty = (
                CorpusFlops(config.dim, half_life=rows, observes_batch=False) for rows in half_lives
            )
            measured = spaced(histories.learnable, most=_MOST_MEASURED)
            self._measured_users = histories.bags(measured)
            items = torch.arange(config.n_items).numpy()
            self._measured_items = torch.from_numpy(spaced(items, most=_MOST_MEASURED))
        self._seen: dict[str, float] = {}
        self._losses: list[Tensor] = []

    def training_step(self, batch: TowerBatch) -> Tensor:
        """Return the loss of one batch.

        Raises
        ------
        TrainingError
            If it is not finite.
        """
        candidates = torch.cat([batch.targets, batch.drawn])
        users, items = self.network.users(batch.items, batch.starts), self.network.unit_items(candidates)
        scores = (users @ items.T) * (self.network.scales(candidates) / self.config.temperature)
        loss = sampled_softmax(scores, self.expected[candidates].log(), batch.is_owned, batch.target_users)
        total, row = loss, {"loss": float(loss.detach())}
        if self._controller is not None:
            drawn = items[len(batch.targets) :]
            self.item_penalty.observe(users.detach())
            self.user_penalty.observe(drawn.detach())
            penalty: Tensor = (self.user_penalty(users) + self.item_penalty(drawn)) / 2
            weight = self._weight_at(batch.step, (users, items), loss, penalty)
            total = loss + weight * penalty
            row |= {"penalty": float(penalty.detach()), "weight": weight}
            self._losses.append(loss.detach())
        if not torch.isfinite(total):
            raise TrainingError(
                f"training stopped at step {batch.step + 1} of {self.config.steps}: the loss is not finite; "
                "lower the learning rate"
            )
        if (batch.step + 1) % LOG_EVERY == 0 or batch.step + 1 == self.config.steps:
            self.history.append({"step": batch.step + 1, **row, **self._seen})
        return total

    def on_train_batch_end(self, outputs: Any, batch: TowerBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Let the controller see what users cost against items."""
        if self._controller is None or (batch.step + 1) % self._controller.interval != 0:
            return
        users, items = self._encode_measured()
        cost, is_zero = towers_cost(users.numpy(), items.numpy()), ~torch.cat([users, items]).any(dim=1)
        mean_loss = float(torch.stack(self._losses).mean())
        self._losses.clear()
        self._controller.observe(batch.step + 1, cost, zero_share=float(is_zero.float().mean()), loss=mean_loss)
        self._seen = {PREFIX + "flops_per_document": cost, PREFIX + "zero_rows": int(is_zero.sum())}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW without decay; the rate rises, then falls along a cosine."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=self.config.learning_rate, weight_decay=0.0, fused=True
        )
        course = partial(learning_rate_share, steps=self.config.steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, course)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _weight_at(self, step: int, codes: tuple[Tensor, Tensor], loss: Tensor, penalty: Tensor) -> float:
        assert self._controller is not None
        if self._controller.needs_balance(step):
            of_loss, of_penalty = (
                float(torch.cat([part.flatten() for part in torch.autograd.grad(of, codes, retain_graph=True)]).norm())
                for of in (loss, penalty)
            )
            self._controller.balance(step, loss_gradient=of_loss, penalty_gradient=of_penalty)
        return self._controller.weight_at(step)

    @torch.no_grad()
    def _encode_measured(self) -> tuple[Tensor, Tensor]:
        self.network.eval()
        bags = [part.to(self.device) for part in self._measured_users]
        codes = self.network.users(*bags).cpu(), self.network.unit_items(self._measured_items.to(self.device)).cpu()
        self.network.train()
        return codes
