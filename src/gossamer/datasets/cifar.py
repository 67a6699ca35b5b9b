"""CIFAR-100: 60,000 colour pictures of 100 classes in 20 superclasses, from upstream's python archive.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
https://www.cs.toronto.edu/~kriz/cifar.html. The archive holds pickles, which are read as
`gossamer.datasets.plain_pickle` says: nothing in them is run.
"""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gossamer.catalog import Catalog
from gossamer.datasets.images import LabeledImages
from gossamer.datasets.plain_pickle import read_plain_pickle
from gossamer.errors import ConfigError, FormatError, NotFoundError

_SIDE = 32
_FOLDER = "cifar-100-python"
_MOST_BYTES = 1 << 28  # of one file in the archive; 50,000 pictures of 3,072 bytes are 154 million
_SPLITS, _LEVELS = ("train", "test"), ("fine", "coarse")


def cifar100(
    path: str | Path, split: Literal["train", "test"], *, level: Literal["fine", "coarse"] = "fine"
) -> LabeledImages:
    """Return the 50,000 or 10,000 pictures of CIFAR-100, 3 × 32 × 32 pixels.

    Keys are like ``train/bos_taurus_s_000507.png``, labels the names of the classes.

    Parameters
    ----------
    path : str or Path
        ``cifar-100-python.tar.gz`` as upstream has it, which is read without unpacking.
    split : "train" or "test"
        Which pictures.
    level : "fine" or "coarse"
        Whether labels are the 100 classes or the 20 superclasses.

    Raises
    ------
    NotFoundError
        If there is no such file.
    FormatError
        If it is no such archive, or is damaged.
    ConfigError
        If split or level is unknown.
    """
    if split not in _SPLITS:
        raise ConfigError(f"split: expected {' or '.join(_SPLITS)}; got {split!r}")
    if level not in _LEVELS:
        raise ConfigError(f"level: expected {' or '.join(_LEVELS)}; got {level!r}")
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"CIFAR-100: expected upstream's cifar-100-python.tar.gz; there is no {path}")
    pictures, names = (_read_member(path, member) for member in (split, "meta"))
    data = _field(pictures, "data", np.ndarray, path)
    classes = _field(pictures, f"{level}_labels", list, path)
    files = _field(pictures, "filenames", list, path)
    class_names = np.array(_field(names, f"{level}_label_names", list, path), dtype=np.str_)
    if data.ndim != 2 or data.shape[1] != 3 * _SIDE**2 or not len(data) == len(classes) == len(files):
        raise FormatError(
            f"{path}: expected rows of {3 * _SIDE**2} bytes with a label and a name for each; got shape {data.shape}, "
            f"{len(classes)} labels and {len(files)} names"
        )
    if any(type(label) is not int or not 0 <= label < class_names.size for label in classes):
        raise FormatError(f"{path}: expected {level} labels from 0 to {class_names.size - 1}; it holds others")
    keys = np.array([f"{split}/{file}" for file in files], dtype=np.str_)
    catalog = Catalog(n=len(keys), keys=keys, labels=class_names[np.array(classes, np.int64)])
    return LabeledImages(pixels=data.reshape(-1, 3, _SIDE, _SIDE), catalog=catalog)


def _read_member(path: Path, member: str) -> Any:
    try:
        with tarfile.open(path) as archive:
            file = archive.extractfile(f"{_FOLDER}/{member}")
            data = None if file is None else file.read(_MOST_BYTES + 1)
    except KeyError as error:
        raise FormatError(f"{path}: expected {_FOLDER}/{member} in it; there is none") from error
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: expected cifar-100-python.tar.gz; it cannot be read ({error})") from error
    if data is None:
        raise FormatError(f"{path}: expected the file {_FOLDER}/{member} in it; it is something else")
    if len(data) > _MOST_BYTES:
        raise FormatError(f"{path}: expected {_FOLDER}/{member} of at most {_MOST_BYTES:,} bytes; it has more")
    return read_plain_pickle(data, name=f"{path}, {member}")


def _field(record: Any, key: str, kind: type, path: Path) -> Any:
    value = record.get(key) if isinstance(record, dict) else None
    if not isinstance(value, kind):
        raise FormatError(f"{path}: expected {key!r} of type {kind.__name__}; got {type(value).__name__}")
    return value
