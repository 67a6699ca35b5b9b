"""A progress bar of training on stderr."""

from __future__ import annotations

from typing import Any, cast

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gossamer.learning.training.health_callback import PREFIX


class TrainingProgress(Callback):
    """Draw steps done, time left, loss, penalty and weight, and what a search of rows held out would cost.

    They are the last ones in the ``history`` of the task.

    Lightning's own rich bar replaces the console of the whole process, so that results printed later
    would go where the bar went.
    """

    def __init__(self, description: str) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
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
        figures = ""
        if history := cast(Any, task).history:
            row = history[-1]
            figures = f"loss {row['loss']:.2f}  penalty {row['penalty']:.4f}  weight {row['weight']:.3g}"
            figures += _health(history)
        self._bar.update(self._training, completed=trainer.global_step, figures=figures)

    def on_train_end(self, *_: Any) -> None:
        """Leave the finished bar."""
        self._bar.stop()

    def on_exception(self, *_: Any) -> None:
        """Leave the bar as it stands, so that the error is printed below it."""
        self._bar.stop()


def _health(history: list[dict[str, Any]]) -> str:
    row = next((row for row in reversed(history) if PREFIX + "flops_per_document" in row), None)
    if row is None:
        return ""
    flops, dead, zero = (row[PREFIX + name] for name in ("flops_per_document", "dead_dims", "zero_rows"))
    return f"  FLOPs {flops:.2f}  dead dims {dead}  zero rows {zero}"
