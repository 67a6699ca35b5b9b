"""Distractors without end: pictures, the same turned and mirrored as new classes, then warped copies.

Omniglot has too few pictures for a million distractors. Turned by right angles or mirrored, a character is
counted as another one, as is usual on Omniglot (Santoro et al., "Meta-Learning with Memory-Augmented Neural
Networks", ICML 2016, for turns). Warped copies come last; they are easier than new classes would be, so every
table says how many of them it has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gossamer.arrays import TextArray
from gossamer.datasets.images import LabeledImages
from gossamer.errors import ConfigError

N_TURNS = 8
"""The symmetries of a square: four turns, each as it is and mirrored; number 0 changes nothing."""
_PICTURES_PER_BLOCK = 4096  # warped with one draw, so that a picture does not depend on what is asked with it


@dataclass(frozen=True, kw_only=True)
class DistractorCounts:
    """How many distractors are of which kind."""

    pictures: int
    turned: int
    warped: int


class Distractors:
    """As many pictures as are asked for, from few: each is made when it is read.

    Number i is, of n pictures, picture i mod n. Those below n are as they were given, those below 8 n are
    turned or mirrored, all others turned or mirrored and warped, as `AffineAugmentation` does in training.

    Parameters
    ----------
    images : LabeledImages
        The pictures to begin with, at least one.
    n : int
        How many distractors, at least 1.
    seed : int
        Of the warps.

    Raises
    ------
    ConfigError
        If there are no pictures or ``n`` is below 1.
    """

    def __init__(self, images: LabeledImages, *, n: int, seed: int) -> None:
        if len(images) == 0 or n < 1:
            raise ConfigError(f"distractors: expected at least 1, of at least 1 picture; got {n} of {len(images)}")
        self._images, self._n, self._seed = images, n, seed

    def __len__(self) -> int:
        return self._n

    @property
    def counts(self) -> DistractorCounts:
        """How many are of which kind."""
        n_pictures = min(self._n, len(self._images))
        n_turned = min(self._n, N_TURNS * len(self._images)) - n_pictures
        return DistractorCounts(pictures=n_pictures, turned=n_turned, warped=self._n - n_pictures - n_turned)

    @property
    def classes(self) -> TextArray:
        """Every class that one may be of, once: those of the pictures, and turned ones, called ``/turn-1`` to 7."""
        classes = np.unique(self._images.labels[: self._n])
        n_turns = min(N_TURNS, -(-self._n // len(self._images)))
        turned = [np.char.add(classes, f"/turn-{turn}") for turn in range(1, n_turns)]
        return np.concatenate([classes, *turned])

    def pixels(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the distractors from ``start`` up to ``stop``, shape (b, channels, size, size), uint8."""
        stop = min(stop, self._n)
        firsts = range(start - start % _PICTURES_PER_BLOCK, max(stop, start), _PICTURES_PER_BLOCK)
        blocks = [self._block(first)[max(start - first, 0) : stop - first] for first in firsts]
        empty = np.empty((0, *self._images.pixels.shape[1:]), np.uint8)
        return np.concatenate([empty, *blocks])

    def _block(self, first: int) -> NDArray[np.uint8]:
        # Whole, past the last one too: what a picture's warp is depends on how many are drawn with it.
        numbers = np.arange(first, first + _PICTURES_PER_BLOCK)
        turns = numbers // len(self._images) % N_TURNS
        pixels = self._images.pixels[numbers % len(self._images)]
        for turn in np.unique(turns[turns > 0]):
            pixels[turns == turn] = turned(pixels[turns == turn], int(turn))
        is_warped = numbers >= N_TURNS * len(self._images)
        if is_warped.any():
            pixels[is_warped] = _warped(pixels, seed=self._seed, first=first)[is_warped]
        return pixels


def turned(pixels: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Return pictures turned by ``turn`` mod 4 right angles, and mirrored before if ``turn`` is 4 or more."""
    mirrored = pixels[..., ::-1] if turn >= N_TURNS // 2 else pixels
    return np.rot90(mirrored, turn % 4, axes=(-2, -1))


def _warped(pixels: NDArray[np.uint8], *, seed: int, first: int) -> NDArray[np.uint8]:
    import torch

    from gossamer.learning.training.augmentation import AffineAugmentation

    key = int(np.random.SeedSequence((seed, first)).generate_state(1, np.uint64)[0])
    warped = AffineAugmentation()(torch.from_numpy(pixels).float(), torch.Generator().manual_seed(key))
    return warped.round().clamp(0, 255).to(torch.uint8).numpy()
