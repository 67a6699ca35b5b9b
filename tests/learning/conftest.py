import numpy as np
import pytest
import torch

from gossamer import Catalog
from gossamer.datasets.images import LabeledImages
from gossamer.learning import Encoder, EncoderConfig

SIZE = 16


@pytest.fixture(autouse=True, scope="session")
def learns_on_one_thread(one_thread):
    """Every test of this folder."""


def blotted_images(classes, *, per_class, seed=0):
    """Images of one random pattern a class, each blotted by noise of its own."""
    rng = np.random.default_rng(seed)
    patterns = rng.integers(0, 2, (len(classes), 1, 4, 4)).repeat(4, axis=2).repeat(4, axis=3) * 200
    pixels = np.concatenate([pattern + rng.integers(0, 56, (per_class, 1, SIZE, SIZE)) for pattern in patterns])
    labels = np.repeat(classes, per_class)
    keys = np.array([f"{label}/{i}" for i, label in enumerate(labels)])
    return LabeledImages(pixels=pixels.astype(np.uint8), catalog=Catalog(n=len(keys), keys=keys, labels=labels))


@pytest.fixture
def images():
    return blotted_images(np.array(list("abcdefgh")), per_class=8)


@pytest.fixture
def images_of_many_classes():
    return blotted_images(np.arange(40).astype(str), per_class=2)


@pytest.fixture
def unseen_images():
    return blotted_images(np.array(list("uvwxyz")), per_class=4, seed=1)


@pytest.fixture
def config():
    return EncoderConfig(dim=64, image_size=SIZE, pixel_mean=120.0, pixel_std=80.0)


@pytest.fixture
def encoder(config, images):
    """An encoder whose norms know the images: with those of a new one, no entry passes the ReLU."""
    encoder = Encoder(config)
    for module in encoder.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        encoder(torch.from_numpy(images.pixels))
    return encoder
