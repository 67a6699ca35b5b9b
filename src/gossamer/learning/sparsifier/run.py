"""`train_network`: a training run from dense rows to a calibrated network."""

from __future__ import annotations

import logging
import time
from typing import Any, NamedTuple

import numpy as np
import torch

from gossamer.arrays import AnyArray, OffsetArray
from gossamer.errors import DataError
from gossamer.learning.budget.target import TOLERANCE
from gossamer.learning.calibration import spaced
from gossamer.learning.devices import pick_device
from gossamer.learning.sparsifier.calibration import calibrate_network, measure_network
from gossamer.learning.sparsifier.config import SparsifierConfig
from gossamer.learning.sparsifier.dense_rows import DenseRows
from gossamer.learning.sparsifier.network import SparsifierNetwork
from gossamer.learning.sparsifier.task import RowBatches, SparsifierTask
from gossamer.learning.training.plain_fit import take_steps
from gossamer.learning.training.progress import TrainingProgress
from gossamer.learning.training.quiet import quiet_lightning

logger = logging.getLogger(__name__)

MAX_HELD_OUT = 1024
"""How many rows stand for queries, at most: a twentieth, if there are enough."""
_AIM = 0.98  # of the budget is what held-out rows shall cost, since queries may cost a little more than they do
MAX_CALIBRATED = 8192
"""How many rows of the corpus are encoded for calibration, at most; their quantiles are what is wanted."""

_FEWEST_TO_HOLD_OUT = 40


class TrainedNetwork(NamedTuple):
    """What a training run leaves."""

    network: SparsifierNetwork
    """On the CPU, in evaluation mode."""
    metrics: dict[str, Any]
    """Data, figures and history, for ``metrics.json``."""


def train_network(
    dense: DenseRows, targets: AnyArray | None, config: SparsifierConfig, *, progress: bool
) -> TrainedNetwork:
    """Learn a network from dense rows, and calibrate it.

    Leaves no files and no trace in the random generators of the process.

    Parameters
    ----------
    dense : DenseRows
        The corpus. A twentieth of it is not learned from but stands for queries; rows of zeros are left out.
    targets : array, shape (n,), int64, optional
        The class of each row.
    config : SparsifierConfig
        How to train.
    progress : bool
        Whether to draw a progress bar on stderr.

    Raises
    ------
    DataError
        If no two rows point in different directions.
    TrainingError
        If the loss becomes NaN or infinite.
    ConfigError
        If the device is not there.
    """
    device = pick_device(config.device)
    learned, held_out = _split(dense, config.random_state)
    corpus = dense.take(spaced(dense.nonzero, most=MAX_CALIBRATED))
    if len(learned) < 2 or torch.allclose(corpus, corpus[:1], atol=1e-6):
        raise DataError("dense: expected at least two rows of different directions to learn from; got fewer")
    unseen = dense.take(held_out)
    start = time.perf_counter()
    with quiet_lightning(), torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        torch.manual_seed(config.random_state)
        network = SparsifierNetwork(config)
        task = SparsifierTask(network, config, unseen)
        batches = RowBatches(dense, learned, None if targets is None else targets[learned], config)
        take_steps(task, batches, device, TrainingProgress("fit") if progress else None)
    network.to(device).eval().settle(corpus.to(device))
    target, rows = config.flops_per_document, (corpus.to(device), unseen.to(device))
    is_calibrated = config.activation != "top-k"
    cost = (
        calibrate_network(network, *rows, flops_per_document=_AIM * target)
        if is_calibrated
        else measure_network(network, *rows)
    )
    _say_if_missed(cost, target, is_calibrated=is_calibrated, is_saturated=task.is_saturated)
    metrics = {
        "n_rows": len(dense),
        "n_held_out": len(held_out),
        "training_seconds": round(time.perf_counter() - start, 1),
        "torch": torch.__version__,
        "flops_per_document": cost,
        "history": task.history,
    }
    return TrainedNetwork(network.cpu(), metrics)


def _split(dense: DenseRows, seed: int) -> tuple[OffsetArray, OffsetArray]:
    """Return the rows to learn from and those that stand for queries; of few rows, all are both."""
    rows = dense.nonzero
    if len(rows) < _FEWEST_TO_HOLD_OUT:
        return rows, rows
    is_held_out = np.zeros(len(rows), bool)
    n_held_out = min(len(rows) // 20, MAX_HELD_OUT)
    is_held_out[np.random.default_rng((seed, 0, 0)).choice(len(rows), n_held_out, replace=False)] = True
    return rows[~is_held_out], rows[is_held_out]


def _say_if_missed(cost: float, target: float, *, is_calibrated: bool, is_saturated: bool) -> None:
    if abs(cost / target - 1) > TOLERANCE:
        remedy = "Take more steps, or a larger target" if cost > target else "No entry had to be dropped"
        logger.warning(
            "flops_per_document: %g was asked for, and %.3g is the nearest that was reached. %s",
            target,
            cost,
            remedy if is_calibrated else "With top-k, every row keeps as many entries, however uneven dimensions are",
        )
    elif is_saturated:
        logger.warning(
            "flops_per_document: the regularizer's weight ended at its limit, and calibration alone reached %.3g of "
            "the %g asked for. Take more steps, or a larger target",
            cost,
            target,
        )
