"""The end of a training run with a budget: calibration, and what came of it."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gossamer.learning.budget import FlopsBudget
from gossamer.learning.calibration import calibrate, spaced
from gossamer.learning.encoding import encode_dense
from gossamer.learning.training.health_callback import CORE_COST, held_out_figures
from gossamer.learning.training.image_data import ImageDataModule
from gossamer.learning.training.task import SparseEmbeddingTask

# What is searched later is more foreign than classes held out of the same images: Omniglot's evaluation alphabets cost
# 1.1 to 1.3 times as much as held-out characters of the background's (benchmarks/learning_budget.py). Within the
# tolerance of a tenth, below is therefore better than above, and as far below as it allows.
_MARGIN = 0.095

logger = logging.getLogger(__name__)


class BudgetOutcome(NamedTuple):
    """What a run was to cost, and what it costs."""

    unit: str
    target: float
    reached: float
    """On the images held out, after calibration."""
    is_met: bool
    """Whether that is within a tenth of the target."""
    n_held_out: int
    """How many images were held out."""
    held_out_classes: int | None
    """How many classes they are, if held out whole; None if they are some rows of classes learned from."""
    n_back_offs: int
    """How often rows became all zero while training, so that the weight was lowered."""


def meet_budget(
    task: SparseEmbeddingTask, data: ImageDataModule, pixels: NDArray[np.uint8], budget: FlopsBudget, *, device: str
) -> BudgetOutcome:
    """Calibrate a task's encoder on the images held out, add a row to its history, and say if the budget is missed.

    Parameters
    ----------
    task : SparseEmbeddingTask
        Trained; its encoder's thresholds are set in place.
    data : ImageDataModule
        With images held out.
    pixels : array, shape (n, channels, size, size), uint8
        All images, also those that ``data`` does not learn from.
    budget : FlopsBudget
        What to meet.
    device : str
        Where to encode.
    """
    sample = data.cost_sample
    assert sample is not None
    chosen = spaced(data.rows)
    margin = _MARGIN if sample.labels is not None else 0.0
    cost = calibrate(task.encoder, pixels[chosen], budget=budget, sample=sample, margin=margin, device=device)
    # What the controller saw is of the encoder before calibration.
    last = {name: value for name, value in task.history[-1].items() if name != CORE_COST}
    task.history.append({**last, "is_calibrated": True})
    embeddings = torch.from_numpy(
        encode_dense(task.encoder, sample.pixels, device=device, precision=task.config.precision)
    )
    task.record(held_out_figures(embeddings, sample))
    if not budget.is_met_by(cost):
        logger.warning(
            "budget: %.3g %s cannot be reached; the nearest is %.3g, with %s",
            budget.target, budget.unit, cost, _why(budget, cost),
        )  # fmt: skip
    elif task.controller is not None and task.controller.is_saturated:
        logger.warning(
            "budget: the regularizer's weight ended at its limit, and calibration alone reached %.3g of the %.3g %s "
            "asked for; take more steps, or a larger budget",
            cost, budget.target, budget.unit,
        )  # fmt: skip
    return BudgetOutcome(
        unit=budget.unit,
        target=budget.target,
        reached=cost,
        is_met=budget.is_met_by(cost),
        n_held_out=len(sample.pixels),
        held_out_classes=None if sample.labels is None else len(np.unique(sample.labels)),
        n_back_offs=0 if task.controller is None else task.controller.n_back_offs,
    )


def _why(budget: FlopsBudget, cost: float) -> str:
    if cost < budget.target:
        return "no entry dropped"
    return "little more than the largest entry of each row kept"
