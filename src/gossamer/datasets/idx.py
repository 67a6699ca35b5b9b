"""IDX files, as MNIST and Fashion-MNIST come: arrays of bytes with a short header, compressed by gzip.

The header is two zero bytes, the type (8: unsigned bytes), the number of dimensions and, of each, the size as
a big-endian 32-bit number (LeCun, Cortes and Burges, "The MNIST database of handwritten digits").
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gossamer.catalog import Catalog
from gossamer.datasets.images import LabeledImages
from gossamer.errors import ConfigError, FormatError, NotFoundError

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
"""What the labels 0 to 9 of Fashion-MNIST mean."""

_UNSIGNED_BYTES = 8
_MOST_DIMENSIONS = 32  # what every NumPy can hold
_MOST_GZIP_SHRINKS = 1032  # the bytes of one byte, at the very best
_PREFIX = {"train": "train", "test": "t10k"}


def read_idx(path: str | Path) -> NDArray[np.uint8]:
    """Read the array of a gzipped IDX file of unsigned bytes.

    Raises
    ------
    NotFoundError
        If there is no such file.
    FormatError
        If it is not gzip, of another type, or not as long as its header says or as it can say.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"IDX file: expected {path}; there is none")
    try:
        with gzip.open(path) as file:
            header = file.read(4)
            if len(header) < 4 or header[:2] != b"\0\0" or header[2] != _UNSIGNED_BYTES or header[3] == 0:
                raise FormatError(f"{path}: expected an IDX file of unsigned bytes; it starts with {header!r}")
            sizes = file.read(4 * header[3])
            if len(sizes) < 4 * header[3]:
                raise FormatError(f"{path}: expected the sizes of {header[3]} dimensions; it is truncated")
            shape = struct.unpack(f">{header[3]}I", sizes)
            _check_shape(shape, path)
            data = file.read(math.prod(shape) + 1)  # one more than there should be
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: expected a gzipped IDX file; it cannot be read ({error})") from error
    if len(data) != math.prod(shape):
        got = "more" if len(data) > math.prod(shape) else f"{len(data)}"
        raise FormatError(f"{path}: expected {math.prod(shape)} bytes of shape {shape}; got {got}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _check_shape(shape: tuple[int, ...], path: Path) -> None:
    """Refuse sizes that a damaged header gives, before that much memory is asked for."""
    n_at_most = path.stat().st_size * _MOST_GZIP_SHRINKS
    if len(shape) > _MOST_DIMENSIONS or math.prod(size or 1 for size in shape) > n_at_most:
        raise FormatError(
            f"{path}: expected at most {_MOST_DIMENSIONS} dimensions of sizes that a file of "
            f"{path.stat().st_size:,} bytes can hold; its header says {shape}"
        )


def fashion_mnist(split: Literal["train", "test"], *, folder: str | Path | None = None) -> LabeledImages:
    """Return the 60,000 or 10,000 grey pictures of Fashion-MNIST, 28 × 28 pixels, white on black.

    Keys are like ``train/00013``, labels `FASHION_CLASSES`. Source: Xiao, Rasul and Vollgraf,
    "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", 2017, arXiv:1708.07747.

    Parameters
    ----------
    split : "train" or "test"
        Which pictures.
    folder : path, optional
        Where upstream's four files lie; ``fashion-mnist`` in ``GOSSAMER_DATA`` if not given.

    Raises
    ------
    NotFoundError
        If a file is not there.
    FormatError
        If a file is damaged, or pictures and labels do not fit.
    ConfigError
        If the split is neither.
    """
    if split not in _PREFIX:
        raise ConfigError(f"split: expected {' or '.join(_PREFIX)}; got {split!r}")
    if folder is None and "GOSSAMER_DATA" not in os.environ:
        raise NotFoundError("Fashion-MNIST: expected its folder, or GOSSAMER_DATA set; got neither")
    root = Path(os.environ["GOSSAMER_DATA"]) / "fashion-mnist" if folder is None else Path(folder)
    pixels = read_idx(root / f"{_PREFIX[split]}-images-idx3-ubyte.gz")
    classes = read_idx(root / f"{_PREFIX[split]}-labels-idx1-ubyte.gz")
    if pixels.ndim != 3 or classes.shape != pixels.shape[:1] or pixels.shape[1] != pixels.shape[2]:
        raise FormatError(
            f"{root}: expected square pictures and a label for each; got shapes {pixels.shape} and {classes.shape}"
        )
    if classes.size and classes.max() >= len(FASHION_CLASSES):
        raise FormatError(f"{root}: expected labels below {len(FASHION_CLASSES)}; got {classes.max()}")
    keys = np.array([f"{split}/{row:05}" for row in range(len(pixels))], dtype=np.str_)
    labels = np.array(FASHION_CLASSES)[classes]
    return LabeledImages(pixels=pixels[:, None], catalog=Catalog(n=len(keys), keys=keys, labels=labels))
