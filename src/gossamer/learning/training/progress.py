"""A progress bar of training on stderr."""

from __future__ import annotations

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gossamer.learning.training.health_callback import PREFIX
from gossamer.learning.training.task import SparseEmbeddingTask

_BAR_WIDTH = 8


class TrainingProgress(Callback):
    """Draw steps done, time left, loss, penalty and λ, how often the validation hits, and what a search would cost.

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

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Show the bar."""
        self._bar.update(self._training, total=trainer.num_training_batches)
        self._bar.start()

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, *_: Any) -> None:
        """Move the bar, and show the figures of the last row of the history."""
        assert isinstance(task, SparseEmbeddingTask)
        self._bar.update(self._training, completed=trainer.global_step, figures=self._fitting(_figures(task.history)))

    def _fitting(self, figures: list[str]) -> str:
        """Return as many figures as the line has room for beside the steps and the time left."""
        bar = self._bar.tasks[0]
        room = self._bar.console.width - len(f"{bar.description} {bar.total}/{bar.total} 0:00:00 ") - _BAR_WIDTH - 1
        kept = [figure for n, figure in enumerate(figures) if len("  ".join(figures[: n + 1])) <= room]
        return "  ".join(kept)

    def on_train_end(self, *_: Any) -> None:
        """Leave the finished bar."""
        self._bar.stop()

    def on_exception(self, *_: Any) -> None:
        """Leave the bar as it stands, so that the error is printed below it."""
        self._bar.stop()


def _figures(history: list[dict[str, Any]]) -> list[str]:
    """Return what is shown of a history, the most important first: of each figure the last."""
    last: dict[str, Any] = {}
    for row in history:
        last |= {name: value for name, value in row.items() if value is not None}
    shown = {
        "loss": "loss {:.2f}",
        "weight": "λ {:.3g}",
        "hit_rate_at_1": "hit rate {:.3f}",
        PREFIX + "flops_per_document": "FLOPs {:.2f}",
        PREFIX + "zero_rows": "zero rows {}",
        PREFIX + "dead_dims": "dead dims {}",
        "penalty": "penalty {:.3g}",
    }
    return [text.format(last[name]) for name, text in shown.items() if name in last]
