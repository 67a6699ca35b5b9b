"""The history of a run as a CSV file, row by row while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from gossamer.learning.training.task import SparseEmbeddingTask


class HistoryLog(Callback):
    """Write the numbers of each row of a task's history to ``metrics.csv`` in a folder, by Lightning's logger.

    Parameters
    ----------
    folder : Path
        Made if need be; a ``metrics.csv`` that is there is replaced.
    """

    def __init__(self, folder: Path) -> None:
        self._logger = CSVLogger(folder, name=None, version="")
        self._n_written = 0

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, *_: Any) -> None:  # noqa: ARG002
        """Write the rows that are complete: all but the last, which callbacks may still add to."""
        self._write(task, keep=1)

    def on_exception(self, trainer: Trainer, task: LightningModule, *_: Any) -> None:  # noqa: ARG002
        """Write what there is, if training ends early."""
        self.finish(task)

    def finish(self, task: LightningModule) -> None:
        """Write what is left, when nothing will be added any more."""
        self._write(task, keep=0)

    def _write(self, task: LightningModule, *, keep: int) -> None:
        assert isinstance(task, SparseEmbeddingTask)
        for row in task.history[self._n_written : len(task.history) - keep]:
            numbers: dict[str, Tensor | float] = {
                name: float(value) for name, value in row.items() if isinstance(value, int | float) and name != "step"
            }
            self._logger.log_metrics(numbers, step=row["step"])
            self._n_written += 1
            self._logger.save()
