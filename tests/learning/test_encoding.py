"""Encoding in batches equals one forward pass, and leaves the encoder as it was."""

import dataclasses

import numpy as np
import pytest
import torch

from gossamer.errors import ConfigError, DataError, ShapeError
from gossamer.learning import Encoder, encode, encode_dense


def forward(encoder, pixels):
    with torch.no_grad():
        return encoder.eval()(torch.from_numpy(pixels)).numpy()


def test_sparse_embeddings_are_the_nonzeros_of_the_forward_pass(encoder, images):
    rows = encode(encoder, images.pixels, batch_size=len(images))
    expected = forward(encoder, images.pixels)
    assert 0 < rows.nnz < expected.size
    np.testing.assert_array_equal(rows.to_dense(), expected)


def test_batches_are_joined_in_order(encoder, images):
    expected = forward(encoder, images.pixels)
    done = []
    rows = encode(encoder, images.pixels, batch_size=24, on_progress=lambda *counts: done.append(counts))
    np.testing.assert_allclose(rows.to_dense(), expected, atol=1e-6)
    np.testing.assert_allclose(encode_dense(encoder, images.pixels, batch_size=24), expected, atol=1e-6)
    assert done == [(24, 64), (48, 64), (64, 64)]


def test_dense_encoders_give_arrays_and_are_refused_as_sparse(config, images):
    dense = Encoder(dataclasses.replace(config, activation="none"))
    embeddings = encode_dense(dense, images.pixels, batch_size=len(images))
    assert embeddings.dtype == np.float32
    np.testing.assert_array_equal(embeddings, forward(dense, images.pixels))
    with pytest.raises(ConfigError, match="encoder: expected a sparse one"):
        encode(dense, images.pixels)


def test_no_images_give_no_rows(encoder, images):
    assert encode(encoder, images.pixels[:0]).shape == (0, 64)
    assert encode_dense(encoder, images.pixels[:0]).shape == (0, 64)


def test_the_encoder_keeps_the_modes_of_all_its_parts(encoder, images):
    encoder.train()
    encoder.backbone.eval()  # frozen
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encode(encoder, images.pixels)
    assert encoder.training
    assert encoder.head.training
    assert not encoder.backbone.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_memory_maps_are_read(encoder, images, tmp_path):
    np.save(tmp_path / "pixels.npy", images.pixels)
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    np.testing.assert_array_equal(encode_dense(encoder, mapped), encode_dense(encoder, images.pixels))


@pytest.mark.parametrize("encoding", [encode, encode_dense])
def test_bad_arguments_are_refused(encoder, images, encoding):
    with pytest.raises(DataError, match="pixels: expected uint8.*got dtype float32"):
        encoding(encoder, images.pixels.astype(np.float32))
    with pytest.raises(ShapeError, match=r"pixels: expected shape \(n, 1, 16, 16\); got \(64, 1, 16, 8\)"):
        encoding(encoder, images.pixels[..., :8])
    with pytest.raises(ConfigError, match="batch_size: expected at least 1; got 0"):
        encoding(encoder, images.pixels, batch_size=0)
    with pytest.raises(ConfigError, match="device: expected auto, cpu, cuda"):
        encoding(encoder, images.pixels, device="tpu")


def test_mixed_precision_rounds_as_three_digits_do(encoder, images):
    exact = encode_dense(encoder, images.pixels)
    rounded = encode_dense(encoder, images.pixels, precision="bf16")
    assert rounded.dtype == np.float32
    assert (rounded != exact).any()
    assert np.median((rounded * exact).sum(axis=1)) > 0.99  # cosines: an untrained network's features are noisy
    with pytest.raises(ConfigError, match="precision: expected one of float32, bf16; got 'half'"):
        encode(encoder, images.pixels, precision="half")
