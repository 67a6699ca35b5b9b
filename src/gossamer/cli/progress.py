"""Progress bars on stderr."""

from __future__ import annotations

import os
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressBars:
    """Draw one bar after the other, each from the first report of its stage to the last.

    Between stages nothing is drawn, so that other code may draw its own bars.

    Examples
    --------
    ::

        with ProgressBars() as progress:
            images = collection.decode(size=32, on_progress=partial(progress, "read images"))
    """

    def __init__(self) -> None:
        self._stage: str | None = None
        self._bar: Progress

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` is done; a total of 0 is unknown."""
        if stage != self._stage:
            self._stop()
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            # A process that was started for another device says nothing.
            is_quiet = os.environ.get("LOCAL_RANK", "0") != "0"
            self._bar = Progress(*columns, console=Console(stderr=True, quiet=is_quiet))
            self._bar.add_task(stage, total=total or None)
            self._bar.start()
            self._stage = stage
        self._bar.update(self._bar.task_ids[0], completed=done, total=total or None)
        if 0 < total <= done:
            self._stop()

    def _stop(self) -> None:
        if self._stage is not None:
            self._bar.stop()
            self._stage = None
