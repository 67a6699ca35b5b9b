"""Embeddings of very many pictures, encoded block by block and kept on disk: none is encoded twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

import gossamer
from gossamer.arrays import FloatArray
from gossamer.catalog import Catalog
from gossamer.datasets.embedding_files import read_dense, read_sparse, write_dense, write_sparse
from gossamer.datasets.images import LabeledImages
from gossamer.embeddings import SparseEmbeddings, stacked
from gossamer.learning.encoder import Encoder
from gossamer.learning.encoding import encode, encode_dense
from gossamer.study.protocols.distractors import Distractors

PICTURES_PER_BLOCK = 4096
_BATCH_SIZE = 256

Embeddings = SparseEmbeddings | FloatArray
OnProgress = Callable[[str, int, int], None]


class Pictures(Protocol):
    """Pictures by number, and a name of their content."""

    digest: str

    def __len__(self) -> int: ...

    def pixels(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return some of them, shape (b, channels, size, size), uint8."""
        ...


class HeldPictures:
    """Pictures in memory."""

    def __init__(self, images: LabeledImages) -> None:
        self._pixels, self.digest = images.pixels, image_digest(images)

    def __len__(self) -> int:
        return len(self._pixels)

    def pixels(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return some of them."""
        return self._pixels[start:stop]


class DistractorPictures:
    """At least ``n`` distractors: whole blocks of them, so that more of them begin with the same blocks."""

    def __init__(self, images: LabeledImages, *, n: int, seed: int) -> None:
        n_blocks = -(-n // PICTURES_PER_BLOCK)
        self._distractors = Distractors(images, n=n_blocks * PICTURES_PER_BLOCK, seed=seed)
        self.digest = f"distractors of {image_digest(images)}, seed {seed}"

    def __len__(self) -> int:
        return len(self._distractors)

    def pixels(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Make some of them."""
        return self._distractors.pixels(start, stop)


class Encodings:
    """A folder of embeddings, each block in a file, found again by the model and the pictures that made them.

    A run that was killed goes on with the first block that is not there.

    Parameters
    ----------
    folder : Path
        Where the blocks are kept; made by the first one.
    device, precision : str
        As in `gossamer.learning.encoding.encode`.
    """

    def __init__(self, folder: Path, *, device: str, precision: str) -> None:
        self._folder, self._device, self._precision = folder, device, precision

    def rows(self, encoder: Encoder, pictures: Pictures, on_progress: Callable[[int, int], None]) -> Embeddings:
        """Return the embeddings of all pictures: sparse ones, or an array of shape (n, dim), float32.

        Errors are those of `encode`, and of reading and writing files of embeddings.
        """
        folder, dim, n = self._place(encoder, pictures), encoder.config.dim, len(pictures)
        paths = []
        for start in range(0, n, PICTURES_PER_BLOCK):
            stop = min(start + PICTURES_PER_BLOCK, n)
            paths.append(folder / f"{start:09}-{stop:09}{'.npz' if encoder.is_sparse else '.npy'}")
            if not paths[-1].exists():
                self._write(paths[-1], encoder, pictures.pixels(start, stop))
                on_progress(stop, n)
        if encoder.is_sparse:
            return stacked([read_sparse(path)[0] for path in paths], dim=dim)
        return np.concatenate([np.zeros((0, dim), np.float32), *(read_dense(path)[0] for path in paths)])

    def _write(self, path: Path, encoder: Encoder, pixels: NDArray[np.uint8]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        settings: dict[str, Any] = {"batch_size": _BATCH_SIZE, "device": self._device, "precision": self._precision}
        catalog = Catalog(n=len(pixels), fingerprint=encoder.fingerprint)
        if encoder.is_sparse:
            write_sparse(path, encode(encoder, pixels, **settings), catalog)
        else:
            write_dense(path, encode_dense(encoder, pixels, **settings), catalog)

    def _place(self, encoder: Encoder, pictures: Pictures) -> Path:
        what = [encoder.fingerprint, pictures.digest, self._precision, torch.__version__, gossamer.__version__]
        return self._folder / hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def image_digest(images: LabeledImages) -> str:
    """Return 16 hexadecimal digits of a SHA-256 over pixels and labels: equal if they are."""
    digest = hashlib.sha256(repr((images.pixels.shape, images.labels.tolist())).encode())
    for start in range(0, len(images), PICTURES_PER_BLOCK):
        digest.update(np.ascontiguousarray(images.pixels[start : start + PICTURES_PER_BLOCK]).tobytes())
    return digest.hexdigest()[:16]
