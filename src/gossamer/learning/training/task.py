"""The training step: loss, regularizer, their measurement and the optimizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from gossamer.arrays import TextArray
from gossamer.errors import ConfigError, TrainingError
from gossamer.learning.budget import BudgetController
from gossamer.learning.encoder import Encoder
from gossamer.learning.health import examine
from gossamer.learning.objectives import CUSTOM_OBJECTIVE, CustomObjective, LossFunction, make_objective
from gossamer.learning.regularizers import make_regularizer
from gossamer.learning.regularizers.totals import n_ranks, sum_over_ranks
from gossamer.learning.revival import DeadDimRevival
from gossamer.learning.training.config import LOG_EVERY, TrainingConfig
from gossamer.learning.training.image_data import ImageBatch
from gossamer.learning.training.ranks import joined_rows, own_rows


class SparseEmbeddingTask(LightningModule):
    """Learn an encoder from labeled images: loss + λ · regularizer.

    Parameters
    ----------
    encoder : Encoder
        Trained in place.
    config : TrainingConfig
        Loss, regularizer, their schedules, augmentation and seed.
    n_classes : int
        The classes to learn.
    validation_labels : array of str, optional
        The class of each image of the validation data, in its order.
    class_shares : Tensor, shape (n_classes,), optional
        The share of each class among the documents, for ``unbiased-flops`` where batches are drawn class
        by class; without it, pairs within a class are left out.
    objective : callable, optional
        The caller's own loss, where ``config.loss`` is ``custom``: of embeddings and targets, a number.
        A module is trained with the encoder.

    Raises
    ------
    ConfigError
        If a loss is given and not asked for, or the reverse, or a setting does not fit the loss; if the
        weight is to be found for a dense encoder.

    Attributes
    ----------
    controller : BudgetController, optional
        What finds the weight, if the configuration has a budget to find it by. Its measurements come from
        a `gossamer.learning.training.HealthWatch` among the trainer's callbacks.
    is_watched : bool
        Whether there is one.
    history : list of dict
        A row for every tenth step, the last one and each validation: ``step`` (steps done), ``loss``,
        ``penalty``, ``weight``; after a validation also the fields of
        `gossamer.learning.health.HealthReport`. Where `train_encoder` calibrates and validates, a last
        row with ``is_calibrated`` repeats the step with the fields after calibration; one with
        ``is_restored`` says that the encoder is that of an earlier step. A look at images held out has a
        row with fields that begin with ``held_out_``. With
        ``config.revive_after``, ``revived_dims`` counts those that started afresh so far.
    """

    def __init__(
        self,
        encoder: Encoder,
        config: TrainingConfig,
        *,
        n_classes: int,
        validation_labels: TextArray | None = None,
        class_shares: Tensor | None = None,
        objective: LossFunction | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        dim = encoder.config.dim
        if (objective is not None) != (config.loss == CUSTOM_OBJECTIVE):
            raise ConfigError(
                f"objective: expected a loss if and only if config.loss is {CUSTOM_OBJECTIVE!r}; "
                f"got {'one' if objective is not None else 'none'} and {config.loss!r}"
            )
        self.objective = (
            make_objective(config.loss, n_classes=n_classes, dim=dim, margin=config.margin, scale=config.scale)
            if objective is None
            else CustomObjective(objective)
        )
        self.config = config
        self.history: list[dict[str, Any]] = []
        self._is_balanced = config.drawn_per_class is not None
        self.regularizer = make_regularizer(config.regularizer, dim=dim, class_shares=class_shares)
        if config.is_controlled and not encoder.is_sparse:
            raise ConfigError(
                "weight: expected a number for a dense encoder, which no budget can make sparse; got None"
            )
        self._schedule, self.controller, self.is_watched = config.schedule(), _controller(config, dim), False
        self._revival = (
            None
            if config.revive_after is None
            else DeadDimRevival(encoder.head, patience=config.revive_after * config.batch_size)
        )
        self._n_revived = 0
        self._validation_labels = validation_labels
        self._validated: list[Tensor] = []
        self._last_row: dict[str, Any] = {}

    def training_step(self, batch: ImageBatch) -> Tensor:
        """Return the loss of one batch; errors as in `train_encoder`."""
        own = own_rows()
        with self._keyed_randomness(batch):
            embeddings = self._embed(batch, own)
            # Angles and exponentials: half precision has too few digits for them.
            with torch.autocast(embeddings.device.type, enabled=False):
                rows = joined_rows(embeddings)
                if not torch.isfinite(rows).all():  # before a loss of the caller's, which may fail on them
                    raise TrainingError(self._diagnosis(batch.step, rows, None))
                loss: Tensor = self.objective(rows, batch.targets)
        # Rows that were drawn class by class are not independent: pairs of one class would be too many.
        penalty = self.regularizer(embeddings, batch.targets[own] if self._is_balanced else None)
        weight = self._weight_at(batch.step, embeddings, loss, penalty)
        total: Tensor = loss + weight * penalty
        if not torch.isfinite(total):
            raise TrainingError(self._diagnosis(batch.step, embeddings, loss))
        self._last_row = {"step": batch.step + 1, "loss": loss.detach(), "penalty": penalty.detach(), "weight": weight}
        if self._revival is not None:
            self._revival.observe(embeddings)
            self._last_row["revived_dims"] = self._n_revived
        if (batch.step + 1) % LOG_EVERY == 0 or batch.step + 1 == self.config.steps:
            self._record()
        return total

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is in no module: the history, and which dimensions are idle."""
        checkpoint["history"], checkpoint["revived_dims"] = self.history, self._n_revived
        checkpoint["revival"] = None if self._revival is None else self._revival.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from what `on_save_checkpoint` added."""
        self.history, self._n_revived = checkpoint["history"], checkpoint["revived_dims"]
        if self._revival is not None:
            self._revival.load_state_dict(checkpoint["revival"])

    def on_train_start(self) -> None:
        """Refuse to train with a controller that nobody tells what embeddings cost."""
        if self.controller is not None and not self.is_watched:
            raise ConfigError("callbacks: expected a HealthWatch, by which the budget finds the weight; got none")

    def on_train_batch_end(self, outputs: Any, batch: ImageBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Start dead dimensions afresh, while there is time left to learn them."""
        if self._revival is not None and batch.step < self.config.ramp_end * self.config.steps:
            optimizer = self.optimizers().optimizer  # type: ignore[union-attr]
            self._n_revived += self._revival.revive(optimizer, seed=_key(self.config.seed, batch.step))

    def validation_step(self, pixels: Tensor) -> None:
        """Encode one batch of the validation images."""
        self._validated.append(self.encoder(pixels))

    def on_validation_epoch_end(self) -> None:
        """Add what `gossamer.learning.health.examine` finds to the history."""
        embeddings = torch.cat(self._validated)
        self._validated.clear()
        if self._validation_labels is None or not self._last_row:
            return
        self.record(dataclasses.asdict(examine(embeddings, self._validation_labels)))

    @property
    def last_loss(self) -> Tensor:
        """The loss of the last step, without the penalty."""
        loss: Tensor = self._last_row["loss"]
        return loss

    def record(self, figures: dict[str, Any]) -> None:
        """Add figures of the encoder as it is now to the history's row of the last step."""
        self._record().update(figures)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW; weight decay is for matrices, not for biases, norms and the loss's own weights."""
        config = self.config
        matrices = [weights for weights in self.encoder.parameters() if weights.ndim > 1]
        vectors = [weights for weights in self.encoder.parameters() if weights.ndim <= 1]
        groups = [
            {"params": matrices, "lr": config.learning_rate, "weight_decay": config.weight_decay},
            {"params": vectors, "lr": config.learning_rate, "weight_decay": 0.0},
            {"params": list(self.objective.parameters()), "lr": config.class_learning_rate, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, config.learning_rate_share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _embed(self, batch: ImageBatch, own: slice) -> Tensor:
        """Augment a batch, as one device would, and encode the rows of this one."""
        images = batch.pixels.float()
        if self.config.augmentation is not None:
            key = _key(self.config.seed, batch.step)
            images = self.config.augmentation(images, torch.Generator().manual_seed(key))
        embeddings: Tensor = self.encoder(images[own])
        return embeddings

    @contextmanager
    def _keyed_randomness(self, batch: ImageBatch) -> Iterator[None]:
        """Seed torch by seed and step, for dropout in a backbone or draws in a loss; then restore its state."""
        # Each rank has other rows, so that it draws other numbers for them.
        key, device = _key(self.config.seed, batch.step) + self.global_rank, batch.pixels.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            # torch.manual_seed would reach devices that are not forked.
            torch.default_generator.manual_seed(key)
            if device.type == "cuda":
                torch.cuda.manual_seed(key)
            yield

    @property
    def is_validated(self) -> bool:
        """Whether the encoder was validated as it is after the last step."""
        return "flops_per_document" in self.history[-1] and self.history[-1]["step"] == self._last_row["step"]

    def go_back(self, row: dict[str, Any]) -> None:
        """Say in the history that the encoder is again that of an earlier row."""
        self._last_row = row
        self.history.append({**row, "is_restored": True})

    def _weight_at(self, step: int, embeddings: Tensor, loss: Tensor, penalty: Tensor) -> float:
        if self.controller is None:
            return self._schedule.at(step)
        if self.controller.needs_balance(step):
            norms = [_gradient_norm(value, embeddings) for value in (loss, penalty)]
            self.controller.balance(step, loss_gradient=norms[0], penalty_gradient=norms[1])
        return self.controller.weight_at(step)

    def _record(self) -> dict[str, Any]:
        """Return the history's row of the last step, added if it is not there."""
        if not self.history or self.history[-1]["step"] != self._last_row["step"]:
            row = self._last_row
            self.history.append({**row, "loss": float(row["loss"]), "penalty": float(row["penalty"])})
        return self.history[-1]

    def _diagnosis(self, step: int, embeddings: Tensor, loss: Tensor | None) -> str:
        if not torch.isfinite(embeddings).all() and step == 0:
            cause = "the encoder's outputs are not finite before anything is learned: check the backbone's weights"
        elif not torch.isfinite(embeddings).all():
            cause = "the encoder's outputs are not finite, so its weights have diverged: lower the learning rate"
        elif loss is not None and not torch.isfinite(loss):
            cause = f"the {self.config.loss} loss itself is {loss.item()}: lower the learning rates or the loss's scale"
        else:
            cause = "the penalty overflows: lower its weight"
        return f"training stopped at step {step + 1} of {self.config.steps}: the loss is not finite; {cause}"


def _controller(config: TrainingConfig, dim: int) -> BudgetController | None:
    if not config.is_controlled or config.budget is None:
        return None
    return BudgetController(
        config.budget, dim=dim, steps=config.steps, start=config.ramp_start, end=config.ramp_end
    )  # fmt: skip


def _gradient_norm(value: Tensor, embeddings: Tensor) -> float:
    """Return the norm of a gradient with respect to the embeddings of all ranks.

    All-zero rows are left out: losses that divide by a row's norm have gradients of any size there.
    """
    (gradient,) = torch.autograd.grad(value, embeddings, retain_graph=True)
    squared = gradient[(embeddings != 0).any(dim=1)].detach().square().sum()
    return float((sum_over_ranks(squared) if n_ranks() > 1 else squared).sqrt())


def _key(seed: int, step: int) -> int:
    """Mix seed and step into one 64-bit seed; neighboring ones share nothing."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0])
