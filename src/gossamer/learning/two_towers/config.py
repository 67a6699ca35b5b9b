"""All settings of two towers: what they are, and how they learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gossamer.errors import ConfigError
from gossamer.learning.activations import ACTIVATIONS
from gossamer.learning.settings import check_above_zero, check_counts, check_known

_COUNTS = {"n_items": 1, "dim": 1, "width": 1, "steps": 1, "n_users": 1, "n_targets": 1, "n_negatives": 1, "seed": 0}
_NUMBERS = ("temperature", "learning_rate", "headroom")


@dataclass(frozen=True, kw_only=True)
class TwoTowersConfig:
    """The settings of `TwoTowers`; the defaults suit a catalog of some ten thousand items.

    ``config.json`` holds all but the device, which is of the machine and not of the model.

    Parameters
    ----------
    n_items : int
        Items to find.
    dim : int
        Dimensions of a code.
    activation : str
        One of `gossamer.learning.activations.ACTIVATIONS` but ``top-k``; ``none`` for dense codes.
    flops_per_item : float, optional
        What searching may cost: Σ_j p_j^user p_j^item multiply-adds per item, above 0 and at most ``dim``. For sparse
        codes, and only for them.
    width : int
        Of the features from which either head makes codes.
    steps : int
        Batches to learn from.
    n_users : int
        Users a batch; all, where there are fewer.
    n_targets : int
        Items a user of a batch is to find, at most; half of those that a user has, where that is less.
    n_negatives : int
        Items drawn evenly from the catalog, beside the batch's targets, that a user of a batch is to rank lower.
    hidden_share : float
        The share of a user's other items that the tower does not see while learning, at least 0 and below 1.
    temperature : float
        By which scores are divided in the softmax.
    learning_rate : float
        Peak of its course.
    headroom : float
        Training aims at this many times the budget, counting every nonzero; calibration drops the small ones.
    seed : int
        The same gives the same weights on the same machine, at least 0.
    device : str
        Where to train: auto, cpu, cuda or cuda:N.

    Raises
    ------
    ConfigError
        If a name is unknown, or a setting of another type or out of its range.
    """

    n_items: int
    dim: int = 128
    activation: str = "none"
    flops_per_item: float | None = None
    width: int = 128
    steps: int = 300
    n_users: int = 64
    n_targets: int = 8
    n_negatives: int = 512
    hidden_share: float = 0.5
    temperature: float = 0.3
    learning_rate: float = 1e-2
    headroom: float = 2.0
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_counts(self, _COUNTS)
        check_above_zero(self, _NUMBERS)
        check_known(self, {"activation": [name for name in ACTIVATIONS if name != "top-k"]})
        if (self.flops_per_item is None) == self.is_sparse:
            raise ConfigError(
                "flops_per_item: expected a number if and only if codes are sparse; "
                f"got {self.flops_per_item!r} and activation {self.activation!r}"
            )
        flops: Any = self.flops_per_item  # as a file may have it
        hidden: Any = self.hidden_share
        if flops is not None and not (isinstance(flops, int | float) and 0 < flops <= self.dim):
            raise ConfigError(f"flops_per_item: expected a number above 0 and at most dim = {self.dim}; got {flops!r}")
        if not (isinstance(hidden, int | float) and 0 <= hidden < 1):
            raise ConfigError(f"hidden_share: expected at least 0 and below 1; got {hidden!r}")
        if not isinstance(self.device, str):
            raise ConfigError(f"device: expected auto, cpu, cuda or cuda:N; got {self.device!r}")

    @property
    def is_sparse(self) -> bool:
        """Whether the activation makes exact zeros."""
        return self.activation != "none"
