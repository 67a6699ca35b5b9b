"""Encoder: images in, embeddings out; what is trained, saved and loaded."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gossamer.errors import ConfigError, ShapeError
from gossamer.learning.activations import ACTIVATIONS
from gossamer.learning.backbones import BACKBONES
from gossamer.learning.heads import SparseHead
from gossamer.learning.model_card import model_card
from gossamer.learning.pretrained import model_fingerprint, read_config, read_weights, write_folder
from gossamer.learning.settings import check_counts, check_known

CUSTOM_BACKBONE = "custom"
"""The name, in a configuration, of a backbone that the caller brings."""

_OPTIONAL_SETTINGS = frozenset({"nnz_per_row"})


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """All that an encoder is, but for its weights.

    Parameters
    ----------
    dim : int
        Dimensions of an embedding.
    backbone : str
        One of `gossamer.learning.backbones.BACKBONES`, or ``custom``: a module of the caller's.
    activation : str
        One of `gossamer.learning.activations.ACTIVATIONS`; ``none`` for dense embeddings.
    theta : float
        The threshold of ``soft-threshold``, ``learned-soft-threshold`` and ``jump-relu``; see `SparseHead`.
    nnz_per_row : int, optional
        The entries that ``top-k`` keeps; for it alone.
    image_size : int
        Width and height of the images, in pixels.
    channels : int
        Channels of the images.
    pixel_mean, pixel_std : float, optional
        Of the images to learn from, over all pixels from 0 to 255: pixels are standardized with them.
        `train_encoder` measures them where they are not given; an `Encoder` needs them.

    Raises
    ------
    ConfigError
        If a name is unknown, or a setting of another type or out of its range.
    """

    dim: int = 4096
    backbone: str = "conv4"
    activation: str = "relu"
    theta: float = 1.0
    image_size: int = 32
    channels: int = 1
    pixel_mean: float | None = None
    pixel_std: float | None = None
    nnz_per_row: int | None = None

    def __post_init__(self) -> None:
        check_counts(self, dict.fromkeys(("dim", "image_size", "channels"), 1))
        check_known(self, {"backbone": (*BACKBONES, CUSTOM_BACKBONE), "activation": ACTIVATIONS})
        for name in ("theta", "pixel_mean", "pixel_std"):
            value = getattr(self, name)
            is_open = value is None and name in ("pixel_mean", "pixel_std")
            if not is_open and not (isinstance(value, int | float) and 0 <= value < math.inf):
                raise ConfigError(f"{name}: expected a finite number of at least 0; got {value!r}")
        if (self.activation == "top-k") != (self.nnz_per_row is not None):
            raise ConfigError(
                f"nnz_per_row: expected a number if and only if activation is 'top-k'; got {self.nnz_per_row!r}"
            )
        if self.nnz_per_row is not None and not (type(self.nnz_per_row) is int and 1 <= self.nnz_per_row <= self.dim):
            raise ConfigError(
                f"nnz_per_row: expected a whole number from 1 to dim = {self.dim}; got {self.nnz_per_row!r}"
            )
        if self.pixel_std == 0:
            raise ConfigError("pixel_std: expected a number above 0; got 0")


class Encoder(nn.Module):
    """A backbone and a head: images of shape (b, channels, size, size) to embeddings of shape (b, dim).

    Parameters
    ----------
    config : EncoderConfig
        What to build.
    backbone : nn.Module, optional
        The caller's own, where ``config.backbone`` is ``custom``: it maps standardized images, float32,
        to features of shape (b, features). It becomes a part of the encoder, not a copy.

    Raises
    ------
    ConfigError
        If the pixel statistics are missing, or a backbone is given and not asked for, or the reverse.
    ShapeError
        If the backbone does not return a matrix of features.

    Examples
    --------
    >>> encoder = Encoder(EncoderConfig(dim=64, image_size=16, pixel_mean=127.5, pixel_std=127.5))
    >>> encoder(torch.zeros(2, 1, 16, 16, dtype=torch.uint8)).shape
    torch.Size([2, 64])
    """

    def __init__(self, config: EncoderConfig, backbone: nn.Module | None = None) -> None:
        super().__init__()
        if config.pixel_mean is None or config.pixel_std is None:
            raise ConfigError("pixel_mean and pixel_std: expected those of the images to learn from; got None")
        if (backbone is not None) != (config.backbone == CUSTOM_BACKBONE):
            raise ConfigError(
                f"backbone: expected a module if and only if config.backbone is {CUSTOM_BACKBONE!r}; "
                f"got {'a module' if backbone is not None else 'none'} and {config.backbone!r}"
            )
        self.config = config
        self._pixel_mean, self._pixel_std = config.pixel_mean, config.pixel_std
        self.backbone = backbone if backbone is not None else BACKBONES[config.backbone](config.channels)
        self.head = SparseHead(
            self._n_features(),
            config.dim,
            activation=config.activation,
            theta=config.theta,
            nnz_per_row=config.nnz_per_row,
        )
        # Convolutions of few channels are faster so on CPUs; set here, so that loaded weights round alike.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of a batch, shape (b, dim), float32: rows of length 1, or all zero.

        Parameters
        ----------
        images : Tensor, shape (b, channels, image_size, image_size)
            Pixels from 0 to 255, uint8 or float.

        Raises
        ------
        ShapeError
            If the images are of another shape.
        """
        expected = (self.config.channels, self.config.image_size, self.config.image_size)
        if images.ndim != 4 or tuple(images.shape[1:]) != expected:
            raise ShapeError(f"images: expected shape (b, {', '.join(map(str, expected))}); got {tuple(images.shape)}")
        embeddings: Tensor = self.head(self.backbone(self._standardized(images)))
        return embeddings

    @property
    def is_sparse(self) -> bool:
        """Whether the activation makes exact zeros."""
        return self.config.activation != "none"

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of a SHA-256 over the configuration and all weights: equal if they are."""
        return model_fingerprint(self._settings(), self.state_dict())

    def save_pretrained(
        self, folder: str | Path, *, metrics: dict[str, Any] | None = None, overwrite: bool = False
    ) -> None:
        """Write the model folder: ``config.json``, ``model.safetensors``, ``metrics.json`` and a model card.

        The folder appears whole or not at all. The code of a custom backbone is not in it.

        Parameters
        ----------
        folder : str or Path
            The folder to make; its parent exists.
        metrics : dict, optional
            What is known of the training, such as `TrainedEncoder.metrics`; anything that JSON can hold.
        overwrite : bool
            Whether another model there may be replaced.

        Raises
        ------
        OutputExistsError
            If the folder exists and may not be replaced, or is no model folder.
        NotFoundError
            If the folder to write into does not exist.
        """
        folder, settings, metrics = Path(folder), self._settings(), metrics or {}
        card = model_card(folder.absolute().name, settings, metrics, fingerprint=self.fingerprint)
        write_folder(folder, settings, self.state_dict(), metrics, card, overwrite=overwrite)

    @classmethod
    def from_pretrained(cls, folder: str | Path, backbone: nn.Module | None = None) -> Encoder:
        """Read a model folder; the encoder is on the CPU and in evaluation mode.

        Parameters
        ----------
        folder : str or Path
            What `save_pretrained` wrote.
        backbone : nn.Module, optional
            For a model with a custom backbone: a module of the same architecture. Its weights are
            replaced.

        Raises
        ------
        NotFoundError
            If there is no such folder, or a file is missing in it.
        FormatError
            If a file is damaged, or the weights are not those of the configuration.
        VersionError
            If a newer Gossamer wrote it.
        ConfigError
            If the model has a custom backbone and none is given, or the reverse.
        """
        folder = Path(folder)
        config = read_config(folder, EncoderConfig, optional=_OPTIONAL_SETTINGS)
        with torch.random.fork_rng(devices=[]):  # random weights are made, only to be replaced
            encoder = cls(config, backbone)
        encoder.load_state_dict(read_weights(folder, expected=encoder.state_dict()))
        return encoder.eval()

    def _settings(self) -> dict[str, Any]:
        """Return the settings that say something: folders and fingerprints from before an option stay good."""
        settings = dataclasses.asdict(self.config)
        return {key: value for key, value in settings.items() if key not in _OPTIONAL_SETTINGS or value is not None}

    def _standardized(self, images: Tensor) -> Tensor:
        pixels = (images.float() - self._pixel_mean) / self._pixel_std
        return pixels.contiguous(memory_format=torch.channels_last)

    def _n_features(self) -> int:
        """Measure the width of the backbone's output with one black image."""
        black = torch.zeros(1, self.config.channels, self.config.image_size, self.config.image_size)
        weights = next(self.backbone.parameters(), black)
        modes = [(module, module.training) for module in self.backbone.modules()]
        self.backbone.eval()
        with torch.no_grad():
            features = self.backbone(self._standardized(black.to(weights.device)))
        for module, is_training in modes:
            module.training = is_training
        if features.ndim != 2 or len(features) != 1:
            raise ShapeError(
                f"backbone: expected features of shape (b, features); got {tuple(features.shape)} for one image"
            )
        return int(features.shape[1])
