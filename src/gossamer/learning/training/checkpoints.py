"""Stop and go on: checkpoints of a run, and Ctrl-C or SIGTERM that writes one."""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import CheckpointIO

import gossamer
from gossamer.errors import ConfigError, MismatchError, NotFoundError, OutputExistsError
from gossamer.learning.calibration import spaced
from gossamer.learning.training.checkpoint_files import STATE, read_state, write_state

if TYPE_CHECKING:
    from gossamer.datasets.images import LabeledImages

_HASHED_IMAGES = 8192
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_CHECKPOINT = re.compile(r"step-(\d{9,})")
# A kill while writing leaves a hidden part, named as `gossamer.files.replaced_folder` does.
_PART = re.compile(r"\.step-\d{9,}\.[0-9a-f]{8}\.(partial|old)")


class SafeCheckpointIO(CheckpointIO):
    """Let Lightning write and read its checkpoints as `gossamer.learning.training.checkpoint_files` does."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write a folder; whole or not at all."""
        write_state(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Read a folder; errors as in `read_state`."""
        return read_state(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a folder."""
        shutil.rmtree(path)


class Interrupts:
    """Note the first Ctrl-C or SIGTERM within a ``with`` block, and raise KeyboardInterrupt at the second.

    SIGTERM is what batch systems and service managers send before they kill. In a thread other than the main
    one, which gets no signals, nothing is noted.
    """

    def __init__(self) -> None:
        self.has_come = False
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def take_sigterm(self) -> None:
        """Take SIGTERM back from Lightning, which ends at once, and calls other ranks in a signal handler."""
        if self._handlers:
            signal.signal(signal.SIGTERM, self._note)

    def _note(self, *_: Any) -> None:
        if self.has_come:
            raise KeyboardInterrupt
        self.has_come = True


class Checkpoints(Callback):
    """Write the state of a run every so many steps, and when Ctrl-C or SIGTERM asks for its end.

    It is written before a step begins, when all that belongs to the steps before, validation included,
    is done. Only the newest is kept.

    Parameters
    ----------
    folder : Path
        Where to write; its parent exists. Made with the first checkpoint.
    every : int
        Steps between two checkpoints, at least 1.
    run : dict
        What the run is, as `identity` says it.
    resume : bool
        Whether it is to go on from the newest checkpoint there.
    overwrite : bool
        Whether, if not, those of another run may be deleted; they are when the first step begins.

    Raises
    ------
    ConfigError
        If ``every`` is below 1.
    NotFoundError
        If the folder to write into does not exist, or there is no checkpoint to resume from.
    MismatchError
        If the one to resume from is of another run.
    FormatError
        If it is damaged.
    OutputExistsError
        If there is one and it is not to be resumed: no new run replaces what another one did.

    Attributes
    ----------
    interrupts : Interrupts
        Whether Ctrl-C was pressed or SIGTERM sent; to be entered around the training.
    resumed : Path or None
        The checkpoint to go on from.
    seconds_before : float
        How long the run took until that was written.
    """

    def __init__(self, folder: Path, *, every: int, run: dict[str, Any], resume: bool, overwrite: bool) -> None:
        if type(every) is not int or every < 1:
            raise ConfigError(f"checkpoint_every: expected a whole number of at least 1; got {every!r}")
        if not folder.absolute().parent.is_dir():
            raise NotFoundError(f"checkpoints: expected an existing folder to write into; {folder.parent} is none")
        self.interrupts = Interrupts()
        self.seconds_before = 0.0
        self._folder, self._every, self._run = folder, every, run
        self._start = time.perf_counter()
        self.resumed = None if overwrite and not resume else _checked(folder, run, resume=resume)
        self._written_step = 0 if self.resumed is None else _step(self.resumed)

    def on_train_start(self, trainer: Trainer, task: LightningModule) -> None:  # noqa: ARG002
        """Delete what another run left: now that this one has all that it needs."""
        self.interrupts.take_sigterm()
        if self.resumed is None and trainer.is_global_zero:
            remove_checkpoints(self._folder)

    def on_train_batch_start(self, trainer: Trainer, task: LightningModule, *_: Any) -> None:  # noqa: ARG002
        """Write a checkpoint if it is time, and stop if an interrupt has come, to any rank."""
        step = trainer.global_step
        is_stopped = self.interrupts.has_come
        if trainer.world_size > 1:  # all ranks stop before the same step
            is_stopped = trainer.strategy.reduce_boolean_decision(is_stopped, all=False)
        if step > self._written_step and (is_stopped or step % self._every == 0):
            self._write(trainer, step)
        if is_stopped:
            raise KeyboardInterrupt(self.sentence)

    @property
    def sentence(self) -> str:
        """What to tell of a run that was interrupted."""
        if self._written_step == 0:
            return "interrupted before the first step was done"
        return (
            f"interrupted: {self._written_step} of {self._run['steps']} steps are kept in {self._folder}; "
            "go on by the same call with --resume (resume=True)"
        )

    def on_save_checkpoint(self, trainer: Trainer, task: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Add what the run is, and how long it took."""
        checkpoint["run"] = self._run
        checkpoint["seconds"] = self.seconds_before + time.perf_counter() - self._start

    def on_load_checkpoint(self, trainer: Trainer, task: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Count on from the time before."""
        self.seconds_before = checkpoint["seconds"]

    def _write(self, trainer: Trainer, step: int) -> None:
        if trainer.is_global_zero:
            self._folder.mkdir(exist_ok=True)
        trainer.save_checkpoint(self._folder / f"step-{step:09d}")
        if trainer.is_global_zero:
            for old in _own_folders(self._folder):
                if old.name != f"step-{step:09d}":
                    shutil.rmtree(old)
        self._written_step = step


def open_checkpoints(
    folder: str | Path | None, *, every: int, run: Callable[[], dict[str, Any]], resume: bool, overwrite: bool
) -> Checkpoints | None:
    """Return the checkpoints of a folder, None without one; parameters and errors as of `Checkpoints`."""
    if folder is not None:
        return Checkpoints(Path(folder), every=every, run=run(), resume=resume, overwrite=overwrite)
    if resume:
        raise ConfigError("resume: expected checkpoint_dir with it; got None")
    return None


def _checked(folder: Path, run: dict[str, Any], *, resume: bool) -> Path | None:
    """Return the checkpoint to resume from, if that is wanted; errors as in `Checkpoints`."""
    newest = newest_checkpoint(folder)
    if newest is None:
        if resume:
            raise NotFoundError(
                f"checkpoints: {folder} holds none to go on from; start without --resume (resume=False)"
            )
        return None
    if not resume:
        raise OutputExistsError(
            f"checkpoints: {newest} is of a run that was stopped; go on with --resume (resume=True), "
            f"or delete {folder} to start over"
        )
    found = read_state(newest).get("run", {})
    for key in sorted(run.keys() | found.keys()):
        if run.get(key) != found.get(key):
            raise MismatchError(
                f"checkpoints: {newest} is of a run with {key} {found.get(key)}; this one has {run.get(key)}. "
                "Resume with what it was started with, or delete it to start over"
            )
    return newest


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint of a folder; None if there is none, or no such folder."""
    found = [path for path in _own_folders(folder) if _CHECKPOINT.fullmatch(path.name) and (path / STATE).is_file()]
    return max(found, key=_step, default=None)


def remove_checkpoints(folder: Path) -> None:
    """Delete a folder of checkpoints, if there is one; a folder that holds anything else is left, without them."""
    for path in _own_folders(folder):
        shutil.rmtree(path)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def identity(settings: dict[str, Any], images: LabeledImages, validation: LabeledImages | None) -> dict[str, Any]:
    """Return what makes two runs the same: settings, images and versions.

    Of more than 8,192 images, pixels of as many evenly spaced ones are compared, and the labels of all.
    """
    return {
        **settings,
        "images": _digest(images),
        "validation": None if validation is None else _digest(validation),
        "gossamer": gossamer.__version__,
        "torch": torch.__version__,
    }


def _digest(images: LabeledImages) -> str:
    digest = hashlib.sha256(repr((images.pixels.shape, images.labels.tolist())).encode())
    for row in spaced(np.arange(len(images)), most=_HASHED_IMAGES):
        digest.update(images.pixels[row].tobytes())
    return digest.hexdigest()[:16]


def _own_folders(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, whole or not; nothing else, whatever it is called."""
    found = folder.iterdir() if folder.is_dir() else ()
    return [
        path for path in found if path.is_dir() and (_CHECKPOINT.fullmatch(path.name) or _PART.fullmatch(path.name))
    ]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))
