"""An archive made as Python 2 made upstream's, and pickles that try to do something."""

import gzip
import io
import os
import pickle
import tarfile
import time

import numpy as np
import pytest

from gossamer.datasets.cifar import cifar100
from gossamer.datasets.plain_pickle import read_plain_pickle
from gossamer.errors import ConfigError, FormatError, NotFoundError
from python_2_pickles import pickled


def pictures(n, first=0):
    rng = np.random.default_rng(first)
    return {
        "filenames": [f"picture_s_{first + i:06}.png" for i in range(n)],
        "batch_label": "testing batch 1 of 1",
        "fine_labels": [(i * 7) % 3 for i in range(n)],
        "coarse_labels": [i % 2 for i in range(n)],
        "data": rng.integers(0, 256, (n, 3072)).astype(np.uint8),
    }


NAMES = {"fine_label_names": ["apple", "bee", "cloud"], "coarse_label_names": ["alive", "not"]}


@pytest.fixture
def archive(tmp_path):
    def archive(**members):
        path = tmp_path / "cifar-100-python.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            for name, data in members.items():
                info = tarfile.TarInfo(f"cifar-100-python/{name}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    return archive


def test_what_we_make_is_a_pickle_that_python_reads_alike():
    expected = pickle.loads(pickled(pictures(3)), encoding="latin-1")
    found = read_plain_pickle(pickled(pictures(3)), name="test")
    assert found.keys() == expected.keys()
    np.testing.assert_array_equal(found.pop("data"), expected.pop("data"))
    assert found == expected


def test_pictures_labels_and_names_are_put_together(archive):
    train, test = pictures(5), pictures(4, first=300)
    path = archive(meta=pickled(NAMES), train=pickled(train), test=pickled(test))
    images = cifar100(path, "test")
    np.testing.assert_array_equal(images.pixels.reshape(4, -1), test["data"])
    assert images.pixels.shape == (4, 3, 32, 32)
    assert images.labels.tolist() == ["apple", "bee", "cloud", "apple"]
    assert images.catalog.keys[0] == "test/picture_s_000300.png"
    assert cifar100(path, "train", level="coarse").labels.tolist() == ["alive", "not", "alive", "not", "alive"]


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harmed",)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_a_pickle_that_would_call_something_is_refused_and_calls_nothing(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormatError, match="expected a pickle of plain data"):
        read_plain_pickle(pickle.dumps({"data": Harmful()}, protocol=protocol), name="test")
    assert not (tmp_path / "harmed").exists()


def test_what_a_pickle_would_call_is_named():
    with pytest.raises(FormatError, match=r"expected a pickle of plain data; it names os\.system"):
        read_plain_pickle(b"\x80\x02cos\nsystem\nU\x04true\x85R.", name="test")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02K\x01K\x02.",  # two things left
        b"\x80\x02h\x05.",  # a memo that was never written
        b"\x80\x02K\x01K\x02a.",  # appends to a number
        b"\x80\x02(cnumpy\ndtype\ne.",
        b"\x80\x02cnumpy\ndtype\n.",  # a name as the value
        b"\x80\x02cnumpy\ndtype\nU\x02O8K\0K\x01\x87R.",  # a call of dtype, not of an array
        b"\x80\x02]q\x01h\x01a.",  # a list that holds itself
        b"\x80\x02}(](ee" + b"K\x01u.",
        b"\x80\x02(\x85K\x01t.",  # a mark within a tuple
        b"\x80\x02}K\x01K\x02s.",  # a key that is no string
        b"\x80\x02cos\nsystem\nU\x04true\x85R.",
    ],
)
def test_damaged_and_strange_pickles_are_refused(data):
    with pytest.raises(FormatError, match="test: expected"):
        read_plain_pickle(data, name="test")


def test_a_thing_in_many_places_is_not_copied_without_end():
    doubled = b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(60))
    assert len(read_plain_pickle(b"\x80\x02(]q\x00" + doubled + b"t.", name="test")) == 61


def test_keys_and_marks_take_no_time_without_end():
    nested = b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60))  # its hash would take 2 to the 60 steps
    with pytest.raises(FormatError, match="tuple in the place of a str"):
        read_plain_pickle(b"\x80\x02)q\x00" + nested + b"}h\x3cK\x01s.", name="test")
    n = 50_000
    start = time.perf_counter()
    read_plain_pickle(b"\x80\x02](" + b"K\x01" * n + b"(t" * n + b"e.", name="test")
    assert time.perf_counter() - start < 20  # looking at all of the stack for each mark takes minutes


def test_a_file_in_the_archive_that_is_too_large_is_refused(archive, monkeypatch):
    monkeypatch.setattr("gossamer.datasets.cifar._MOST_BYTES", 100)
    path = archive(meta=pickled(NAMES), test=pickled(pictures(2)))
    with pytest.raises(FormatError, match=r"cifar-100-python/test of at most 100 bytes; it has more"):
        cifar100(path, "test")


def test_every_cut_of_a_pickle_is_refused():
    data = pickled({"a": [1, 300], "data": np.zeros((1, 2), np.uint8)})
    for end in range(len(data)):
        with pytest.raises(FormatError):
            read_plain_pickle(data[:end], name="test")


def test_archives_that_are_wrong_are_refused(archive, tmp_path):
    good = {"meta": pickled(NAMES), "test": pickled(pictures(2))}
    for member, thing, message in [
        ("test", {**pictures(2), "fine_labels": [0]}, "got shape .*, 1 labels and 2 names"),
        ("test", {**pictures(2), "fine_labels": [0, 3]}, "expected fine labels from 0 to 2; it holds others"),
        ("test", {**pictures(2), "data": np.zeros((2, 100), np.uint8)}, "rows of 3072 bytes"),
        ("test", {"data": [1]}, "expected 'data' of type ndarray; got list"),
        ("meta", [1], "expected 'fine_label_names' of type list; got NoneType"),
    ]:
        with pytest.raises(FormatError, match=message):
            cifar100(archive(**{**good, member: pickled(thing)}), "test")
    path = archive(**good)
    with pytest.raises(FormatError, match="expected cifar-100-python/train in it"):
        cifar100(path, "train")
    with pytest.raises(ConfigError, match="split: expected train or test; got 'all'"):
        cifar100(path, "all")
    with pytest.raises(ConfigError, match="level: expected fine or coarse; got 'both'"):
        cifar100(path, "test", level="both")
    path.write_bytes(gzip.compress(b"no archive"))
    with pytest.raises(FormatError, match="it cannot be read"):
        cifar100(path, "test")
    with pytest.raises(NotFoundError, match="there is no .*nowhere"):
        cifar100(tmp_path / "nowhere", "test")
