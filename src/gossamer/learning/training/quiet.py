"""What Lightning says that is not for the user of a training run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's banners and tips, and the advice that does not apply here."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Batches are slices of memory: worker processes would only copy them.
            warnings.filterwarnings("ignore", message=".*does not have many workers")
            # A caller's backbone may be one that is not to be trained.
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training")
            # A log of the same name is replaced, as the log's docstring says.
            warnings.filterwarnings("ignore", message=".*Previous log files in this directory will be deleted")
            # Ours begins at the step that is to be done.
            warnings.filterwarnings("ignore", message=".*your dataloader is not resumable")
            # Lightning 2.6 with torch 2.13: its own use of torch's private trees.
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
