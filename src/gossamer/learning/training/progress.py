"""A progress bar of training on stderr."""

from __future__ import annotations

from typing import Any, cast

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gossamer.learning.training.health_callback import PREFIX

_BAR_WIDTH = 8

_SHOWN = {
    "loss": "loss {:.2f}",
    "weight": "λ {:.3g}",
    "hit_rate_at_1": "hit rate {:.3f}",
    PREFIX + "flops_per_document": "FLOPs {:.3g}",
    PREFIX + "dead_dims": "dead {}",
    PREFIX + "zero_rows": "zero {}",
    "penalty": "penalty {:.3g}",
}  # the most important first


class TrainingProgress(Callback):
    """Draw steps done, time left, loss, λ, the hit rate, and of images held out FLOPs, dead dims, all-zero rows.

    Lightning's own rich bar replaces the console of the whole process, so that results printed later
    would go where the bar went.
    """

    def __init__(self, description: str) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=_BAR_WIDTH),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=Console(stderr=True),
        )
        self._training = self._bar.add_task(description, figures="")
        self._last: dict[str, Any] = {}
        self._n_rows = 0

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Show the bar."""
        self._bar.update(self._training, total=trainer.num_training_batches)
        if trainer.is_global_zero:
            self._bar.start()

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, *_: Any) -> None:
        """Move the bar, and show the figures of the history."""
        self._bar.update(self._training, completed=trainer.global_step, figures=self._figures(cast(Any, task).history))

    def _figures(self, history: list[dict[str, Any]]) -> str:
        """Return the last of each figure, as many as the line has room for beside the steps and the time left."""
        for row in history[max(0, self._n_rows - 1) :]:  # the row that was last may have more by now
            self._last |= {name: value for name, value in row.items() if value is not None}
        self._n_rows = len(history)
        bar, figures = self._bar.tasks[0], ""
        room = self._bar.console.width - len(f"{bar.description} {bar.total}/{bar.total} 0:00:00 ") - _BAR_WIDTH - 1
        for name, text in _SHOWN.items():
            if name in self._last and len(figures) + len(text.format(self._last[name])) < room:
                figures += ("  " if figures else "") + text.format(self._last[name])
        return figures

    def on_train_end(self, *_: Any) -> None:
        """Leave the finished bar."""
        self._bar.stop()

    def on_exception(self, *_: Any) -> None:
        """Leave the bar as it stands, so that the error is printed below it."""
        self._bar.stop()
