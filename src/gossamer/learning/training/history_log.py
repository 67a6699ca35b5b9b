"""The history of a run as a CSV file, row by row while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from gossamer.errors import OutputExistsError
from gossamer.learning.training.task import SparseEmbeddingTask

_FILE = "metrics.csv"


class HistoryLog(Callback):
    """Write the numbers of each row of a task's history to ``metrics.csv`` in a folder, by Lightning's logger.

    Parameters
    ----------
    folder : Path
        Made if need be.
    may_replace : bool
        Whether a ``metrics.csv`` that is there may be replaced.

    Raises
    ------
    OutputExistsError
        If it may not.
    """

    def __init__(self, folder: Path, *, may_replace: bool) -> None:
        if not may_replace and (folder / _FILE).exists():
            raise OutputExistsError(
                f"log_dir: {folder / _FILE} exists; pass --overwrite (overwrite=True) to replace it, or another folder"
            )
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
            self._logger.log_metrics(_numbers(row), step=row["step"])
            self._n_written += 1
            self._logger.save()


def _numbers(row: dict[str, Any]) -> dict[str, Tensor | float]:
    """Return the numbers of a row by name, those of a tuple as NAME_1, NAME_2 and so on."""
    numbers: dict[str, Tensor | float] = {}
    for name, value in row.items():
        entries = (
            {f"{name}_{i}": entry for i, entry in enumerate(value, 1)} if isinstance(value, tuple) else {name: value}
        )
        numbers |= {key: float(entry) for key, entry in entries.items() if isinstance(entry, int | float)}
    del numbers["step"]
    return numbers
