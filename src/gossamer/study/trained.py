"""The encoders of a study, trained once for each seed and way to train, and what is known of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gossamer.datasets.images import LabeledImages
from gossamer.learning.model_store import ModelStore, StoredEncoder
from gossamer.study.image_config import DENSE, SPARSE, ImageSettings
from gossamer.study.methods import HASH_TABLE, MethodConfig


class Learner:
    """Encoders from a store of models, which trains those that it lacks.

    Parameters
    ----------
    settings : ImageSettings
        How they are built and trained.
    images : LabeledImages
        What they learn from.
    folder : Path
        Where models are kept; see `ModelStore`.
    progress : bool
        Whether training draws bars on stderr.
    """

    def __init__(self, settings: ImageSettings, images: LabeledImages, folder: Path, *, progress: bool) -> None:
        self._settings, self._images, self._progress = settings, images, progress
        self._store = ModelStore(folder)

    def dense(self, seed: int) -> StoredEncoder:
        """Return the encoder whose vectors are searched by dense methods and put candidates in order."""
        return self._store.encoder(
            self._images,
            self._settings.encoder_config(DENSE),
            self._settings.training_config(seed),
            progress=self._progress,
            description=f"train dense, seed {seed}",
        )

    def of(self, method: MethodConfig, seed: int) -> StoredEncoder:
        """Return the encoder of a method that is trained."""
        training = self._settings.training_config(seed, method)
        if method.name == HASH_TABLE:
            return self._store.hash_encoder(
                self._images,
                self._settings.encoder_config(DENSE, dim=method.settings["dim"]),
                training,
                loss=self._settings.hash_loss(method),
                progress=self._progress,
            )
        return self._store.encoder(
            self._images,
            self._settings.encoder_config(SPARSE),
            training,
            progress=self._progress,
            description=f"train {method.short_label}, seed {seed}",
        )


def describe_model(stored: StoredEncoder) -> dict[str, Any]:
    """Return what a record says of a model: which it is, and what its training took."""
    return {
        "fingerprint": stored.encoder.fingerprint,
        "folder": stored.folder.name,
        "dim": stored.encoder.config.dim,
        "training_seconds": stored.metrics["training_seconds"],
    }
