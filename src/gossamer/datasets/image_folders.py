"""Images to folders of PNG files, as every command takes them: a folder for each class."""

from __future__ import annotations

import posixpath
from pathlib import Path

import numpy as np
from PIL import Image

from gossamer.datasets.images import LabeledImages
from gossamer.errors import DataError, OutputExistsError
from gossamer.files import replaced_folder


def write_image_folders(images: LabeledImages, folder: str | Path) -> None:
    """Write each image as ``folder/LABEL/NAME.png``, where NAME is the last part of its key.

    Parameters
    ----------
    images : LabeledImages
        With keys.
    folder : str or Path
        The folder to make: it is there with every image, or not at all.

    Raises
    ------
    OutputExistsError
        If there is something at ``folder``.
    DataError
        If images have no keys, or two would have the same file, or a label leads out of the folder.
    """
    folder = Path(folder)
    if folder.exists():
        raise OutputExistsError(f"output: {folder} exists; name another path")
    if images.catalog.keys is None:
        raise DataError("images: expected keys, which name the files; there are none")
    names = [
        posixpath.join(label, posixpath.splitext(posixpath.basename(key))[0] + ".png")
        for key, label in zip(images.catalog.keys.tolist(), images.labels.tolist(), strict=True)
    ]
    seen: set[str] = set()
    for name in names:
        if posixpath.isabs(name) or ".." in name.split("/"):
            raise DataError(f"images: expected labels that are relative paths; got {posixpath.dirname(name)!r}")
        if name in seen:
            raise DataError(f"images: expected each name once in a class; {name} is there twice")
        seen.add(name)
    with replaced_folder(folder) as partial:
        for name, pixels in zip(names, images.pixels, strict=True):
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.moveaxis(pixels, 0, -1).squeeze()).save(partial / name)
