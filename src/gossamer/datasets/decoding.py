"""From the bytes of an image file to an array of pixels, by Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from gossamer.errors import DataError, MissingDependencyError

try:
    from PIL import Image, ImageOps, UnidentifiedImageError
except ImportError as error:
    raise MissingDependencyError(
        "Reading images needs Pillow, which is not installed: pip install 'gossamer[learn]'"
    ) from error

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is read. Not all that Pillow knows: it hands EPS files, for one, to another program."""

_COLORLESS = ("1", "L", "LA")


def read_image(file: str | Path | BinaryIO, *, name: str, enough_for: int | None = None) -> Image.Image:
    """Read an image, turned upright as its EXIF orientation says; 16-bit grey becomes 8-bit grey.

    Parameters
    ----------
    file : path or open file
        The image; of several frames, the first.
    name : str
        What an error calls it.
    enough_for : int, optional
        The side to which the image will be resized: large JPEG files are then decoded at a fraction
        of their size, which is several times faster.

    Raises
    ------
    DataError
        If it is not an image of one of `FORMATS`, is damaged, so large that it may be an attack, or of
        32-bit numbers, for which no scale is known.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            if enough_for is not None:
                image.draft(None, (2 * enough_for, 2 * enough_for))
            ImageOps.exif_transpose(image, in_place=True)
            image.load()
            return _to_8_bits(image)
    except Exception as error:  # for a damaged file Pillow's decoders raise any type
        reason = "no such format" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"image: expected {', '.join(FORMATS)}; {name} cannot be decoded ({reason})") from error


def to_pixels(image: Image.Image, *, size: int, channels: int | None = None) -> NDArray[np.uint8]:
    """Resize a whole image to a square, antialiased, whatever its aspect ratio.

    Transparent parts are shown on white.

    Parameters
    ----------
    image : PIL image
        Left as it is.
    size : int
        The side of the square.
    channels : 1, 3 or None
        Grey or colour. None: 1 if the image is stored without colour, else 3.

    Returns
    -------
    array, shape (channels, size, size), uint8
    """
    if channels is None:
        channels = 1 if image.mode in _COLORLESS else 3
    mode = "L" if channels == 1 else "RGB"
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert(mode).resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(image).reshape(size, size, channels).transpose(2, 0, 1)


def _to_8_bits(image: Image.Image) -> Image.Image:
    if image.mode not in ("I", "F") and not image.mode.startswith("I;"):
        return image
    # Pillow widens 16-bit PGM to mode I; there a number is 0 to 65535, elsewhere it could be anything.
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PPM", "PNG")):
        raise ValueError(f"its pixels are 32-bit numbers, mode {image.mode}")
    return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
