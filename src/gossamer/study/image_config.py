"""The settings of a study of images: which pictures, and how encoders are built and trained."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gossamer.errors import ConfigError, MissingDependencyError
from gossamer.results import check_count
from gossamer.study.methods import HASH_TABLE, MethodConfig

if TYPE_CHECKING:
    from gossamer.learning.deep_hashing import DeepHashingLoss
    from gossamer.learning.encoder import EncoderConfig
    from gossamer.learning.training import TrainingConfig

DENSE, SPARSE = "dense", "sparse"
QUICK_STEPS = 100

_KINDS: dict[str, dict[str, Any]] = {
    DENSE: {"dim": 128, "activation": "none"},
    SPARSE: {"dim": 4096, "activation": "relu"},
}
_ENCODER_KEYS = ("dim", "backbone", "activation", "theta", "nnz_per_row")
_FROM_METHODS = ("regularizer", "weight", "budget", "seed")  # said by methods and seeds
_HASH_ROWS_PER_CLASS = 8


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """Which pictures a study is of, and how its encoders learn; all methods' alike, but for what a method says.

    Parameters
    ----------
    train : str
        What is learned from: a name of `gossamer.study.image_data.KNOWN`, or the path of a folder, or zip, of class
        folders.
    search : str, optional
        What is searched, or in identification gallery, probes and distractors come from; given likewise. Without
        it ``unseen_classes`` says what is.
    queries : str, optional
        For class retrieval, what is asked. Without it, pictures that are searched ask, each one left out of its own
        results.
    unseen_classes : int, optional
        How many of the classes of ``train``, drawn at random, are searched and not learned from.
    size, channels : int
        Of all pictures.
    split_seed : int
        Of the draws of classes and groups; those of every seed of the study.
    encoders : mapping
        Under ``dense`` and ``sparse``, settings of `EncoderConfig` other than 128 and 4,096 dimensions.
    training : mapping
        Settings of `TrainingConfig` but for those that a method or the study's seeds say.

    Raises
    ------
    ConfigError, ArgumentError
        If a setting is unknown, of another type or out of its range, or not exactly one of search and
        unseen_classes is given.
    MissingDependencyError
        If the libraries for learning are not installed.
    """

    train: str
    search: str | None = None
    queries: str | None = None
    unseen_classes: int | None = None
    size: int = 32
    channels: int = 1
    split_seed: int = 0
    encoders: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.search is None) == (self.unseen_classes is None):
            raise ConfigError("images: expected either search or unseen_classes; got " + _both_or_neither(self.search))
        if self.unseen_classes is not None:
            check_count(self.unseen_classes, name="images, unseen_classes")
        check_count(self.size, name="images, size")
        if self.channels not in (1, 3):
            raise ConfigError(f"images, channels: expected 1 or 3; got {self.channels!r}")
        if type(self.split_seed) is not int or self.split_seed < 0:
            raise ConfigError(f"images, split_seed: expected a whole number of at least 0; got {self.split_seed!r}")
        for module in ("torch", "lightning"):
            if importlib.util.find_spec(module) is None:
                raise MissingDependencyError(
                    f"a study of images needs {module}, which is not installed: pip install 'gossamer[learn]'"
                )
        for kind, given in self.encoders.items():
            if kind not in _KINDS or not isinstance(given, dict):
                raise ConfigError(f"encoders: expected settings under {' and '.join(_KINDS)}; got {kind!r}")
            for key in given:
                if key not in _ENCODER_KEYS:
                    raise ConfigError(f"encoders, {kind}: expected keys of {', '.join(_ENCODER_KEYS)}; got {key!r}")
        if self.encoder_config(DENSE).activation != "none" or self.encoder_config(SPARSE).activation == "none":
            raise ConfigError("encoders: expected activation 'none' of the dense one alone")
        self._check_training()

    def encoder_config(self, kind: str, **settings: Any) -> EncoderConfig:
        """Return what to build: ``dense`` or ``sparse``."""
        from gossamer.learning.encoder import EncoderConfig

        sizes = {"image_size": self.size, "channels": self.channels}
        return EncoderConfig(**{**_KINDS[kind], **self.encoders.get(kind, {}), **settings, **sizes})

    def training_config(self, seed: int, method: MethodConfig | None = None) -> TrainingConfig:
        """Return how a method's encoder is trained; the dense one's without a method."""
        from gossamer.learning.budget import FlopsBudget
        from gossamer.learning.training import TrainingConfig

        settings = {**self.training, "seed": seed}
        if method is None:
            return TrainingConfig(**settings, regularizer="none")
        if method.name == HASH_TABLE:
            rows = method.settings.get("rows_per_class", settings.get("rows_per_class", _HASH_ROWS_PER_CLASS))
            return TrainingConfig(**{**settings, "rows_per_class": rows}, regularizer="none")
        own = {key: method.settings[key] for key in ("flops_per_document", "nnz_per_row") if key in method.settings}
        if len(own) + ("weight" in method.settings) != 1:
            raise ConfigError("sparse: expected exactly one of flops_per_document, nnz_per_row and weight")
        return TrainingConfig(
            **settings,
            regularizer=method.settings["regularizer"],
            weight=method.settings.get("weight"),
            budget=FlopsBudget(**own) if own else None,
        )

    def hash_loss(self, method: MethodConfig) -> DeepHashingLoss:
        """Return what the encoder of hash codes learns by."""
        from gossamer.learning.deep_hashing import DeepHashingLoss

        given = {key: method.settings[key] for key in ("n_active", "collision_weight") if key in method.settings}
        return DeepHashingLoss(**given)

    def check_method(self, method: MethodConfig) -> None:
        """Refuse a method whose encoder could not be trained.

        Raises
        ------
        ConfigError
            If its settings are not those of a training run.
        """
        if method.is_trained:
            self.training_config(0, method)
            if method.name == HASH_TABLE:
                self.hash_loss(method)

    def quick(self) -> ImageSettings:
        """Return settings that train for a minute."""
        steps = min(self.training_config(0).steps, QUICK_STEPS)
        return dataclasses.replace(self, training={**self.training, "steps": steps})

    def _check_training(self) -> None:
        from gossamer.learning.training import TrainingConfig

        defaults = {item.name: item.default for item in dataclasses.fields(TrainingConfig)}
        known = [name for name in defaults if name not in (*_FROM_METHODS, "augmentation")]
        for key, value in self.training.items():
            if key not in known:
                raise ConfigError(f"training: expected keys of {', '.join(known)}; got {key!r}")
            if isinstance(defaults[key], float) and type(value) not in (int, float):
                raise ConfigError(f"training, {key}: expected a number; got {value!r}")
        self.training_config(0)


def _both_or_neither(search: str | None) -> str:
    return "neither" if search is None else "both"
