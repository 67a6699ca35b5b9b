"""Stop early: when the hit rate rises no more, or embeddings cost what they may."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from gossamer.arrays import TextArray
from gossamer.errors import ConfigError, TrainingError
from gossamer.learning.budget.target import TOLERANCE
from gossamer.learning.training.health_callback import PREFIX
from gossamer.learning.training.task import SparseEmbeddingTask

HIT_RATE = "hit_rate_at_1"


class CostLimit(NamedTuple):
    """What embeddings may cost for training to be done."""

    field: str
    """Of the history, in which the cost stands."""
    largest: float


class EarlyStop(Callback):
    """Stop after some measurements in a row that bring no better hit rate, or that all cost little enough.

    Those before ``first_step`` do not count: as long as λ grows, the hit rate falls because of it, and
    the cost is not yet what it will be. Where hit rates are compared, the weights of the best one are
    kept, and `restore` brings them back: of equal ones the later, which have learned longer.

    Parameters
    ----------
    patience : int
        How many measurements.
    first_step : int
        Steps done at the first that counts: those after which λ has grown.
    limit : CostLimit, optional
        What they may cost; None to compare the hit rates of validations.
    """

    def __init__(self, *, patience: int, first_step: int, limit: CostLimit | None = None) -> None:
        self._patience, self._first_step, self._limit = patience, first_step, limit
        self._n_in_a_row, self._seen_step = 0, 0
        self._best: dict[str, Any] | None = None
        self._weights: dict[str, Tensor] = {}

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, *_: Any) -> None:
        """Look whether the images held out were measured."""
        self._look(trainer, task)

    def on_validation_end(self, trainer: Trainer, task: LightningModule) -> None:
        """Look at the validation."""
        self._look(trainer, task)

    def _look(self, trainer: Trainer, task: LightningModule) -> None:
        """Count the newest row of the history, if it has what counts, and stop if patience is at its end."""
        assert isinstance(task, SparseEmbeddingTask)
        row = task.history[-1] if task.history else {"step": 0}
        field = HIT_RATE if self._limit is None else self._limit.field
        if field not in row or row["step"] < max(self._first_step, self._seen_step + 1):
            return
        self._seen_step = row["step"]
        # A measurement within the limit counts towards the end; so does one that brings no better hit rate.
        counts = not self._is_better(task, row) if self._limit is None else row[field] <= self._limit.largest
        self._n_in_a_row = self._n_in_a_row + 1 if counts else 0
        if self._n_in_a_row >= self._patience:
            trainer.should_stop = True

    def _is_better(self, task: SparseEmbeddingTask, row: dict[str, Any]) -> bool:
        """Return whether no hit rate was as high, and keep the weights if none was higher."""
        best = -1.0 if self._best is None else self._best[HIT_RATE]
        if row[HIT_RATE] >= best:
            self._best = row
            self._weights = {name: weights.detach().clone() for name, weights in task.encoder.state_dict().items()}
        return bool(row[HIT_RATE] > best)

    def restore(self, task: SparseEmbeddingTask) -> None:
        """Bring the best weights back, if they are not the last; the history's last row then says so."""
        if self._best is None or self._best["step"] == task.history[-1]["step"]:
            return
        task.encoder.load_state_dict(self._weights)
        task.go_back(self._best)

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes over training, for checkpoints."""
        return {
            "n_in_a_row": self._n_in_a_row, "seen_step": self._seen_step, "best": self._best, "weights": self._weights
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
        self._n_in_a_row, self._seen_step = state_dict["n_in_a_row"], state_dict["seen_step"]
        self._best, self._weights = state_dict["best"], state_dict["weights"]


def early_stop(task: SparseEmbeddingTask, *, validation_labels: TextArray | None) -> EarlyStop | None:
    """Return what stops a task's training as its settings say; None if nothing does.

    Parameters
    ----------
    task : SparseEmbeddingTask
        To be trained.
    validation_labels : array of str, optional
        The class of each validation image; None where there are no such images.

    Raises
    ------
    ConfigError
        If hit rates are to be compared and there are no validation images, or there is no budget.
    TrainingError
        If there are such images, but no two of one class.
    """
    config = task.config
    if config.patience is None:
        return None
    if config.stop_on == "hit-rate":
        if validation_labels is None:
            raise ConfigError("patience: expected validation images with it; got None")
        if len(np.unique(validation_labels)) == len(validation_labels):
            raise TrainingError(
                "patience: expected validation images with two of a class at least; got none: "
                "name classes of several images with --validation-classes (validation=)"
            )
    budget, limit = config.budget if task.encoder.is_sparse else None, None
    if config.stop_on == "budget":
        if budget is None:
            raise ConfigError("stop_on: expected a sparse encoder and a budget with 'budget'; got none")
        # What a controller meets is the cost of the entries that calibration leaves.
        field = "core_cost"
        if task.controller is None:
            field = "nnz_per_row" if budget.counts_nonzeros else "flops_per_document"
        limit = CostLimit(PREFIX + field, (1 + TOLERANCE) * budget.target)
    return EarlyStop(patience=config.patience, first_step=round(config.ramp_end * config.steps), limit=limit)
