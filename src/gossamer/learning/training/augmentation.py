"""Random changes of a batch of images that keep their class."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gossamer.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AffineAugmentation:
    """Rotate, scale, shear and move each image by its own random amounts.

    Amounts are uniform up to the settings in both directions. What comes in from outside the image has
    the color of the nearest border pixel.

    Parameters
    ----------
    rotation : float
        Degrees.
    scaling : float
        The logarithm of the factor, drawn for width and for height.
    shearing : float
        The shift of a row, in heights per height.
    translation : float
        A share of half the image, drawn for both axes.

    Raises
    ------
    ConfigError
        If a setting is negative or not finite.
    """

    rotation: float = 12.0
    scaling: float = 0.15
    shearing: float = 0.2
    translation: float = 0.1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < math.inf:
                raise ConfigError(f"{name}: expected a finite number of at least 0; got {value}")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return changed images.

        Parameters
        ----------
        images : Tensor, shape (b, c, h, w), float
            Not modified.
        generator : torch.Generator
            On the CPU, so that every device sees the same changes.
        """
        amounts = torch.rand(6, len(images), generator=generator) * 2 - 1
        angle = amounts[0] * math.radians(self.rotation)
        width, height = (amounts[1:3] * self.scaling).exp()
        shear = amounts[3] * self.shearing
        shift = amounts[4:6] * self.translation
        cos, sin = angle.cos(), angle.sin()
        # Scaling after shearing after rotation, from places of the result to places of the image.
        x = torch.stack([width * (cos + shear * sin), width * (shear * cos - sin), shift[0]], dim=1)
        y = torch.stack([height * sin, height * cos, shift[1]], dim=1)
        transforms = torch.stack([x, y], dim=1).to(images)
        grid = F.affine_grid(transforms, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
