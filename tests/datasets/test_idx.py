"""IDX files made by hand, Fashion-MNIST where it is there, and each way in which a file can be wrong."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from gossamer.datasets.idx import fashion_mnist, read_idx
from gossamer.errors import ConfigError, FormatError, NotFoundError


def idx(array, kind=8):
    array = np.asarray(array, np.uint8)
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()


def write(path, payload):
    path.write_bytes(gzip.compress(payload))
    return path


def test_the_array_of_a_file_is_read_row_after_row(tmp_path):
    array = np.arange(24).reshape(2, 3, 4)
    found = read_idx(write(tmp_path / "a.gz", idx(array)))
    np.testing.assert_array_equal(found, array)
    assert found.dtype == np.uint8
    assert read_idx(write(tmp_path / "none.gz", idx(np.empty((0, 5, 5))))).shape == (0, 5, 5)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "unsigned bytes; it starts with b''"),
        (b"\x89PNG", "unsigned bytes; it starts with"),
        (idx([1, 2], kind=13), "unsigned bytes"),
        (idx([[1, 2]])[:9], "sizes of 2 dimensions; it is truncated"),
        (idx([[1, 2]])[:-1], r"expected 2 bytes of shape \(1, 2\); got 1"),
        (idx([[1, 2]]) + b"!", "got more"),
        (struct.pack(">BBBB40I", 0, 0, 8, 40, *[1] * 40) + b"!", "expected at most 32 dimensions"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, *[2**32 - 1] * 3), "bytes can hold; its header says"),
        (struct.pack(">BBBB2I", 0, 0, 8, 2, 2**32 - 1, 2**20), "bytes can hold; its header says"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 0, 2**32 - 1, 2**32 - 1), "bytes can hold; its header says"),
    ],
)
def test_files_that_are_wrong_are_refused(tmp_path, payload, message):
    with pytest.raises(FormatError, match=message):
        read_idx(write(tmp_path / "a.gz", payload))


def test_files_that_are_not_gzip_or_cut_off_are_refused(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(idx([1, 2]))
    with pytest.raises(FormatError, match="expected a gzipped IDX file"):
        read_idx(path)
    path.write_bytes(gzip.compress(idx(np.random.default_rng(0).integers(0, 256, 3000)))[:-1000])
    with pytest.raises(FormatError, match="expected a gzipped IDX file"):
        read_idx(path)
    with pytest.raises(NotFoundError, match="there is none"):
        read_idx(tmp_path / "b.gz")


def make_split(folder, pixels, classes, prefix="t10k"):
    write(folder / f"{prefix}-images-idx3-ubyte.gz", idx(pixels))
    write(folder / f"{prefix}-labels-idx1-ubyte.gz", idx(classes))


def test_pictures_and_labels_are_put_together(tmp_path):
    pixels = np.arange(2 * 9).reshape(2, 3, 3)
    make_split(tmp_path, pixels, [9, 0])
    images = fashion_mnist("test", folder=tmp_path)
    np.testing.assert_array_equal(images.pixels[:, 0], pixels)
    assert images.labels.tolist() == ["Ankle boot", "T-shirt/top"]
    assert images.catalog.keys.tolist() == ["test/00000", "test/00001"]


def test_pictures_and_labels_that_do_not_fit_are_refused(tmp_path, monkeypatch):
    make_split(tmp_path, np.zeros((2, 3, 3)), [1])
    with pytest.raises(FormatError, match=r"a label for each; got shapes \(2, 3, 3\) and \(1,\)"):
        fashion_mnist("test", folder=tmp_path)
    make_split(tmp_path, np.zeros((1, 3, 3)), [10])
    with pytest.raises(FormatError, match="expected labels below 10; got 10"):
        fashion_mnist("test", folder=tmp_path)
    with pytest.raises(ConfigError, match="split: expected train or test; got 'all'"):
        fashion_mnist("all", folder=tmp_path)
    with pytest.raises(NotFoundError, match="train-images"):
        fashion_mnist("train", folder=tmp_path)
    monkeypatch.delenv("GOSSAMER_DATA", raising=False)
    with pytest.raises(NotFoundError, match="GOSSAMER_DATA"):
        fashion_mnist("test")


def test_fashion_mnist_has_as_many_of_each_class():
    if not (Path(os.environ.get("GOSSAMER_DATA", "")) / "fashion-mnist").is_dir():
        pytest.skip("Fashion-MNIST is not in GOSSAMER_DATA")
    images = fashion_mnist("test")
    assert images.pixels.shape == (10_000, 1, 28, 28)
    assert np.unique(images.labels, return_counts=True)[1].tolist() == [1000] * 10
