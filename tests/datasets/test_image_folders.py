"""Images written as folders are read back alike, and nothing is written that could not be."""

import numpy as np
import pytest

from gossamer import Catalog
from gossamer.datasets.image_folders import write_image_folders
from gossamer.datasets.images import ImageCollection, LabeledImages
from gossamer.errors import DataError, OutputExistsError


def images(rng, keys=("train/one.png", "train/two.png", "train/one"), labels=("cat", "cat", "dog/old"), channels=3):
    pixels = rng.integers(0, 256, (3, channels, 8, 8), dtype=np.uint8)
    names = None if keys is None else np.array(keys)
    return LabeledImages(pixels=pixels, catalog=Catalog(n=3, keys=names, labels=np.array(labels)))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_read_back_as_they_were(tmp_path, rng, channels):
    written = images(rng, channels=channels)
    write_image_folders(written, tmp_path / "out")
    found = ImageCollection.open(tmp_path / "out").decode(size=8, channels=channels)
    assert found.catalog.keys.tolist() == ["cat/one.png", "cat/two.png", "dog/old/one.png"]
    assert found.labels.tolist() == ["cat", "cat", "dog/old"]
    np.testing.assert_array_equal(found.pixels, written.pixels)


def test_names_that_would_not_do_are_refused_and_nothing_is_written(tmp_path, rng):
    for change, message in [
        ({"keys": None}, "expected keys, which name the files; there are none"),
        ({"keys": ("a/1.png", "b/1.jpg", "c/1.png")}, "each name once in a class; cat/1.png is there twice"),
        ({"labels": ("cat", "cat", "../dog")}, "labels that are relative paths; got '../dog'"),
        ({"labels": ("cat", "cat", "/dog")}, "labels that are relative paths; got '/dog'"),
    ]:
        with pytest.raises(DataError, match=message):
            write_image_folders(images(rng, **change), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_left_alone(tmp_path, rng):
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputExistsError, match="out exists; name another path"):
        write_image_folders(images(rng), tmp_path / "out")
