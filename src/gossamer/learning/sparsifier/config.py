"""All settings of a sparsifier: what it is, and how it learns."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gossamer.errors import ConfigError
from gossamer.learning.activations import ACTIVATIONS
from gossamer.learning.regularizers import REGULARIZERS
from gossamer.learning.settings import check_above_zero, check_counts, check_known
from gossamer.learning.sparsifier.objectives import OBJECTIVES

_COUNTS = {"width": 1, "dim": 1, "steps": 1, "batch_size": 2, "random_state": 0}


@dataclass(frozen=True, kw_only=True)
class SparsifierConfig:
    """The settings of a `Sparsifier` and the width of the rows that it takes.

    ``config.json`` holds all but the device, which is of the machine and not of the model.

    Parameters
    ----------
    width : int
        Columns of a dense row.
    dim, flops_per_document, activation, objective, regularizer, steps, batch_size, learning_rate, random_state, device
        As in `Sparsifier`.

    Raises
    ------
    ConfigError
        If a name is unknown, or a setting of another type or out of its range.
    """

    width: int
    dim: int
    flops_per_document: float
    activation: str
    objective: str
    regularizer: str
    steps: int
    batch_size: int
    learning_rate: float
    random_state: int
    device: str = "auto"

    def __post_init__(self) -> None:
        check_counts(self, _COUNTS)
        sparse = tuple(name for name in ACTIVATIONS if name != "none")
        check_known(self, {"activation": sparse, "objective": OBJECTIVES, "regularizer": REGULARIZERS})
        check_above_zero(self, ("flops_per_document", "learning_rate"))
        if self.flops_per_document > self.dim:
            raise ConfigError(f"flops_per_document: expected at most dim = {self.dim}; got {self.flops_per_document:g}")
        if self.activation == "top-k" and self.regularizer != "none":
            raise ConfigError(
                f"regularizer: expected 'none' with activation 'top-k', whose rows all have as many nonzeros; "
                f"got {self.regularizer!r}"
            )
        if not isinstance(self.device, str):
            raise ConfigError(f"device: expected auto, cpu, cuda or cuda:N; got {self.device!r}")

    @property
    def even_nnz_per_row(self) -> int:
        """The nonzeros of a row where all dimensions are even and the budget is met: √(F · dim)."""
        return max(1, round(math.sqrt(self.flops_per_document * self.dim)))
