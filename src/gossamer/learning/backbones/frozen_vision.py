"""Features of a vision model that is not trained further, such as those of Hugging Face's transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gossamer.errors import MissingDependencyError, ShapeError

HALF_RANGE = 127.5
"""The ``pixel_mean`` and ``pixel_std`` of an encoder on such features: pixels then go from −1 to 1."""


class FrozenVision(nn.Module):
    """Return the features of a vision model whose weights, and whose batch norms, stay as they are.

    It is the ``backbone`` of an encoder of ``EncoderConfig(backbone="custom", channels=3, image_size=224,
    pixel_mean=127.5, pixel_std=127.5)``, or of the size that the model takes; the head alone is trained.
    Images of one channel are taken as grey ones.

    Parameters
    ----------
    model : nn.Module
        Called with ``pixel_values=`` of shape (b, 3, size, size), it returns an object with
        ``pooler_output``, or with ``last_hidden_state``, whose mean over tokens is taken then.
    image_mean, image_std : sequence of three floats
        What the model expects pixels from 0 to 1 to be standardized with, by channel.

    Raises
    ------
    ShapeError
        If there are not three of each.

    Examples
    --------
    ::

        backbone = FrozenVision.from_pretrained("facebook/dinov2-small")
        config = EncoderConfig(
            backbone="custom", channels=3, image_size=224, pixel_mean=HALF_RANGE, pixel_std=HALF_RANGE
        )
        trained = train_encoder(images, config, TrainingConfig(), backbone=backbone)
    """

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, model: nn.Module, *, image_mean: Sequence[float], image_std: Sequence[float]) -> None:
        super().__init__()
        if len(image_mean) != 3 or len(image_std) != 3:
            raise ShapeError(f"image_mean and image_std: expected three; got {len(image_mean)} and {len(image_std)}")
        self.model = model.eval().requires_grad_(requires_grad=False)
        for name, values in (("image_mean", image_mean), ("image_std", image_std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1))

    @classmethod
    def from_pretrained(cls, name: str, *, revision: str | None = None) -> FrozenVision:
        """Load a model of Hugging Face's hub, or of a folder, and what its pixels are standardized with.

        Weights are read from safetensors alone, and no code comes with them.

        Parameters
        ----------
        name : str
            As ``transformers.AutoModel`` takes it.
        revision : str, optional
            A commit or tag of the hub's; None for the newest.

        Raises
        ------
        MissingDependencyError
            If transformers is not installed.
        """
        try:
            import transformers
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                "models of Hugging Face need transformers, which is not installed: pip install 'gossamer[vision]'"
            ) from error
        processor = transformers.AutoImageProcessor.from_pretrained(name, revision=revision)
        model = transformers.AutoModel.from_pretrained(name, revision=revision, use_safetensors=True)
        model = getattr(model, "vision_model", model)  # of models of images and texts
        return cls(model, image_mean=processor.image_mean, image_std=processor.image_std)

    def train(self, mode: bool = True) -> FrozenVision:
        """Change nothing in the model: dropout and batch norms are as when features are used."""
        super().train(mode)
        self.model.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return features of shape (b, features), without gradient.

        Parameters
        ----------
        x : Tensor, shape (b, 1 or 3, size, size)
            Pixels from −1 to 1.
        """
        pixels = (x.expand(-1, 3, -1, -1) * 0.5 + 0.5 - self.image_mean) / self.image_std
        with torch.no_grad():
            output: Any = self.model(pixel_values=pixels)
        pooled = getattr(output, "pooler_output", None)
        features: Tensor = output.last_hidden_state.mean(dim=1) if pooled is None else pooled.flatten(1)
        return features
