"""The settings of a training run."""

import math
from dataclasses import dataclass, field

from gossamer.errors import ConfigError
from gossamer.learning.budget import QuadraticSchedule
from gossamer.learning.regularizers import REGULARIZERS
from gossamer.learning.training.augmentation import AffineAugmentation


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How to train; the defaults suit small images of some hundred classes.

    Parameters
    ----------
    steps : int
        Batches to learn from.
    batch_size : int
        Images a batch.
    learning_rate : float
        Of the encoder: it rises over the first tenth of the steps and falls to 0 along a cosine.
    class_learning_rate : float
        Of the loss's own weights, those of the classes; on the same course.
    weight_decay : float
        Of the encoder's weight matrices.
    loss : str
        One of `gossamer.learning.objectives.OBJECTIVES`.
    regularizer : str
        One of `gossamer.learning.regularizers.REGULARIZERS`.
    weight : float
        What the regularizer's factor λ grows to.
    flops_per_document : float, optional
        What the images learned from cost after training: small entries are dropped for it, see
        `gossamer.learning.calibrate`. Unseen classes cost more, by a third or so. None drops nothing;
        dense encoders are never calibrated.
    ramp_start, ramp_end : float
        The shares of the steps between which λ grows: learn first, then tighten, then hold.
    augmentation : AffineAugmentation, optional
        Random changes of the images; None for none.
    validate_every : int
        Steps between validations; there is one at the end in any case.
    seed : int
        The same seed gives the same weights on the same machine, at least 0.
    device : str
        Where to train; see `gossamer.learning.devices.pick_device`.

    Raises
    ------
    ConfigError
        If a setting is out of its range.
    """

    steps: int = 1600
    batch_size: int = 128
    learning_rate: float = 3e-3
    class_learning_rate: float = 1e-2
    weight_decay: float = 1e-2
    loss: str = "arcface"
    regularizer: str = "flops"
    weight: float = 40.0
    ramp_start: float = 0.2
    ramp_end: float = 0.7
    flops_per_document: float | None = 1.2
    augmentation: AffineAugmentation | None = field(default_factory=AffineAugmentation)
    validate_every: int = 200
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, lowest in (("steps", 1), ("batch_size", 2), ("validate_every", 1), ("seed", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < lowest:
                raise ConfigError(f"{name}: expected a whole number of at least {lowest}; got {value!r}")
        for name in ("learning_rate", "class_learning_rate", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name}: expected a finite number of at least 0; got {getattr(self, name)}")
        if self.flops_per_document is not None and not 0 < self.flops_per_document < math.inf:
            raise ConfigError(f"flops_per_document: expected a finite number above 0; got {self.flops_per_document}")
        if self.regularizer not in REGULARIZERS:
            raise ConfigError(f"regularizer: expected one of {', '.join(REGULARIZERS)}; got {self.regularizer!r}")
        if not 0 <= self.ramp_start <= self.ramp_end <= 1:
            raise ConfigError(
                f"ramp: expected 0 <= ramp_start <= ramp_end <= 1; got {self.ramp_start} and {self.ramp_end}"
            )
        self.schedule()

    def schedule(self) -> QuadraticSchedule:
        """Return the course of λ over the steps."""
        start = round(self.ramp_start * self.steps)
        end = round(self.ramp_end * self.steps)
        weight = 0.0 if self.regularizer == "none" else self.weight
        return QuadraticSchedule(weight=weight, warmup_steps=max(1, end - start), start_step=start)

    def learning_rate_share(self, step: int) -> float:
        """Return the factor of the learning rates at one step, counted from 0; in (0, 1]."""
        n_rising = self.steps // 10
        if step < n_rising:
            return (step + 1) / n_rising
        return 0.5 + 0.5 * math.cos(math.pi * (step - n_rising) / (self.steps - n_rising))
