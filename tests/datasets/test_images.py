"""Finding and decoding images, on small files made here."""

import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from gossamer import Catalog
from gossamer.datasets import images as images_module
from gossamer.datasets.images import ImageCollection, LabeledImages
from gossamer.errors import ConfigError, DataError, FormatError, NotFoundError, ShapeError


def saved(pixels, image_format, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format, **options)
    return buffer.getvalue()


def png(pixels, **options):
    return saved(np.asarray(pixels, np.uint8), "PNG", **options)


BLACK, GREY, RED = png(np.zeros((4, 4))), png(np.full((6, 3), 100)), png(np.tile(np.uint8([255, 0, 0]), (5, 5, 1)))
TREE = {"root.png": GREY, "cats/1.png": BLACK, "cats/old/2.png": GREY, "dogs/3.png": BLACK}


def write_tree(root, files):
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture(params=["folder", "zip"])
def make_data(request, tmp_path):
    """Write a tree of files, as a folder or as a zip, and return its path."""
    if request.param == "folder":
        return lambda files: write_tree(tmp_path / "data", files)
    return lambda files: write_zip(tmp_path / "data.zip", files)


# --- finding


def test_the_class_of_an_image_is_its_folder_and_keys_ascend(make_data):
    found = ImageCollection.open(make_data(TREE))
    assert found.keys.tolist() == ["cats/1.png", "cats/old/2.png", "dogs/3.png", "root.png"]
    assert found.labels.tolist() == ["cats", "cats/old", "dogs", "."]
    assert len(found) == 4


def test_hidden_files_and_folders_are_passed_over(make_data):
    hidden = {".DS_Store": b"x", "cats/.thumb.png": b"x", ".git/1.png": b"x", "__MACOSX/cats/1.png": b"x"}
    assert (
        ImageCollection.open(make_data(TREE | hidden)).keys.tolist()
        == ImageCollection.open(make_data(TREE)).keys.tolist()
    )


def test_a_zip_with_entries_for_its_folders_is_the_same(tmp_path):
    path = write_zip(tmp_path / "data.zip", {"cats/": b"", "./cats/1.png": BLACK})
    assert ImageCollection.open(path).keys.tolist() == ["cats/1.png"]


def test_links_are_followed_but_not_in_circles(tmp_path):
    root = write_tree(tmp_path / "data", TREE)
    os.symlink(write_tree(tmp_path / "more", {"4.png": BLACK}), root / "birds")
    assert "birds/4.png" in ImageCollection.open(root).keys
    os.symlink(root, root / "birds" / "again")
    with pytest.raises(DataError, match="second time"):
        ImageCollection.open(root)


def test_a_missing_path_is_refused(tmp_path):
    with pytest.raises(NotFoundError, match="there is nothing at"):
        ImageCollection.open(tmp_path / "none")


def test_no_files_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", write_zip(tmp_path / "empty.zip", {})):
        with pytest.raises(DataError, match="holds no files"):
            ImageCollection.open(path)


def test_a_file_that_is_no_zip_is_refused(tmp_path):
    (tmp_path / "photo.png").write_bytes(BLACK)
    with pytest.raises(FormatError, match=r"photo\.png is neither"):
        ImageCollection.open(tmp_path / "photo.png")


@pytest.mark.parametrize("name", ["../1.png", "/etc/1.png", "cats/../../1.png", "cats\\1.png"])
def test_a_zip_with_names_that_are_not_relative_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="relative names"):
        ImageCollection.open(write_zip(tmp_path / "data.zip", {name: BLACK}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_a_file_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("1.png", BLACK)
        archive.writestr("1.png", GREY)
    with pytest.raises(DataError, match=r"1\.png is there twice"):
        ImageCollection.open(tmp_path / "data.zip")


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    write_tree(tmp_path, TREE)
    try:
        (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(BLACK)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(DataError, match="names in UTF-8"):
        ImageCollection.open(tmp_path)


# --- lists of labels and classes


def open_listed(data, text, **options):
    path = data.parent / "list.csv"
    path.write_text(text, encoding="utf-8")
    return ImageCollection.open(data, labels=[path], **options)


def test_a_list_replaces_the_folders_as_classes_and_chooses_the_images(make_data):
    found = open_listed(make_data(TREE), "dogs/3.png, pet\n\ncats/1.png, pet\nroot.png,none\n")
    assert dict(zip(found.keys, found.labels, strict=True)) == {
        "cats/1.png": "pet",
        "dogs/3.png": "pet",
        "root.png": "none",
    }


@pytest.mark.parametrize(("column", "label"), [("1", "fine"), ("2", "coarse"), ("group", "coarse")])
def test_the_label_column_is_a_number_or_a_name_in_the_header(make_data, column, label):
    text = "\ufeffPath,kind,group\r\ncats/1.png,fine,coarse\r\n"
    assert open_listed(make_data(TREE), text, label_column=column).labels.tolist() == [label]


def test_a_list_inside_the_data_names_paths_from_its_own_folder(make_data):
    files = {f"set/{name}": data for name, data in TREE.items()} | {
        "set/a.txt": b"cats/1.png,0\n",
        "set/b.txt": b"dogs/3.png,1",
    }
    data = make_data(files)
    found = ImageCollection.open(data, labels=["set/a.txt", "set/b.txt"])
    assert found.keys.tolist() == ["set/cats/1.png", "set/dogs/3.png"]
    assert found.labels.tolist() == ["0", "1"]
    if data.is_dir():
        by_path = ImageCollection.open(data, labels=[data / "set/a.txt"])
        assert by_path.keys.tolist() == ["set/cats/1.png"]


@pytest.mark.parametrize(
    ("text", "column", "error", "message"),
    [
        ("cats/9.png,1\n", "1", NotFoundError, r"line 1, names cats/9\.png"),
        ("cats/1.png,1\ncats/1.png,2\n", "1", DataError, r"cats/1\.png is '1' and, in .*, line 2, '2'"),
        ("cats/1.png,1\ndogs/3.png\n", "1", FormatError, "line 2, has none"),
        ("cats/1.png,\n", "1", FormatError, "line 1, has none"),
        ("", "1", DataError, "has none"),
        ("path,label\n", "1", DataError, "has none"),
        ('cats/1.png,"1\n', "1", FormatError, "line 1"),
        ("cats/1.png,1\n", "label", ConfigError, "it has no header"),
        ("path,label\ncats/1.png,1\n", "kind", ConfigError, "its header names path, label"),
        ("cats/1.png,1\n", "0", ConfigError, "at least 1"),
    ],
)
def test_a_list_that_cannot_be_right_is_refused(make_data, text, column, error, message):
    with pytest.raises(error, match=message):
        open_listed(make_data(TREE), text, label_column=column)


def test_a_list_that_is_missing_or_no_text_is_refused(make_data):
    data = make_data(TREE)
    with pytest.raises(NotFoundError, match=r"there is no list\.csv"):
        ImageCollection.open(data, labels=["list.csv"])
    with pytest.raises(FormatError, match="expected UTF-8"):
        ImageCollection.open(data, labels=["root.png"])


def test_classes_keep_only_what_they_name(make_data, tmp_path):
    (tmp_path / "classes.txt").write_text("dogs\n\n cats \n")
    found = ImageCollection.open(make_data(TREE), classes=tmp_path / "classes.txt")
    assert found.keys.tolist() == ["cats/1.png", "dogs/3.png"]


def test_a_list_of_classes_inside_the_data_is_not_an_image(make_data):
    found = ImageCollection.open(make_data(TREE | {"classes.txt": b".\ncats"}), classes="classes.txt")
    assert found.keys.tolist() == ["cats/1.png", "root.png"]


@pytest.mark.parametrize(("text", "message"), [("cats\nbirds\n", "no image is of class 'birds'"), (" \n", "is empty")])
def test_classes_that_no_image_has_are_refused(make_data, tmp_path, text, message):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        ImageCollection.open(make_data(TREE), classes=tmp_path / "classes.txt")


# --- decoding


def decode_one(data, tmp_path, *, name="1.png", **options):
    write_tree(tmp_path / "one", {name: data})
    return ImageCollection.open(tmp_path / "one").decode(**options).pixels[0]


def test_images_are_decoded_in_order_with_keys_and_labels(make_data):
    images = ImageCollection.open(make_data(TREE)).decode(size=3)
    assert images.pixels.shape == (4, 1, 3, 3)
    assert images.pixels[:, 0, 1, 1].tolist() == [0, 100, 0, 100]
    assert images.catalog.keys.tolist() == ["cats/1.png", "cats/old/2.png", "dogs/3.png", "root.png"]
    assert images.labels.tolist() == ["cats", "cats/old", "dogs", "."]
    assert (images.n_classes, images.n_unreadable, images.catalog.fingerprint) == (4, 0, "")


def test_many_images_keep_their_order_over_threads(tmp_path):
    shades = {f"{i:03}.png": png(np.full((2, 2), i)) for i in range(200)}
    seen = []
    images = ImageCollection.open(write_tree(tmp_path, shades)).decode(
        size=2, on_progress=lambda done, total: seen.append((done, total))
    )
    assert images.pixels[:, 0, 0, 0].tolist() == list(range(200))
    assert seen[-1] == (200, 200)
    assert seen == sorted(seen)


def test_one_image_in_colour_makes_all_of_three_channels(make_data):
    images = ImageCollection.open(make_data({"1.png": GREY, "2.png": RED, "3.png": GREY})).decode(size=2)
    assert images.pixels[:, :, 0, 0].tolist() == [[100, 100, 100], [255, 0, 0], [100, 100, 100]]


def test_channels_can_be_chosen(make_data):
    collection = ImageCollection.open(make_data({"1.png": GREY, "2.png": RED}))
    assert collection.decode(size=2, channels=1).pixels[:, :, 0, 0].tolist() == [[100], [76]]  # luma of red: 0.299
    assert collection.decode(size=2, channels=3).pixels.shape == (2, 3, 2, 2)


def test_shrinking_averages_instead_of_dropping_pixels(tmp_path):
    checkers = np.indices((64, 64)).sum(axis=0) % 2 * 255
    pixels = decode_one(png(checkers), tmp_path, size=4)
    assert np.abs(pixels.astype(int) - 127).max() <= 2


def test_bilevel_images_become_black_and_white(tmp_path):
    bilevel = saved(np.eye(4, dtype=bool), "PNG")
    np.testing.assert_array_equal(decode_one(bilevel, tmp_path, size=4)[0], np.eye(4) * 255)


def test_transparent_parts_are_white(tmp_path):
    half = np.zeros((1, 2, 4), np.uint8)
    half[0, 1, 3] = 255
    assert decode_one(png(half), tmp_path, size=2)[:, 0].tolist() == [[255, 0]] * 3
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 255, 0, 255, 0])
    palette.putpixel((1, 0), 1)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", transparency=0)
    assert decode_one(buffer.getvalue(), tmp_path, size=2)[:, 0].tolist() == [[255, 0], [255, 255], [255, 0]]


@pytest.mark.parametrize("name", ["1.png", "1.tiff", "1.pgm"])
def test_16_bit_grey_is_scaled(tmp_path, name):
    deep = np.uint16([[0, 65535], [32896, 257]])
    data = saved(deep, {"1.png": "PNG", "1.tiff": "TIFF", "1.pgm": "PPM"}[name])
    assert decode_one(data, tmp_path, name=name, size=2)[0].tolist() == [[0, 255], [128, 1]]


def test_an_image_is_turned_upright(tmp_path):
    lying = np.uint8([[0, 0], [255, 255]])
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to view
    assert decode_one(png(lying, exif=exif), tmp_path, size=2)[0].tolist() == [[255, 0], [255, 0]]
    write_tree(tmp_path / "two", {"1.png": png(np.zeros((2, 6)), exif=exif)})
    assert ImageCollection.open(tmp_path / "two").read(0).size == (2, 6)


def test_a_large_photo_is_the_same_decoded_small(tmp_path):
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 255, (9, 12, 3), np.uint8)).resize((800, 600), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    smooth.save(buffer, "JPEG", quality=95)
    pixels = decode_one(buffer.getvalue(), tmp_path, name="1.jpg", size=16)
    whole = np.asarray(smooth.resize((16, 16), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(pixels.astype(int) - whole).max() < 12


DAMAGED = {
    "text": b"not an image",
    "empty": b"",
    "truncated": BLACK[:45],
    "damaged": BLACK[:40] + b"\xff\xff\xff" + BLACK[43:],
    "a format that is not listed": saved(np.zeros((4, 4), np.uint8), "PCX"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_file_that_cannot_be_decoded_is_named_or_counted(make_data, caplog, kind):
    collection = ImageCollection.open(make_data(TREE | {"cats/bad.png": DAMAGED[kind]}))
    with pytest.raises(DataError, match=r"cats/bad\.png cannot be decoded"):
        collection.decode(size=2)
    images = collection.decode(size=2, skip_unreadable=True)
    assert images.n_unreadable == 1
    assert images.catalog.keys.tolist() == sorted(TREE)
    assert "cats/bad.png" in caplog.text


def test_an_image_too_large_to_be_true_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with pytest.raises(DataError, match=r"1\.png cannot be decoded .*decompression bomb"):
        decode_one(BLACK, tmp_path, size=2)


def test_32_bit_pixels_are_refused(tmp_path):
    for pixels in (np.zeros((2, 2), np.float32), np.zeros((2, 2), np.int32)):
        with pytest.raises(DataError, match="32-bit"):
            decode_one(saved(pixels, "TIFF"), tmp_path, name="1.tiff", size=2)


def test_a_damaged_member_of_a_zip_is_named(tmp_path):
    path = write_zip(tmp_path / "data.zip", {"1.png": BLACK, "2.png": RED})
    data = path.read_bytes()
    path.write_bytes(data.replace(RED, RED[:30] + b"?" + RED[31:]))
    with pytest.raises(DataError, match=r"2\.png in .*CRC"):
        ImageCollection.open(path).decode(size=2)


def test_nothing_readable_is_refused(make_data):
    with pytest.raises(DataError, match="none of its 1 files"):
        ImageCollection.open(make_data({"1.png": b"x"})).decode(size=2, skip_unreadable=True)


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 2, "channels": 2}])
def test_settings_out_of_range_are_refused(make_data, options):
    with pytest.raises(ConfigError, match="expected"):
        ImageCollection.open(make_data(TREE)).decode(**options)


def test_large_collections_are_kept_in_a_temporary_file(make_data, monkeypatch):
    collection = ImageCollection.open(make_data({"1.png": GREY, "2.png": RED}))
    expected = collection.decode(size=2).pixels
    monkeypatch.setattr(images_module, "_MOST_BYTES_IN_MEMORY", 8)
    pixels = collection.decode(size=2).pixels
    assert isinstance(pixels, np.memmap)
    np.testing.assert_array_equal(pixels, expected)


# --- LabeledImages


def test_taking_images_takes_their_names():
    catalog = Catalog(n=3, keys=np.array(["a", "b", "c"]), labels=np.array(["0", "1", "0"]))
    images = LabeledImages(pixels=np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1), catalog=catalog)
    some = images.take([2, 0])
    assert some.pixels.ravel().tolist() == [2, 0]
    assert some.catalog.keys.tolist() == ["c", "a"]
    assert len(images.take(images.labels == "1")) == 1
    assert len(images.take([])) == 0


@pytest.mark.parametrize(
    ("pixels", "catalog"),
    [
        (np.zeros((2, 1, 4, 4), np.float32), Catalog(n=2, labels=np.array(["a", "b"]))),
        (np.zeros((2, 1, 4, 3), np.uint8), Catalog(n=2, labels=np.array(["a", "b"]))),
        (np.zeros((2, 4, 4, 1), np.uint8), Catalog(n=2, labels=np.array(["a", "b"]))),
        (np.zeros((2, 1, 4, 4), np.uint8), Catalog(n=1, labels=np.array(["a"]))),
        (np.zeros((2, 1, 4, 4), np.uint8), Catalog(n=2)),
    ],
)
def test_images_that_do_not_fit_their_names_are_refused(pixels, catalog):
    with pytest.raises(ShapeError):
        LabeledImages(pixels=pixels, catalog=catalog)
