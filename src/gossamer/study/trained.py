"""The encoders of a study, trained once for each seed and way to train, and what is known of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gossamer.arrays import OffsetArray
from gossamer.datasets.images import LabeledImages
from gossamer.embeddings import SparseEmbeddings
from gossamer.learning.model_store import ModelStore, StoredEncoder
from gossamer.metrics import flops_per_document, suboptimality_ratio
from gossamer.study.image_config import DENSE, SPARSE, ImageSettings
from gossamer.study.methods import HASH_TABLE, MethodConfig

N_QUANTILES = 33


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
            description=f"train {method.model_label}, seed {seed}",
        )


def describe_model(stored: StoredEncoder) -> dict[str, Any]:
    """Return what a record says of a model: which it is, and what its training took."""
    return {
        "fingerprint": stored.encoder.fingerprint,
        "folder": stored.folder.name,
        "dim": stored.encoder.config.dim,
        "training_seconds": stored.metrics["training_seconds"],
    }


def describe_codes(documents: SparseEmbeddings, queries: SparseEmbeddings) -> dict[str, Any]:
    """Return what searching sparse rows costs, and how even their posting lists are.

    Returns
    -------
    dict
        ``flops_per_document``; ``nnz_per_row``, ``suboptimality_ratio`` (None if every row is zero),
        ``zero_rows`` and ``list_lengths`` of the documents. The last holds 33 evenly spaced ``quantiles`` of the
        lengths of all posting lists, the shortest and the longest included, and ``counts``: of lists that are
        empty, and of those from 2ⁱ to 2ⁱ⁺¹ − 1 long for i from 0.
    """
    lengths: OffsetArray = np.bincount(documents.dims, minlength=documents.dim)
    powers = np.where(lengths > 0, np.frexp(lengths)[1], 0)
    return {
        "flops_per_document": flops_per_document(queries, documents),
        "nnz_per_row": documents.nnz / len(documents),
        "suboptimality_ratio": suboptimality_ratio(documents) if documents.nnz else None,
        "zero_rows": int((documents.nnz_per_row == 0).sum()),
        "list_lengths": {
            "quantiles": np.quantile(lengths, np.linspace(0, 1, N_QUANTILES)).round(1).tolist(),
            "counts": np.bincount(powers).tolist(),
        },
    }
