"""Learned embeddings of Omniglot: warped images of characters that the encoders have never seen.

Two encoders with one backbone (four convolutions, 32 × 32 pixels), one sparse and one dense, learn from the background
alphabets as in `gossamer demo`. Documents are copies of the evaluation images, `COPIES` of each, rotated by up
to 12°, scaled by up to e^0.15 in width and height, sheared by up to 0.2 and moved by up to 0.1 of half the image, all
uniform and independent (`AffineAugmentation`, which training uses too); queries are such copies of 1,000
evaluation images, from another seed.
"""

from collections.abc import Iterator

import numpy as np
from data_cache import FOLDER, Arrays, cached, to_arrays
from numpy.typing import NDArray

from gossamer.embeddings import stacked

IMAGE_SIZE = 32
COPIES = 63  # of 7,940 images: 500,220 documents
N_QUERIES = 1000
DIM = {"sparse": 8192, "dense": 128}
STEPS = 1600
FLOPS_PER_DOCUMENT = 0.85  # of classes not learned from, about 1 of those searched, with 60 to 100 nonzeros a row
PRECISION = "bf16"
SEED = 0
_IMAGES_PER_BLOCK = 2000

_SETTINGS = {
    "steps": STEPS, "flops_per_document": FLOPS_PER_DOCUMENT, "dim": DIM, "precision": PRECISION, "seed": SEED,
    "copies": COPIES,
}  # fmt: skip


def omniglot_codes() -> Arrays:
    """Return documents and queries as sparse codes."""
    return cached("omniglot", _SETTINGS, "omniglot_codes.py", make=_encode_sparse)


def omniglot_dense() -> Arrays:
    """Return the dense vectors of the same images."""
    return cached("omniglot-dense", _SETTINGS, "omniglot_codes.py", make=_encode_dense)


def _encode_sparse() -> Arrays:
    from gossamer.learning import encode

    encoder, pixels = _encoder("sparse"), _pixels("evaluation")[0]
    blocks = [encode(encoder, block, precision=PRECISION) for block in _document_blocks(pixels)]
    documents = stacked(blocks, dim=DIM["sparse"])
    queries = encode(encoder, _query_pixels(pixels), precision=PRECISION)
    return {**to_arrays("docs", documents), **to_arrays("queries", queries), "dim": np.int64(documents.dim)}


def _encode_dense() -> Arrays:
    from gossamer.learning import encode_dense

    encoder, pixels = _encoder("dense"), _pixels("evaluation")[0]
    documents = np.concatenate(
        [encode_dense(encoder, block, precision=PRECISION) for block in _document_blocks(pixels)]
    )
    return {"docs": documents, "queries": encode_dense(encoder, _query_pixels(pixels), precision=PRECISION)}


def _pixels(split: str):
    from gossamer.datasets.images import ImageCollection
    from gossamer.datasets.omniglot import omniglot

    images = ImageCollection.open(omniglot(split)).decode(size=IMAGE_SIZE, channels=1)
    return images.pixels, images


def _encoder(kind: str):
    """Train the encoder, or take the one that was trained with these settings, for a study too."""
    from gossamer.learning import EncoderConfig, FlopsBudget, TrainingConfig
    from gossamer.learning.model_store import ModelStore

    if kind == "sparse":
        activation, extra = "relu", {"budget": FlopsBudget(flops_per_document=FLOPS_PER_DOCUMENT)}
    else:
        activation, extra = "none", {"regularizer": "none"}
    config = EncoderConfig(dim=DIM[kind], activation=activation, image_size=IMAGE_SIZE)
    training = TrainingConfig(steps=STEPS, seed=SEED, device="cpu", precision=PRECISION, **extra)
    return ModelStore(FOLDER.parent / "models").encoder(_pixels("background")[1], config, training).encoder


def _warped(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    import torch

    from gossamer.learning.training.augmentation import AffineAugmentation

    images = AffineAugmentation()(torch.from_numpy(pixels).float(), torch.Generator().manual_seed(seed))
    return images.round().clamp(0, 255).byte().numpy()


def _document_blocks(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield every image once, warped, then every image once more, and so on; block i is warped with seed i + 1."""
    starts = range(0, len(pixels), _IMAGES_PER_BLOCK)
    for copy in range(COPIES):
        for at, start in enumerate(starts):
            yield _warped(pixels[start : start + _IMAGES_PER_BLOCK], SEED + 1 + copy * len(starts) + at)


def _query_pixels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    chosen = np.random.default_rng(SEED).choice(len(pixels), N_QUERIES, replace=False)
    return _warped(pixels[chosen], SEED + 1_000_000)
