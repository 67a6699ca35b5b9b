"""Encodings kept on disk: blocks found again, and more distractors that begin with the same ones."""

import numpy as np
import pytest
import torch

from gossamer import Catalog, SparseEmbeddings
from gossamer.datasets.images import LabeledImages
from gossamer.learning import Encoder, EncoderConfig
from gossamer.learning.encoding import encode, encode_dense
from gossamer.study import encodings
from gossamer.study.codes import describe_codes
from gossamer.study.encodings import DistractorPictures, Encodings, HeldPictures


@pytest.fixture
def images(rng):
    pixels = rng.integers(0, 256, (20, 1, 16, 16), dtype=np.uint8)
    return LabeledImages(pixels=pixels, catalog=Catalog(n=20, labels=np.repeat(list("abcd"), 5)))


def encoder(activation="none", seed=0):
    torch.manual_seed(seed)
    config = EncoderConfig(dim=8, activation=activation, image_size=16, pixel_mean=120.0, pixel_std=80.0)
    return Encoder(config).eval()


@pytest.fixture
def blocks_of_eight(monkeypatch):
    monkeypatch.setattr(encodings, "PICTURES_PER_BLOCK", 8)


def rows(folder, model, pictures, reports=None):
    report = (lambda *_: None) if reports is None else (lambda *seen: reports.append(seen))
    return Encodings(folder, device="cpu", precision="float32").rows(model, pictures, report)


@pytest.mark.usefixtures("blocks_of_eight")
def test_blocks_equal_pictures_encoded_at_once(tmp_path, images):
    dense, sparse = encoder(), encoder("soft-threshold")
    found = rows(tmp_path, dense, HeldPictures(images))
    np.testing.assert_allclose(found, encode_dense(dense, images.pixels), atol=1e-6)
    found = rows(tmp_path, sparse, HeldPictures(images))
    np.testing.assert_allclose(found.to_dense(), encode(sparse, images.pixels).to_dense(), atol=1e-6)


@pytest.mark.usefixtures("blocks_of_eight")
def test_a_killed_run_goes_on_with_the_first_block_that_is_not_there(tmp_path, images, monkeypatch):
    model, calls = encoder(), []

    def killed(*args, **settings):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode_dense(*args, **settings)

    monkeypatch.setattr(encodings, "encode_dense", killed)
    with pytest.raises(KeyboardInterrupt):
        rows(tmp_path, model, HeldPictures(images))
    reports = []
    assert rows(tmp_path, model, HeldPictures(images), reports).shape == (20, 8)
    assert reports == [(20, 20)]
    assert len(calls) == 4


def test_other_models_pictures_and_precisions_are_kept_apart(tmp_path, images):
    first = rows(tmp_path, encoder(), HeldPictures(images))
    assert not np.array_equal(first, rows(tmp_path, encoder(seed=1), HeldPictures(images)))
    assert rows(tmp_path, encoder(), HeldPictures(images.take([1, 2]))).shape == (2, 8)
    Encodings(tmp_path, device="cpu", precision="bf16").rows(encoder(), HeldPictures(images), lambda *_: None)
    assert len(list(tmp_path.iterdir())) == 4


def test_more_distractors_begin_with_the_same_blocks(images):
    few, many = DistractorPictures(images, n=10, seed=0), DistractorPictures(images, n=5000, seed=0)
    assert few.digest == many.digest
    assert (len(few), len(many)) == (4096, 8192)
    np.testing.assert_array_equal(few.pixels(0, 4096), many.pixels(0, 4096))
    assert DistractorPictures(images, n=10, seed=1).digest != few.digest


def test_list_lengths_are_counted_by_powers_of_two():
    documents = SparseEmbeddings.from_dense(np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 1]], np.float32))
    about = describe_codes(documents, documents[:1])
    assert about["list_lengths"]["counts"] == [1, 1, 2]  # one empty, one of 1, two of 2 or 3
    assert about["list_lengths"]["quantiles"][0] == 0
    assert about["list_lengths"]["quantiles"][-1] == 3
    assert len(about["list_lengths"]["quantiles"]) == 33
    assert about["flops_per_document"] == pytest.approx((3 + 2) / 3)
    assert (about["nnz_per_row"], about["zero_rows"]) == (2, 0)
    assert about["suboptimality_ratio"] == pytest.approx(4 * (9 + 4 + 1) / 36)
