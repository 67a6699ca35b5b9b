"""The settings of a training run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gossamer.errors import ConfigError
from gossamer.learning.budget import FlopsBudget, QuadraticSchedule
from gossamer.learning.devices import PRECISIONS
from gossamer.learning.encoder import EncoderConfig
from gossamer.learning.objectives import OBJECTIVES
from gossamer.learning.regularizers import REGULARIZERS
from gossamer.learning.settings import check_counts, check_known
from gossamer.learning.training.augmentation import AffineAugmentation
from gossamer.learning.training.learning_rate import learning_rate_share

LOG_EVERY = 10
"""Steps between two rows of the history."""

STOP_ON = ("hit-rate", "budget")


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
        One of `gossamer.learning.objectives.OBJECTIVES`, or ``custom``: the caller's.
    margin, scale : float, optional
        Of the loss, where it has them; None for what `OBJECTIVES` says.
    rows_per_class : int, optional
        How many images of each of its classes a batch holds. None for what the loss needs: those that
        compare rows need several, the others take images in any order.
    regularizer : str
        One of `gossamer.learning.regularizers.REGULARIZERS`.
    budget : FlopsBudget, optional
        What searching images of classes not learned from may cost. A share of the images is held out
        for it, see `gossamer.learning.training.holdout.hold_out`: the regularizer's factor λ is found by
        what they cost, see `gossamer.learning.BudgetController`, and after training small entries are
        dropped, see `gossamer.learning.calibrate`. None drops nothing; dense encoders have no budget.
    weight : float, optional
        What λ grows to with the square of the step, whatever the cost, as in the paper. None to find λ
        by the budget.
    ramp_start, ramp_end : float
        The shares of the steps between which λ or the cost moves: learn first, then tighten, then hold.
    revive_after : int, optional
        Steps in which no row uses a dimension, after which it starts afresh, until ``ramp_end``; see
        `gossamer.learning.revival.DeadDimRevival`. None for never.
    augmentation : AffineAugmentation, optional
        Random changes of the images; None for none.
    validate_every : int
        Steps between validations; there is one at the end in any case.
    patience : int, optional
        After how many measurements in a row to stop early, of those after ``ramp_end``; None to take all
        steps. The learning rate has not fallen to 0 then. See `gossamer.learning.training.stopping`.
    stop_on : str
        ``hit-rate``: validations that bring no better one, and the weights of the best are kept;
        ``budget``: looks at images held out whose cost is in the budget, and the last weights are kept.
        They are looked at some fifty times, or every tenth step where λ is given.
    precision : str
        ``float32``, or ``bf16``: the encoder in mixed precision, loss and penalty in float32 all the same.
    devices : int
        How many GPUs, or processes on a CPU, share each batch, with the same result as one but for
        rounding. For more than one the program, which must be a file, is started once more for each, so
        that it may train only once; these end when training does, and one goes on.
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
    margin: float | None = None
    scale: float | None = None
    rows_per_class: int | None = None
    regularizer: str = "flops"
    budget: FlopsBudget | None = field(default_factory=lambda: FlopsBudget(flops_per_document=1.0))
    weight: float | None = None
    ramp_start: float = 0.2
    ramp_end: float = 0.7
    revive_after: int | None = None
    augmentation: AffineAugmentation | None = field(default_factory=AffineAugmentation)
    validate_every: int = 200
    patience: int | None = None
    stop_on: str = "hit-rate"
    precision: str = "float32"
    devices: int = 1
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_counts(self, {"steps": 1, "batch_size": 2, "validate_every": 1, "devices": 1, "seed": 0})
        given = [name for name in ("revive_after", "rows_per_class", "patience") if getattr(self, name) is not None]
        check_counts(self, dict.fromkeys(given, 1))
        for name in ("learning_rate", "class_learning_rate", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name}: expected a finite number of at least 0; got {getattr(self, name)}")
        check_known(self, {"stop_on": STOP_ON, "precision": PRECISIONS})
        if self.batch_size % self.devices:
            raise ConfigError(
                f"batch_size: expected a multiple of devices = {self.devices}, which share it; got {self.batch_size}"
            )
        check_known(self, {"regularizer": REGULARIZERS})
        if not 0 <= self.ramp_start <= self.ramp_end <= 1:
            raise ConfigError(
                f"ramp: expected 0 <= ramp_start <= ramp_end <= 1; got {self.ramp_start} and {self.ramp_end}"
            )
        if self.weight is None and self.budget is None and self.regularizer != "none":
            raise ConfigError("weight: expected a number where there is no budget to find it by; got None")
        self.schedule()

    @property
    def is_controlled(self) -> bool:
        """Whether the regularizer's weight is found by the budget."""
        return self.weight is None and self.regularizer != "none"

    @property
    def drawn_per_class(self) -> int | None:
        """How many images of each of its classes a batch holds; None for images in any order."""
        if self.rows_per_class is None and self.loss in OBJECTIVES:
            return OBJECTIVES[self.loss].rows_per_class
        return self.rows_per_class

    def schedule(self) -> QuadraticSchedule:
        """Return the course of λ over the steps, where no budget finds it."""
        start = round(self.ramp_start * self.steps)
        end = round(self.ramp_end * self.steps)
        weight = 0.0 if self.regularizer == "none" or self.weight is None else self.weight
        return QuadraticSchedule(weight=weight, warmup_steps=max(1, end - start), start_step=start)

    def learning_rate_share(self, step: int) -> float:
        """Return the factor of the learning rates at one step, counted from 0; in (0, 1]."""
        return learning_rate_share(step, steps=self.steps)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings that belong together: what to build and how to train it."""

    encoder: EncoderConfig
    training: TrainingConfig


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "paper-face": Preset(
            encoder=EncoderConfig(dim=1024, backbone="mobilefacenet", activation="relu", image_size=112, channels=3),
            training=TrainingConfig(
                steps=230_000,
                batch_size=256,
                learning_rate=1e-3,
                loss="arcface",
                margin=0.5,
                scale=64.0,
                regularizer="flops",
                weight=100.0,
                ramp_start=0.0,
                ramp_end=50 / 230,
                budget=None,
                augmentation=None,
                validate_every=5_000,
            ),
        ),
        "paper-cifar": Preset(
            encoder=EncoderConfig(
                dim=64,
                backbone="network-in-network",
                activation="soft-threshold",
                theta=0.1,
                image_size=32,
                channels=3,
            ),
            training=TrainingConfig(
                steps=50_000,
                batch_size=512,
                learning_rate=1e-3,
                loss="semi-hard-triplet",
                margin=0.1,
                rows_per_class=8,
                regularizer="flops",
                weight=1e-3,
                ramp_start=0.0,
                ramp_end=0.3,
                budget=None,
                validate_every=1_000,
            ),
        ),
    }
)
"""The settings of Paria et al. (2020), by name: a model, a loss and a penalty as theirs, in our trainer.

``paper-face`` is for aligned faces of tens of thousands of people. Their second network for it, a residual
one, ends in a soft threshold of 0.5: ``resnet50`` and ``soft-threshold`` in place of the two names here.
``paper-cifar`` is for CIFAR-100. From the paper and its scripts (github.com/biswajitsc/sparse-embed) are
dim, backbone, activation, θ, loss, margin, scale, batch size (for faces, on each of four GPUs), the weight
(they try a range; for CIFAR this is its lower end) and the steps over which it grows; the number of steps
for faces is that of the residual network. Ours are AdamW and its cosine (theirs: momentum for faces, Adam
for CIFAR, both falling in steps), classes in equal numbers, a θ that is in standard deviations, and random
changes of CIFAR's images other than crops and flips. Nothing is calibrated after training.
"""


def find_preset(name: str) -> Preset:
    """Return a preset by its name.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name not in PRESETS:
        raise ConfigError(f"preset: expected one of {', '.join(PRESETS)}; got {name!r}")
    return PRESETS[name]
