"""Run an encoder over images, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from gossamer.arrays import FloatArray
from gossamer.embeddings import SparseEmbeddings, stacked
from gossamer.errors import ConfigError, DataError, ShapeError
from gossamer.learning.devices import PRECISIONS, pick_device
from gossamer.learning.encoder import Encoder

Progress = Callable[[int, int], None]


def encode(
    encoder: Encoder,
    pixels: NDArray[np.uint8],
    *,
    batch_size: int = 512,
    device: str = "cpu",
    precision: str = "float32",
    on_progress: Progress | None = None,
) -> SparseEmbeddings:
    """Compute the sparse embeddings of images.

    Parameters
    ----------
    encoder : Encoder
        A sparse one. It runs in evaluation mode on ``device``, and is left in the modes and on the
        device that it had.
    pixels : array, shape (n, channels, image_size, image_size), uint8
        The images; also a memory map. Only one batch is in memory as embeddings with zeros.
    batch_size : int
        Images encoded at a time. Results of other sizes may differ by rounding.
    device : str
        Where to compute; see `gossamer.learning.devices.pick_device`.
    precision : str
        ``float32``, or ``bf16``: the backbone in mixed precision, several times as fast where the processor
        multiplies bfloat16 itself. Compare embeddings of one precision alone.
    on_progress : callable, optional
        Called with the number of images done, and of all images.

    Raises
    ------
    ConfigError
        If the encoder is dense, the batch size below 1, the precision unknown, or the device not there.
    DataError
        If the pixels are not uint8.
    ShapeError
        If the images are not of the encoder's shape.
    """
    if not encoder.is_sparse:
        raise ConfigError("encoder: expected a sparse one; got activation 'none'. Call encode_dense")
    blocks = [
        SparseEmbeddings.from_dense(block)
        for block in _blocks(
            encoder, pixels, batch_size=batch_size, device=device, precision=precision, on_progress=on_progress
        )
    ]
    return stacked(blocks, dim=encoder.config.dim)


def encode_dense(
    encoder: Encoder,
    pixels: NDArray[np.uint8],
    *,
    batch_size: int = 512,
    device: str = "cpu",
    precision: str = "float32",
    on_progress: Progress | None = None,
) -> FloatArray:
    """Compute the embeddings of images as an array of shape (n, dim), float32.

    Parameters and errors are those of `encode`, but that the encoder may be of either kind.
    """
    embeddings = np.empty((len(pixels), encoder.config.dim), np.float32)
    start = 0
    for block in _blocks(
        encoder, pixels, batch_size=batch_size, device=device, precision=precision, on_progress=on_progress
    ):
        embeddings[start : start + len(block)] = block
        start += len(block)
    return embeddings


def _blocks(
    encoder: Encoder,
    pixels: NDArray[np.uint8],
    *,
    batch_size: int,
    device: str,
    precision: str,
    on_progress: Progress | None,
) -> Iterator[FloatArray]:
    config = encoder.config
    shape = (config.channels, config.image_size, config.image_size)
    if pixels.dtype != np.uint8:
        raise DataError(f"pixels: expected uint8, from 0 to 255; got dtype {pixels.dtype}")
    if pixels.shape[1:] != shape:
        raise ShapeError(f"pixels: expected shape (n, {', '.join(map(str, shape))}); got {pixels.shape}")
    if batch_size < 1:
        raise ConfigError(f"batch_size: expected at least 1; got {batch_size}")
    if precision not in PRECISIONS:
        raise ConfigError(f"precision: expected one of {', '.join(PRECISIONS)}; got {precision!r}")
    place = pick_device(device)
    with _evaluating(encoder, place), torch.inference_mode():
        for start in range(0, len(pixels), batch_size):
            batch = np.array(pixels[start : start + batch_size])  # a copy: torch warns of read-only memory
            with torch.autocast(place.type, torch.bfloat16, enabled=precision == "bf16"):
                embeddings = encoder(torch.from_numpy(batch).to(place))
            yield embeddings.cpu().numpy()
            if on_progress:
                on_progress(start + len(batch), len(pixels))


@contextmanager
def _evaluating(encoder: Encoder, device: torch.device) -> Iterator[None]:
    """Put the encoder on a device and in evaluation mode, and back."""
    home = next(encoder.parameters()).device
    modes = [(module, module.training) for module in encoder.modules()]
    encoder.to(device).eval()
    try:
        yield
    finally:
        encoder.to(home)
        for module, is_training in modes:
            module.training = is_training
