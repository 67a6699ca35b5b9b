"""The course of the learning rate over a training run."""

from __future__ import annotations

import math


def learning_rate_share(step: int, *, steps: int) -> float:
    """Return the factor of the learning rates at one step, counted from 0; in (0, 1], and 0 after the last.

    It rises evenly over the first tenth of the steps, and falls to 0 along a cosine.
    """
    n_rising = steps // 10
    if step < n_rising:
        return (step + 1) / n_rising
    return 0.5 + 0.5 * math.cos(math.pi * (step - n_rising) / (steps - n_rising))
