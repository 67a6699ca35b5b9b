"""Compiled loops over plain arrays. They trust their caller: every argument has been checked before.

numba compiles them at first use and caches them on disk. Floating point is strict (no ``fastmath``), so
that a score has the same bits on every path; `gossamer.kernels.reference` says what is computed.
"""

import functools
import logging
from typing import Any

from numba import njit
from numba.core import event

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}

jit = njit(**_OPTIONS)

jit_uncounted = njit(**_OPTIONS | {"_nrt": False})
"""As `jit`, for functions that make no arrays: references to those of the caller are not counted.

Counting them, atomically, for every slice takes longer than much of what is done with a short one. What such a function
calls is compiled without them, too, and must make no arrays either.
"""

_logger = logging.getLogger(__name__)


def call(kernel: Any, *arguments: Any) -> None:
    """Call a kernel that writes its results into its arguments.

    If it has to be compiled first, which takes seconds, a line is logged, once in a process.
    """
    if kernel.overloads:
        kernel(*arguments)
    else:
        with event.install_listener("numba:compile", _Notice()):
            kernel(*arguments)


class _Notice(event.Listener):
    def on_start(self, event: Any) -> None:  # noqa: ARG002 (the name is numba's)
        _announce_compiling()

    def on_end(self, event: Any) -> None:
        """Do nothing: numba calls it."""


@functools.cache
def _announce_compiling() -> None:
    _logger.info("Compiling the search kernels: this takes some seconds, once; they are cached on disk")
