"""Trained models, kept by what they were trained from and how: none is trained twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import gossamer
from gossamer.arrays import AnyArray
from gossamer.datasets.images import LabeledImages
from gossamer.learning.deep_hashing import DeepHashingLoss, train_deep_hashing
from gossamer.learning.encoder import Encoder, EncoderConfig
from gossamer.learning.pretrained import METRICS, read_metrics
from gossamer.learning.training import TrainingConfig, remove_checkpoints, train_encoder
from gossamer.learning.training.checkpoints import identity
from gossamer.learning.training.run import run_settings

if TYPE_CHECKING:
    from typing import Any

    from gossamer.learning.sparsifier import Sparsifier


class StoredEncoder(NamedTuple):
    """An encoder of a store, and what is known of its training."""

    encoder: Encoder
    metrics: dict[str, Any]
    folder: Path


class StoredSparsifier(NamedTuple):
    """A sparsifier of a store, and what is known of its training."""

    sparsifier: Sparsifier
    metrics: dict[str, Any]
    folder: Path


class ModelStore:
    """A folder of trained models, each named by a hash of its data, its settings and the versions that train.

    A run that was killed goes on from its last checkpoint, which is beside the models until it is done.

    Parameters
    ----------
    folder : str or Path
        Where models are kept; made, with its parents, by the first one.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def encoder(
        self,
        images: LabeledImages,
        config: EncoderConfig,
        training: TrainingConfig,
        *,
        progress: bool = False,
        description: str = "train",
    ) -> StoredEncoder:
        """Return the encoder that `train_encoder` makes of images; train it if the store has none.

        Parameters and errors are those of `train_encoder`, and of reading a model folder.
        """
        folder = self.encoder_folder(images, config, training)
        if not (folder / METRICS).exists():
            checkpoints = folder.with_suffix(".checkpoints")
            trained = train_encoder(
                images,
                config,
                training,
                checkpoint_dir=checkpoints,
                resume=any(checkpoints.glob("step-*")),
                progress=progress,
                description=description,
            )
            trained.encoder.save_pretrained(folder, metrics=trained.metrics)
            remove_checkpoints(checkpoints)
        return StoredEncoder(Encoder.from_pretrained(folder), read_metrics(folder), folder)

    def hash_encoder(
        self,
        images: LabeledImages,
        config: EncoderConfig,
        training: TrainingConfig,
        *,
        loss: DeepHashingLoss,
        progress: bool = False,
    ) -> StoredEncoder:
        """Return the encoder that `train_deep_hashing` makes of images; train it if the store has none.

        Parameters and errors are those of `train_deep_hashing`, and of reading a model folder. A run that was
        killed begins anew.
        """
        codes = {"n_active": loss.n_active, "collision_weight": loss.collision_weight, "margin": loss.margin}
        settings = {**run_settings(config, training), **codes, "device": None}
        folder = self._place("hash-encoder", identity(settings, images, None))
        if not (folder / METRICS).exists():
            trained = train_deep_hashing(images, config, training, loss=loss, progress=progress)
            trained.encoder.save_pretrained(folder, metrics=trained.metrics)
        return StoredEncoder(Encoder.from_pretrained(folder), read_metrics(folder), folder)

    def encoder_folder(self, images: LabeledImages, config: EncoderConfig, training: TrainingConfig) -> Path:
        """Return the folder that `encoder` keeps this one in, whether or not it is there yet."""
        settings = {**run_settings(config, training), "device": None}  # wherever it was trained
        return self._place("encoder", identity(settings, images, None))

    def sparsifier(
        self, dense: AnyArray, sparsifier: Sparsifier, *, labels: AnyArray | None = None
    ) -> StoredSparsifier:
        """Return what fitting a sparsifier to dense rows makes; fit it if the store has none.

        Parameters and errors are those of `Sparsifier.fit`, and of reading a model folder.
        """
        folder = self.sparsifier_folder(dense, sparsifier, labels=labels)
        if not (folder / METRICS).exists():
            sparsifier.fit(dense, labels).save_pretrained(folder)
        stored = type(sparsifier).from_pretrained(folder)
        return StoredSparsifier(stored, stored.metrics_, folder)

    def sparsifier_folder(self, dense: AnyArray, sparsifier: Sparsifier, *, labels: AnyArray | None = None) -> Path:
        """Return the folder that `sparsifier` keeps this one in, whether or not it is there yet."""
        digests = [None if rows is None else _digest(rows) for rows in (dense, labels)]
        params = {**sparsifier.get_params(), "progress": None, "device": None}
        return self._place("sparsifier", {**params, "rows": digests, "gossamer": gossamer.__version__})

    def _place(self, kind: str, what: dict[str, Any]) -> Path:
        """Return the folder of the model that is made so."""
        self._folder.mkdir(parents=True, exist_ok=True)
        key = hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]
        return self._folder / f"{kind}-{key}"


def _digest(rows: AnyArray) -> str:
    rows = np.asarray(rows)
    digest = hashlib.sha256(repr((rows.shape, rows.dtype.str)).encode())
    for start in range(0, len(rows), 4096):  # a memory map stays one
        digest.update(np.ascontiguousarray(rows[start : start + 4096]).tobytes())
    return digest.hexdigest()
