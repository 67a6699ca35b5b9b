"""A progress bar of training on stderr."""

from __future__ import annotations

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from gossamer.learning.training.task import SparseEmbeddingTask


class TrainingProgress(Callback):
    """Draw steps done, time left, loss, penalty, λ, and the hit rate of the last validation.

    Lightning's own rich bar replaces the console of the whole process, so that results printed later
    would go where the bar went.
    """

    def __init__(self, description: str) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=8),
            MofNCompleteColumn(),
            # In a narrow terminal the figures are cut off, not the time left.
            TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
            TextColumn("{task.fields[figures]}"),
            console=Console(stderr=True),
        )
        self._training = self._bar.add_task(description, figures="")

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Show the bar."""
        self._bar.update(self._training, total=trainer.num_training_batches)
        self._bar.start()

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, *_: Any) -> None:
        """Move the bar, and show the figures of the last row of the history."""
        assert isinstance(task, SparseEmbeddingTask)
        figures = ""
        if task.history:
            row = task.history[-1]
            figures = f"loss {row['loss']:.2f}  penalty {row['penalty']:.3g}  λ {row['weight']:.3g}"
            rates = [row["hit_rate_at_1"] for row in task.history if row.get("hit_rate_at_1") is not None]
            figures += f"  hit rate {rates[-1]:.3f}" if rates else ""
        self._bar.update(self._training, completed=trainer.global_step, figures=figures)

    def on_train_end(self, *_: Any) -> None:
        """Leave the finished bar."""
        self._bar.stop()

    def on_exception(self, *_: Any) -> None:
        """Leave the bar as it stands, so that the error is printed below it."""
        self._bar.stop()
