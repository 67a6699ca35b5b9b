"""Images in a folder tree or a zip: which there are, of which class, and their pixels."""

from __future__ import annotations

import logging
import os
import posixpath
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gossamer.arrays import AnyArray, TextArray
from gossamer.catalog import Catalog
from gossamer.datasets.decoding import read_image, to_pixels
from gossamer.datasets.file_trees import FileTree, open_tree
from gossamer.datasets.labels import open_list, read_classes, read_labels
from gossamer.errors import ConfigError, DataError, ShapeError

_logger = logging.getLogger(__name__)

_IMAGES_PER_TASK = 32
_MOST_BYTES_IN_MEMORY = 2 << 30


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledImages:
    """Images of one size, with their names and classes.

    Raises
    ------
    ShapeError
        If ``pixels`` is not of shape (n, 1 or 3, size, size), uint8, with n names and n labels.
    """

    pixels: NDArray[np.uint8]
    """Shape (n, channels, size, size), uint8; a `numpy.memmap` of a temporary file above 2 GiB."""
    catalog: Catalog
    """Keys (for files: relative paths, separated by '/') and labels."""
    n_unreadable: int = 0
    """How many files were passed over because they could not be decoded."""

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if dtype != np.uint8 or len(shape) != 4 or shape[1] not in (1, 3) or shape[2] != shape[3]:
            raise ShapeError(f"pixels: expected shape (n, 1 or 3, size, size), uint8; got {shape}, {dtype}")
        n, has_labels = self.catalog.n, self.catalog.labels is not None
        if n != len(self.pixels) or not has_labels:
            got = f"{n} {'with' if has_labels else 'without'} labels"
            raise ShapeError(f"catalog: expected the names of {len(self.pixels)} images, with labels; got {got}")

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def labels(self) -> TextArray:
        """The class of each image, shape (n,)."""
        assert self.catalog.labels is not None
        return self.catalog.labels

    @property
    def n_classes(self) -> int:
        """The number of different labels."""
        return np.unique(self.labels).size

    def take(self, rows: AnyArray | Sequence[int]) -> LabeledImages:
        """Return some of the images, by number or mask; their pixels are copied."""
        chosen = np.arange(len(self))[rows if isinstance(rows, np.ndarray) else list(rows)]
        return LabeledImages(pixels=self.pixels[chosen], catalog=self.catalog.take(chosen))


class ImageCollection:
    """The image files of a folder tree or a zip, found but not decoded. Made by `open`."""

    keys: TextArray
    """The path of each image relative to the root, separated by '/', ascending."""
    labels: TextArray
    """The class of each image."""

    def __init__(self, tree: FileTree, labels: Mapping[str, str]) -> None:
        self._tree = tree
        names = sorted(labels)
        self.keys = np.array(names, dtype=np.str_)
        self.labels = np.array([labels[name] for name in names], dtype=np.str_)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        labels: Sequence[str | Path] = (),
        label_column: str = "1",
        classes: str | Path | None = None,
    ) -> ImageCollection:
        """Find the images of a folder tree, or of a zip of one.

        An image's class is its folder, as the path relative to the root ('.' for the root itself).
        Every file counts as an image, hidden ones and macOS's ``__MACOSX`` excepted.

        Parameters
        ----------
        path : str or Path
            The folder, or the zip, which is read without unpacking.
        labels : sequence of paths
            CSV lists of path and label that replace the folders as classes; only listed images are
            used. A list is a file on disk, or else a file inside ``path``. The paths in it are relative
            to ``path``, or to the list's own folder where the list lies inside ``path``. A first row
            that starts with "path" is a header.
        label_column : str
            The column of the label in these lists: a number, where 0 is the path, or a name in the header.
        classes : path, optional
            A text file, found like ``labels``: only images of the classes in it, one a line, are used.

        Raises
        ------
        NotFoundError
            If ``path``, a list, or an image named in a list does not exist.
        FormatError
            If ``path`` is a file but not a zip, or a list is not UTF-8 CSV with enough columns.
        DataError
            If there are no images, two labels for one image, or no image of a class that was asked for.
        ConfigError
            If the label column is not there.
        """
        tree = open_tree(path)
        class_list = None if classes is None else open_list(tree, classes)
        if labels:
            found = read_labels(tree, labels, label_column=label_column)
        else:
            no_image = class_list.inside if class_list else None
            found = {name: posixpath.dirname(name) or "." for name in tree.names if name != no_image}
        if not found:
            raise DataError(f"data: expected images in {path}; it holds no files")
        if class_list:
            wanted = set(read_classes(class_list))
            if missing := sorted(wanted.difference(found.values())):
                raise DataError(f"classes: expected classes of {path}; no image is of class {missing[0]!r}")
            found = {name: label for name, label in found.items() if label in wanted}
        return cls(tree, found)

    def __len__(self) -> int:
        return self.keys.size

    def read(self, i: int) -> Image.Image:
        """Decode one image at its full size, upright; `DataError` if it cannot be decoded."""
        return self._read(str(self.keys[i]))

    def decode(
        self,
        *,
        size: int,
        channels: int | None = None,
        skip_unreadable: bool = False,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> LabeledImages:
        """Decode all images, each resized to a square; the aspect ratio is not kept.

        Parameters
        ----------
        size : int
            The side of the square.
        channels : 1, 3 or None
            Grey or colour. None: 1 if every image is stored without colour, else 3.
        skip_unreadable : bool
            Whether a file that cannot be decoded is passed over, logged and counted, instead of refused.
        on_progress : callable, optional
            Called with the number of files done, and of all files.

        Raises
        ------
        DataError
            If a file cannot be decoded; with ``skip_unreadable``, if none can.
        ConfigError
            If ``size`` or ``channels`` is out of range.
        """
        if size < 1:
            raise ConfigError(f"size: expected at least 1; got {size}")
        if channels not in (1, 3, None):
            raise ConfigError(f"channels: expected 1 or 3; got {channels}")
        pixels = _allocate(len(self), channels or 1, size)
        rows: list[int] = []
        for row, image in self._decoded(size, channels, skip_unreadable=skip_unreadable, on_progress=on_progress):
            if len(image) > pixels.shape[1]:  # the first in colour
                grey, pixels = pixels, _allocate(len(self), 3, size)
                pixels[: len(rows)] = grey[: len(rows)]
            pixels[len(rows)] = image
            rows.append(row)
        if not rows:
            raise DataError(f"data: expected images in {self._tree.root}; none of its {len(self)} files can be decoded")
        catalog = Catalog(n=len(self), keys=self.keys, labels=self.labels).take(rows)
        return LabeledImages(pixels=pixels[: len(rows)], catalog=catalog, n_unreadable=len(self) - len(rows))

    def _decoded(
        self,
        size: int,
        channels: int | None,
        *,
        skip_unreadable: bool,
        on_progress: Callable[[int, int], None] | None,
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield row and pixels of each readable image, in order, decoded by several threads."""

        def decode(row: int) -> NDArray[np.uint8] | DataError:
            try:
                image = self._read(str(self.keys[row]), enough_for=size)
                return to_pixels(image, size=size, channels=channels)
            except DataError as error:
                return error

        def decode_some(start: int) -> list[NDArray[np.uint8] | DataError]:
            return [decode(row) for row in range(start, min(start + _IMAGES_PER_TASK, len(self)))]

        with ExitStack() as stack:
            pool = ThreadPoolExecutor(os.cpu_count())
            stack.callback(pool.shutdown, cancel_futures=True)
            row = 0
            for outcomes in pool.map(decode_some, range(0, len(self), _IMAGES_PER_TASK)):
                for outcome in outcomes:
                    if not isinstance(outcome, DataError):
                        yield row, outcome
                    elif skip_unreadable:
                        _logger.warning("passed over: %s", outcome)
                    else:
                        raise DataError(f"{outcome}; pass --skip-unreadable (skip_unreadable=True) to pass over it")
                    row += 1
                if on_progress:
                    on_progress(row, len(self))

    def _read(self, name: str, *, enough_for: int | None = None) -> Image.Image:
        with self._tree.open(name) as file:
            return read_image(file, name=name, enough_for=enough_for)


def _allocate(n: int, channels: int, size: int) -> NDArray[np.uint8]:
    shape = n, channels, size, size
    n_bytes = n * channels * size * size
    if n_bytes <= _MOST_BYTES_IN_MEMORY:
        return np.empty(shape, np.uint8)
    with tempfile.TemporaryFile(prefix="gossamer-") as file:
        file.truncate(n_bytes)
        # A full disk is an error here; met later, in a mapped page, it would kill the process.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        return np.memmap(file, np.uint8, "r+", shape=shape)
