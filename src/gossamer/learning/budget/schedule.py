"""A weight of the regularizer that grows on a set course, as in the paper."""

import math
from dataclasses import dataclass

from gossamer.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class QuadraticSchedule:
    """Let the weight grow as (step / warmup_steps)², then hold it (Paria et al., 2020).

    Parameters
    ----------
    weight : float
        What the weight grows to, λ; finite and at least 0.
    warmup_steps : int
        How many steps it grows for, at least 1.
    start_step : int
        The step at which growth starts; before it the weight is 0. Ours, not the paper's: a penalty
        that pushes before the loss has fallen leaves an encoder that is sparse and useless.

    Raises
    ------
    ConfigError
        If a setting is out of its range.

    Examples
    --------
    >>> schedule = QuadraticSchedule(weight=8.0, warmup_steps=4, start_step=10)
    >>> [schedule.at(step) for step in (0, 10, 11, 12, 14, 99)]
    [0.0, 0.0, 0.5, 2.0, 8.0, 8.0]
    """

    weight: float
    warmup_steps: int
    start_step: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ConfigError(f"weight: expected a finite number of at least 0; got {self.weight}")
        if self.warmup_steps < 1:
            raise ConfigError(f"warmup_steps: expected at least 1; got {self.warmup_steps}")
        if self.start_step < 0:
            raise ConfigError(f"start_step: expected at least 0; got {self.start_step}")

    def at(self, step: int) -> float:
        """Return the weight at one step, counted from 0."""
        grown = max(0, step - self.start_step) / self.warmup_steps
        return self.weight * min(1.0, grown) ** 2
