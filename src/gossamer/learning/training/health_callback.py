"""A watch on images that are not learned from: their health goes to the history, their cost to the controller."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from gossamer.learning.budget import BudgetController, FlopsBudget
from gossamer.learning.calibration import CostSample, spaced
from gossamer.learning.cost import core_entries, measured_cost
from gossamer.learning.encoding import encode_dense
from gossamer.learning.health import examine
from gossamer.learning.regularizers.totals import n_ranks, sum_over_ranks
from gossamer.learning.training.image_data import ImageBatch
from gossamer.learning.training.task import SparseEmbeddingTask

PREFIX = "held_out_"
"""What the fields of the history begin with that are of these images."""

CORE_COST = PREFIX + "core_cost"
"""The field of what the controller brings to the target."""

MAX_ROWS = 256
"""How many images are looked at each time, at most: few, since it happens some fifty times."""

CORE = 0.5
"""The share of each row's squared norm whose cost the controller brings to the target, see `core_entries`."""

_FLOPS = FlopsBudget(flops_per_document=1.0)


class HealthWatch(Callback):
    """Look at some images every few steps: dead dimensions, all-zero rows, evenness, the hottest dims, the cost.

    What it finds is added to the row of that step in the task's history. A task with a controller has λ
    found from it, so that there it is needed; the controller's state is part of Lightning's checkpoints.

    Parameters
    ----------
    sample : CostSample
        The images; of more than `MAX_ROWS`, evenly spaced ones.
    every : int
        Steps between two looks; there is one after the last step in any case.
    """

    def __init__(self, sample: CostSample, *, every: int) -> None:
        labels = None if sample.labels is None else spaced(sample.labels, most=MAX_ROWS)
        self._sample = sample._replace(pixels=spaced(sample.pixels, most=MAX_ROWS), labels=labels)
        self._every = every
        self._controller: BudgetController | None = None
        self._losses = torch.zeros(2)  # sum and number, since the last look
        self._state: dict[str, Any] | None = None

    def setup(self, trainer: Trainer, task: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Tell the task that it is watched."""
        assert isinstance(task, SparseEmbeddingTask)
        task.is_watched = True
        self._controller = task.controller

    def on_train_start(self, *_: Any) -> None:
        """Take the state of a checkpoint, if training goes on from one."""
        if self._controller is not None and self._state is not None:
            self._controller.load_state_dict(self._state["controller"])
            self._losses = torch.tensor(self._state["losses"])

    def on_train_batch_end(
        self, trainer: Trainer, task: LightningModule, outputs: Any, batch: ImageBatch, batch_idx: int  # noqa: ARG002
    ) -> None:  # fmt: skip
        """Look, if it is time to."""
        assert isinstance(task, SparseEmbeddingTask)
        step = batch.step + 1
        if self._controller is not None:
            loss = task.last_loss.float()
            self._losses = self._losses.to(loss.device) + torch.stack([loss, torch.ones_like(loss)])
        if step % self._every and step != task.config.steps:
            return
        embeddings = torch.from_numpy(
            encode_dense(task.encoder, self._sample.pixels, device=str(task.device), precision=task.config.precision)
        )
        task.record(held_out_figures(embeddings, self._sample))
        if self._controller is not None:
            # Calibration drops the small entries: what counts is what the others cost.
            cost = _cost(self._controller.budget, core_entries(embeddings, share=CORE), self._sample)
            zero_share = float((embeddings == 0).all(dim=1).float().mean())
            self._controller.observe(step, cost, zero_share=zero_share, loss=self._mean_loss())
            task.record({CORE_COST: cost})

    def _mean_loss(self) -> float:
        """Return the mean loss of the steps since the last call, of all ranks."""
        total, n = (sum_over_ranks(self._losses) if n_ranks() > 1 else self._losses).tolist()
        self._losses = torch.zeros_like(self._losses)
        return float(total / n)

    def state_dict(self) -> dict[str, Any]:
        """Return what the next look depends on, for checkpoints; as JSON can hold it."""
        if self._controller is None:
            return {}
        return {"controller": self._controller.state_dict(), "losses": self._losses.tolist()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a state until training starts."""
        self._state = state_dict or None


def held_out_figures(embeddings: Tensor, sample: CostSample) -> dict[str, Any]:
    """Return what `examine` finds of a sample's embeddings, by the names that the history uses.

    FLOPs per document are those of `measured_cost`.
    """
    figures = dataclasses.asdict(examine(embeddings)) | {"flops_per_document": _cost(_FLOPS, embeddings, sample)}
    del figures["hit_rate_at_1"], figures["class_suboptimality_ratio"]  # those of labels
    return {PREFIX + name: value for name, value in figures.items()}


def _cost(budget: FlopsBudget, embeddings: Tensor, sample: CostSample) -> float:
    labels = None if sample.labels is None else torch.from_numpy(sample.labels)
    return measured_cost(budget, embeddings, labels, n_classes=sample.n_classes)
