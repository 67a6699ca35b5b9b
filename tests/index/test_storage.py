"""Index folders: what is written is read, what is damaged is refused, and a killed writer breaks nothing."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gossamer import Catalog, InvertedIndex, SparseEmbeddings
from gossamer.errors import FormatError, NotFoundError, OutputExistsError, VersionError
from gossamer.index import storage
from gossamer.index.contents import BLOCKS, LISTS, PARTS, PLANS, ROWS, Layout
from rows import integer_embeddings

GOLDEN = Path(__file__).parent.parent / "data"
TEXTS = ("keys.offsets", "keys.text", "labels.offsets", "labels.text")
KEYS = ["a/1.png", "a/é 2.png", "日本", "", "broken \udcff name"]


def small_index(*, seed=0, n=5, plan="scan"):
    rows = integer_embeddings(np.random.default_rng(seed), n=n, dim=6, density=0.5)
    labels = np.array(["x", "y", "x", "ü", ""] * n)[:n]
    keys = np.array([KEYS[i] if i < len(KEYS) else f"key {i}" for i in range(n)])
    catalog = Catalog(n=n, keys=keys, labels=labels, fingerprint=f"{seed:016x}")
    return rows, InvertedIndex.build(rows, catalog=catalog, plan=plan)


@pytest.fixture
def folder(tmp_path):
    small_index()[1].save(tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture
def block_folder(tmp_path):
    """An index of 40 rows under block max: two blocks, five parts."""
    small_index(n=40, plan="block-max")[1].save(tmp_path / "blocks")
    return tmp_path / "blocks"


@pytest.fixture
def wide_folder(tmp_path):
    """An index under block max with more dimensions than 16 bits can number, so that lists name theirs."""
    rows = wide_rows(np.random.default_rng(0))
    InvertedIndex.build(rows, plan="block-max").save(tmp_path / "wide")
    return tmp_path / "wide"


def wide_rows(rng, *, n=40, dim=70_000):
    dims = np.sort(np.stack([rng.choice(dim, 6, replace=False) for _ in range(n)]), axis=1)
    values = rng.choice([-2.0, -1.0, 1.0, 2.0], dims.size)
    return SparseEmbeddings(np.arange(0, dims.size + 1, 6), dims.ravel(), values, dim=dim)


def payload_of(folder):
    (payload,) = folder.glob("arrays-*.bin")
    return payload


def edit_manifest(folder, change):
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def assert_same_index(opened, built, rows):
    assert (opened.n_docs, opened.dim, opened.nnz) == (built.n_docs, built.dim, built.nnz)
    assert opened.layout.plan == built.layout.plan
    for min_score in (0.0, -np.inf):
        found, expected = opened.search(rows, 5, min_score=min_score), built.search(rows, 5, min_score=min_score)
        np.testing.assert_array_equal(found.doc_ids, expected.doc_ids)
        np.testing.assert_array_equal(found.scores, expected.scores)


def test_an_opened_index_answers_as_the_one_that_was_saved(folder):
    rows, built = small_index()
    opened = InvertedIndex.open(folder, verify=True)
    assert_same_index(opened, built, rows)
    assert opened.catalog.keys.tolist() == KEYS
    assert opened.catalog.labels.tolist() == ["x", "y", "x", "ü", ""]
    assert opened.catalog.fingerprint == f"{0:016x}"


@pytest.mark.parametrize("plan", PLANS)
def test_an_index_of_every_plan_is_read_as_it_was_saved(tmp_path, plan):
    rows, built = small_index(n=300, plan=plan)
    built.save(tmp_path / "index")
    opened = InvertedIndex.open(tmp_path / "index", verify=True)
    assert_same_index(opened, built, rows)
    assert opened.layout == built.layout
    assert opened.size_bytes == built.size_bytes


@pytest.mark.parametrize("plan", PLANS)
def test_an_index_of_more_dimensions_than_16_bits_can_number_is_read_as_it_was_saved(tmp_path, plan):
    rows = wide_rows(np.random.default_rng(0))
    built = InvertedIndex.build(rows, plan=plan)
    built.save(tmp_path / "index")
    assert json.loads((tmp_path / "index/manifest.json").read_text())["arrays"]["rows.dims"]["dtype"] == "<i4"
    assert_same_index(InvertedIndex.open(tmp_path / "index", verify=True), built, rows)


@pytest.mark.parametrize("plan", PLANS)
def test_an_opened_index_works_after_its_folder_is_gone(tmp_path, plan):
    rows, built = small_index(n=300, plan=plan)
    built.save(tmp_path / "index")
    opened = InvertedIndex.open(tmp_path / "index")
    shutil.rmtree(tmp_path / "index")
    assert_same_index(opened, built, rows)
    assert opened.catalog.keys.tolist()[:5] == KEYS


def test_an_index_for_a_scan_takes_less_than_nine_bytes_a_nonzero(tmp_path):
    rng = np.random.default_rng(0)
    dims = np.sort(np.stack([rng.choice(1024, 24, replace=False) for _ in range(20_000)]), axis=1)
    values = rng.random(dims.size) + 0.1
    rows = SparseEmbeddings(np.arange(0, dims.size + 1, 24), dims.ravel(), values, dim=1024)
    InvertedIndex.build(rows, plan="scan").save(tmp_path / "index")
    assert payload_of(tmp_path / "index").stat().st_size < 9 * rows.nnz


def test_an_index_without_names_and_one_without_documents_are_saved(tmp_path):
    rows = integer_embeddings(np.random.default_rng(0), n=3, dim=6, density=0.5)
    for n in (3, 0):
        InvertedIndex.build(rows[:n]).save(tmp_path / str(n))
        opened = InvertedIndex.open(str(tmp_path / str(n)), verify=True)
        assert (opened.n_docs, opened.catalog.keys, opened.catalog.labels) == (n, None, None)
        assert_same_index(opened, InvertedIndex.build(rows[:n]), rows)


def test_no_documents_may_still_have_keys(tmp_path):
    rows = integer_embeddings(np.random.default_rng(0), n=1, dim=6, density=0.5)
    InvertedIndex.build(rows[:0], catalog=Catalog(n=0, keys=np.array([], np.str_))).save(tmp_path / "index")
    assert InvertedIndex.open(tmp_path / "index").catalog.keys.tolist() == []


def test_an_opened_index_can_be_saved_again(folder, tmp_path):
    rows, built = small_index()
    InvertedIndex.open(folder).save(tmp_path / "again")
    again = InvertedIndex.open(tmp_path / "again", verify=True)
    assert_same_index(again, built, rows)
    assert again.catalog.keys.tolist() == KEYS


def test_overwriting_leaves_one_payload_and_the_opened_index_working(folder):
    rows, built = small_index()
    opened = InvertedIndex.open(folder)
    _, other = small_index(seed=1, n=9)
    other.save(folder, overwrite=True)
    assert len(list(folder.iterdir())) == 2
    assert InvertedIndex.open(folder, verify=True).n_docs == 9
    assert_same_index(opened, built, rows)
    assert opened.catalog.keys.tolist() == KEYS


def test_arrays_lie_at_multiples_of_64_and_are_read_only(folder):
    arrays = json.loads((folder / "manifest.json").read_text())["arrays"]
    assert all(entry["offset"] % 64 == 0 for entry in arrays.values())
    assert payload_of(folder).read_bytes()[:12] == b"GOSSAMER\2\0\0\0"
    assert not any(array.flags.writeable for array in InvertedIndex.open(folder)._contents.arrays.values())


# Refusals of `save`.


def test_an_existing_index_is_replaced_only_on_demand(folder):
    before = payload_of(folder).read_bytes()
    with pytest.raises(OutputExistsError, match="exists; pass --overwrite"):
        small_index(seed=1)[1].save(folder)
    assert payload_of(folder).read_bytes() == before


@pytest.mark.parametrize("content", [None, "{}", "not JSON", '{"format": "web-app"}'])
def test_a_folder_that_is_no_index_is_never_replaced(tmp_path, content):
    picture = tmp_path / "picture.png"
    picture.touch()
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputExistsError, match="so it is not replaced; name another path"):
        small_index()[1].save(tmp_path, overwrite=True)
    assert sorted(tmp_path.iterdir()) == before
    assert content is None or (tmp_path / "manifest.json").read_text() == content


def test_a_file_is_not_replaced_by_an_index(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(OutputExistsError):
        small_index()[1].save(tmp_path / "file", overwrite=True)


def test_a_failing_save_leaves_no_payload_behind(folder, monkeypatch):
    monkeypatch.setattr("gossamer.index.storage.sync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        small_index(seed=1)[1].save(folder, overwrite=True)
    assert len(list(folder.iterdir())) == 2
    assert InvertedIndex.open(folder, verify=True).catalog.fingerprint == f"{0:016x}"


# Refusals of `open`: one for each way in which files can be wrong.


@pytest.mark.parametrize("name", ["nothing", "file", "empty"])
def test_a_path_without_an_index_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match=r"manifest\.json: not found, so .* is no index; make one with"):
        InvertedIndex.open(tmp_path / name)


@pytest.mark.parametrize("text", ["", "{", "\xff", "[" * 100_000])
def test_a_manifest_that_is_not_json_is_refused(folder, text):
    (folder / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(FormatError, match=r"manifest\.json: expected JSON\. The index is damaged"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize("text", ["{}", "[]", '{"format": "gossamer-model", "version": 1}'])
def test_the_manifest_of_another_thing_is_refused(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(FormatError, match="expected the manifest of an index .* this is another file"):
        InvertedIndex.open(folder)


def test_a_newer_version_is_refused(folder):
    edit_manifest(folder, lambda manifest: manifest.update(version=3))
    with pytest.raises(VersionError, match=r"expected format version 2 at most; got 3, .* pip install --upgrade"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize("version", [0, -1])
def test_a_version_below_one_is_refused(folder, version):
    edit_manifest(folder, lambda manifest: manifest.update(version=version))
    with pytest.raises(FormatError, match=f"expected a format version of at least 1; got {version}"):
        InvertedIndex.open(folder)


def test_a_payload_of_another_version_than_its_manifest_is_refused(folder):
    edit_manifest(folder, lambda manifest: manifest.update(version=1))
    with pytest.raises(FormatError, match="does not begin as an index file"):
        InvertedIndex.open(folder)


def test_a_missing_payload_is_refused(folder):
    payload = payload_of(folder)
    payload.unlink()
    with pytest.raises(FormatError, match=f"{payload.name}: not found, though the manifest names it"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize("size", [0, 5, 12, 100, -1])
def test_a_truncated_payload_is_refused(folder, size):
    payload = payload_of(folder)
    os.truncate(payload, size % payload.stat().st_size)
    with pytest.raises(FormatError, match=rf"{payload.name}: expected \d+ bytes; got \d+ \(truncated\)"):
        InvertedIndex.open(folder)


def test_a_payload_that_is_too_long_is_refused(folder):
    with payload_of(folder).open("ab") as file:
        file.write(b"more")
    with pytest.raises(FormatError, match=r"expected \d+ bytes; got \d+\. The index is damaged"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize("at", [0, 8])
def test_a_payload_that_begins_otherwise_is_refused(folder, at):
    overwrite_bytes(payload_of(folder), at, b"\7")
    with pytest.raises(FormatError, match="does not begin as an index file"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize(
    "name", ["rows.indptr", "rows.values", "lists.segments", "lists.ids", "keys.text", "labels.offsets"]
)
@pytest.mark.parametrize("offset", [2**40, -64, 0, 65])
def test_an_array_that_lies_outside_the_payload_is_refused(folder, name, offset):
    edit_manifest(folder, lambda manifest: manifest["arrays"][name].update(offset=offset))
    with pytest.raises(FormatError, match=rf"{name}: expected to lie within the file's \d+ bytes"):
        InvertedIndex.open(folder)


def test_a_text_longer_than_the_payload_is_refused(folder):
    edit_manifest(folder, lambda manifest: manifest["arrays"]["keys.text"].update(shape=[2**62]))
    with pytest.raises(FormatError, match="expected to lie within the file"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_docs", 2**31), ("n_docs", -1), ("dim", 0), ("dim", 2**31), ("window", 0), ("window", 65_537)],
)
def test_numbers_out_of_range_are_refused(folder, name, value):
    edit_manifest(folder, lambda manifest: manifest.update({name: value}))
    with pytest.raises(FormatError, match="is out of range"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize(("name", "value"), [("n_docs", 4), ("n_docs", 2**31 - 1), ("window", 2), ("nnz", 2**62)])
def test_arrays_of_another_size_than_the_manifest_says_are_refused(folder, name, value):
    edit_manifest(folder, lambda manifest: manifest.update({name: value}))
    with pytest.raises(FormatError, match=r"expected \d+ entries; got \d+"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize(
    "name", ["n_docs", "dim", "nnz", "window", "fingerprint", "payload", "payload_bytes", "arrays", "layout"]
)
@pytest.mark.parametrize("value", [None, True, 1.5, []])
def test_a_member_of_another_type_is_refused(folder, name, value):
    edit_manifest(folder, lambda manifest: manifest.update({name: value}))
    with pytest.raises(FormatError, match=rf"manifest\.json: {name}: expected \w+; got"):
        InvertedIndex.open(folder)


LAYOUT = [field.name for field in dataclasses.fields(Layout)]


@pytest.mark.parametrize("name", [name for name in LAYOUT if name != "sum_bits"])
def test_a_layout_without_one_of_its_members_is_refused(folder, name):
    edit_manifest(folder, lambda manifest: manifest["layout"].pop(name))
    with pytest.raises(FormatError, match=rf"manifest\.json: layout\.{name}: expected \w+; got None"):
        InvertedIndex.open(folder)


def test_a_layout_of_before_there_were_narrow_sums_has_wide_ones(folder):
    expected = InvertedIndex.open(folder).layout
    edit_manifest(folder, lambda manifest: manifest["layout"].pop("sum_bits"))
    assert InvertedIndex.open(folder).layout == dataclasses.replace(expected, sum_bits=16)


@pytest.mark.parametrize("bits", [0, 7, 32, -8])
def test_sums_of_another_width_are_refused(folder, bits):
    edit_manifest(folder, lambda manifest: manifest["layout"].update({"sum_bits": bits}))
    with pytest.raises(FormatError, match=r"layout\.sum_bits: expected "):
        InvertedIndex.open(folder)


@pytest.mark.parametrize("name", LAYOUT)
@pytest.mark.parametrize("value", [None, True, [], "1"])
def test_a_layout_with_a_member_of_another_type_is_refused(folder, name, value):
    edit_manifest(folder, lambda manifest: manifest["layout"].update({name: value}))
    with pytest.raises(FormatError, match=rf"manifest\.json: layout\.{name}: expected "):
        InvertedIndex.open(folder)


def test_a_plan_that_is_not_known_is_refused(folder):
    edit_manifest(folder, lambda manifest: manifest["layout"].update(plan="graph"))
    with pytest.raises(FormatError, match=r"layout\.plan: expected one of scan, split, block-max; got 'graph'"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("radius", "capacity", "lowest") for value in (np.nan, np.inf, -np.inf)),
        *((name, -0.5) for name in ("radius", "capacity", "share", "expected", "block_capacity")),
        *((name, -1) for name in ("longest", "block_longest", "n_sample_queries", "block_size", "part_size")),
        ("longest", 10**30),
        ("lowest", 0.5),
        ("share", 1.5),
        ("call_us", -1.0),
        ("posting_us", np.nan),
        ("measured_us", {"scan": np.nan}),
        ("measured_us", {"scan": -1.0}),
        ("measured_us", {"scan": "fast"}),
    ],
)
def test_a_layout_with_a_number_out_of_its_range_is_refused(folder, name, value):
    edit_manifest(folder, lambda manifest: manifest["layout"].update({name: value}))
    with pytest.raises(FormatError, match=rf"layout\.{name}.*: expected a finite number in its range; got"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize(("block_size", "part_size"), [(0, 0), (32, 0), (32, 64), (32, 12), (65_544, 8)])
def test_blocks_that_are_not_whole_parts_are_refused(block_folder, block_size, part_size):
    edit_manifest(block_folder, lambda manifest: manifest["layout"].update(block_size=block_size, part_size=part_size))
    with pytest.raises(FormatError, match="layout: expected blocks of whole parts; got"):
        InvertedIndex.open(block_folder)


def test_a_plan_whose_arrays_are_missing_is_refused(folder):
    edit_manifest(folder, lambda m: m["layout"].update(plan="block-max", block_size=32, part_size=8))
    with pytest.raises(FormatError, match=r"expected an array blocks\.window_starts"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize("change", [{"dtype": "<f8"}, {"shape": [-1]}, {"shape": [1, 1]}, {"shape": ["1"]}])
def test_an_array_of_another_kind_is_refused(folder, change):
    edit_manifest(folder, lambda manifest: manifest["arrays"]["rows.values"].update(change))
    with pytest.raises(FormatError, match=r"rows\.values: expected a vector of dtype <f4"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize("name", ROWS + LISTS + BLOCKS + PARTS)
def test_every_array_has_its_dtype(block_folder, name):
    edit_manifest(block_folder, lambda manifest: manifest["arrays"][name].update(dtype="<f8"))
    with pytest.raises(FormatError, match=rf"{name}: expected a vector of dtype"):
        InvertedIndex.open(block_folder)


@pytest.mark.parametrize("entry", [None, [], "rows"])
def test_an_array_that_is_described_otherwise_is_refused(folder, entry):
    edit_manifest(folder, lambda manifest: manifest["arrays"].update({"rows.values": entry}))
    with pytest.raises(FormatError, match=r"rows\.values: expected dict; got"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize("name", ROWS + LISTS + BLOCKS + PARTS + TEXTS)
def test_a_missing_array_is_refused(block_folder, name):
    edit_manifest(block_folder, lambda manifest: manifest["arrays"].pop(name))
    with pytest.raises(FormatError, match=f"expected an array {name}"):
        InvertedIndex.open(block_folder)


@pytest.mark.parametrize("name", ["../arrays-0123abcd.bin", "/etc/passwd", "arrays.bin"])
def test_a_payload_elsewhere_is_refused(folder, name):
    edit_manifest(folder, lambda manifest: manifest.update(payload=name))
    with pytest.raises(FormatError, match="expected a payload named like"):
        InvertedIndex.open(folder)


def overwrite_bytes(path, at, replacement):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(replacement)


def array_offset(folder, name):
    return json.loads((folder / "manifest.json").read_text())["arrays"][name]["offset"]


OFFSETS = [
    "rows.indptr",
    *(
        f"{group}.{name}"
        for group in ("lists", "blocks")
        for name in ("window_starts", "window_lists", "list_segments")
    ),
    "parts.indptr",
]


@pytest.mark.parametrize("name", OFFSETS)
@pytest.mark.parametrize(("place", "value"), [(0, 1), (0, -1), (1, -1), (1, 2**62), (-1, 0), (-1, 10**6)])
def test_offsets_that_decrease_or_end_elsewhere_are_refused(block_folder, name, place, value):
    entry = json.loads((block_folder / "manifest.json").read_text())["arrays"][name]
    at = entry["offset"] + 8 * (place % entry["shape"][0])
    overwrite_bytes(payload_of(block_folder), at, np.int64(value).tobytes())
    with pytest.raises(FormatError, match=rf"{name}: expected offsets from 0 to \d+ that never decrease"):
        InvertedIndex.open(block_folder)


@pytest.mark.parametrize("name", ["lists.list_segments", "blocks.list_segments"])
def test_offsets_without_an_end_are_refused(block_folder, name):
    edit_manifest(block_folder, lambda manifest: manifest["arrays"][name].update(shape=[0]))
    with pytest.raises(FormatError, match=r"window_lists: expected offsets from 0 to -1"):
        InvertedIndex.open(block_folder)


def test_lists_of_every_dimension_that_are_not_as_many_in_each_window_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("gossamer.index.contents.WINDOW", 4)
    small_index(n=12)[1].save(tmp_path / "index")
    at = array_offset(tmp_path / "index", "lists.window_lists") + 8
    overwrite_bytes(payload_of(tmp_path / "index"), at, np.int64(7).tobytes())
    with pytest.raises(FormatError, match=r"lists\.window_lists: expected 6 lists in each window, or the dimension of"):
        InvertedIndex.open(tmp_path / "index")


def test_lists_of_every_dimension_do_not_fit_another_number_of_dimensions(folder):
    edit_manifest(folder, lambda manifest: manifest.update(dim=7))
    with pytest.raises(FormatError, match=r"lists\.window_lists: expected 7 lists in each window"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize("name", ["lists.list_dims", "blocks.list_dims"])
def test_lists_of_which_some_lack_their_dimension_are_refused(wide_folder, name):
    edit_manifest(wide_folder, lambda manifest: manifest["arrays"][name].update(shape=[3]))
    with pytest.raises(FormatError, match=rf"{name}: expected the dimension of each of \d+ lists; got 3"):
        InvertedIndex.open(wide_folder)


@pytest.mark.parametrize("name", ["rows.dims", "parts.dims", "lists.list_dims", "blocks.list_dims"])
@pytest.mark.parametrize("value", [-1, 70_000, 2**31 - 1])
def test_dimensions_outside_the_index_are_refused_where_16_bits_do_not_bound_them(wide_folder, name, value):
    overwrite_bytes(payload_of(wide_folder), array_offset(wide_folder, name) + 4, np.int32(value).tobytes())
    with pytest.raises(FormatError, match=rf"{name}: expected dimensions from 0 to 69999"):
        InvertedIndex.open(wide_folder)


@pytest.mark.parametrize("name", ["lists.segments", "blocks.segments"])
def test_segments_that_are_cut_off_are_refused(block_folder, name):
    def shorten(manifest):
        manifest["arrays"][name]["shape"][0] += 1

    edit_manifest(block_folder, shorten)
    with pytest.raises(FormatError, match=rf"{name}: expected three numbers a segment; got \d+ in all"):
        InvertedIndex.open(block_folder)


@pytest.mark.parametrize("value", [-1, 40, 2**31 - 1, None])
def test_an_order_that_does_not_have_every_document_once_is_refused(block_folder, value):
    at = array_offset(block_folder, "rows.doc_ids")
    repeated = payload_of(block_folder).read_bytes()[at + 4 : at + 8]
    overwrite_bytes(payload_of(block_folder), at, repeated if value is None else np.int32(value).tobytes())
    with pytest.raises(FormatError, match=r"rows\.doc_ids: expected each number below 40 once, or none at all"):
        InvertedIndex.open(block_folder)


def test_an_order_of_some_documents_is_refused(block_folder):
    edit_manifest(block_folder, lambda manifest: manifest["arrays"]["rows.doc_ids"].update(shape=[39]))
    with pytest.raises(FormatError, match=r"rows\.doc_ids: expected each number below 40 once"):
        InvertedIndex.open(block_folder)


@pytest.mark.parametrize("name", ["parts.highs", "parts.lows"])
def test_parts_without_a_code_for_each_dimension_are_refused(block_folder, name):
    edit_manifest(block_folder, lambda manifest: manifest["arrays"][name].update(shape=[5]))
    with pytest.raises(FormatError, match="parts: expected as many highs as dims, and as many lows or none"):
        InvertedIndex.open(block_folder)


def test_damaged_keys_are_refused_when_they_are_read(folder):
    offsets, text = array_offset(folder, "keys.offsets"), array_offset(folder, "keys.text")
    overwrite_bytes(payload_of(folder), text, b"\xff")
    with pytest.raises(FormatError, match=r"keys\.text: expected UTF-8"):
        _ = InvertedIndex.open(folder).catalog
    overwrite_bytes(payload_of(folder), offsets + 8, np.int64(2**62).tobytes())
    with pytest.raises(FormatError, match=r"keys\.offsets: expected offsets"):
        _ = InvertedIndex.open(folder).catalog


def test_keys_that_repeat_are_refused_when_they_are_read(tmp_path):
    small_index(n=8)[1].save(tmp_path / "index")
    payload = payload_of(tmp_path / "index")
    payload.write_bytes(payload.read_bytes().replace(b"key 6", b"key 7"))
    with pytest.raises(FormatError, match="keys: expected each key once; 'key 7' occurs 2 times. The index is damaged"):
        _ = InvertedIndex.open(tmp_path / "index").catalog


@pytest.mark.parametrize("name", ["rows.dims", "rows.values", "lists.ids", "lists.segments", "keys.text"])
def test_verifying_finds_a_changed_byte(folder, name):
    at = array_offset(folder, name)
    old = payload_of(folder).read_bytes()[at]
    overwrite_bytes(payload_of(folder), at, bytes([old ^ 1]))
    InvertedIndex.open(folder)
    with pytest.raises(FormatError, match=f"the checksum of {name} differs"):
        InvertedIndex.open(folder, verify=True)


def test_members_and_arrays_that_a_later_gossamer_adds_are_passed_over(folder):
    def add(manifest):
        manifest["author"] = {"name": "somebody"}
        manifest["layout"]["depth"] = -1
        manifest["arrays"]["rows.colors"] = {"dtype": "<u3", "place": "elsewhere"}

    edit_manifest(folder, add)
    rows, built = small_index()
    assert_same_index(InvertedIndex.open(folder, verify=True), built, rows)


# Golden files: written once by each version, read by every later one.


def test_an_index_of_version_1_with_names_loads():
    index = InvertedIndex.open(GOLDEN / "v1/named", verify=True)
    assert (index.n_docs, index.dim, index.nnz) == (4, 5, 8)
    assert index.layout.plan == "scan"
    assert index.catalog.keys.tolist() == ["a/1.png", "é", "日本", "d"]
    assert index.catalog.labels.tolist() == ["x", "y", "x", ""]
    assert index.catalog.fingerprint == "0123456789abcdef"
    query = SparseEmbeddings.from_dense(np.float32([[1, 0.5, 0, 0, -1]]))
    found = index.search(query, 5, min_score=-np.inf)
    assert found.doc_ids.tolist() == [[2, 0, 3, 1, -1]]
    assert found.scores.tolist() == [[3.5, 1.0, 0.0, -2.0, -np.inf]]


def test_an_index_of_version_1_with_two_windows_loads():
    index = InvertedIndex.open(GOLDEN / "v1/two_windows", verify=True)
    assert (index.n_docs, index.dim, index.nnz, index.catalog.keys) == (65_540, 2, 4, None)
    found = index.search(SparseEmbeddings.from_dense(np.float32([[1, 2]])), 4)
    assert found.doc_ids.tolist() == [[65_539, 0, 65_536, -1]]
    assert found.scores.tolist() == [[7.0, 1.0, 1.0, -np.inf]]


@pytest.fixture
def old_folder(tmp_path):
    """A copy of an index of version 1."""
    return shutil.copytree(GOLDEN / "v1/named", tmp_path / "old")


def test_an_index_of_version_1_is_saved_as_the_current_version(old_folder, tmp_path):
    old = InvertedIndex.open(old_folder)
    old.save(tmp_path / "new")
    old.save(old_folder, overwrite=True)
    for folder in (tmp_path / "new", old_folder):
        assert json.loads((folder / "manifest.json").read_text())["version"] == storage.VERSION
        new = InvertedIndex.open(folder, verify=True)
        assert_same_index(new, old, SparseEmbeddings.from_dense(np.eye(5, dtype=np.float32)))
        assert new.catalog.keys.tolist() == ["a/1.png", "é", "日本", "d"]


@pytest.mark.parametrize("name", ["postings.offsets", "postings.ids", "postings.values", "keys.text"])
def test_an_index_of_version_1_without_an_array_is_refused(old_folder, name):
    edit_manifest(old_folder, lambda manifest: manifest["arrays"].pop(name))
    with pytest.raises(FormatError, match=f"expected an array {name}"):
        InvertedIndex.open(old_folder)


@pytest.mark.parametrize(("place", "value"), [(0, 1), (1, -1), (1, 2**62), (5, 7)])
def test_an_index_of_version_1_with_offsets_that_decrease_is_refused(old_folder, place, value):
    at = array_offset(old_folder, "postings.offsets") + 8 * place
    overwrite_bytes(payload_of(old_folder), at, np.int64(value).tobytes())
    with pytest.raises(FormatError, match=r"postings\.offsets: expected offsets from 0 to 8 that never decrease"):
        InvertedIndex.open(old_folder)


def test_an_index_of_version_1_with_ids_beyond_its_documents_is_refused(old_folder):
    overwrite_bytes(payload_of(old_folder), array_offset(old_folder, "postings.ids"), b"\xff\xff")
    with pytest.raises(FormatError, match=r"postings\.ids: expected documents below 4; got 65535"):
        InvertedIndex.open(old_folder)


@pytest.mark.parametrize(
    ("name", "replacement"), [("postings.ids", b"\1\0\1\0"), ("postings.values", np.float32(np.nan).tobytes())]
)
def test_an_index_of_version_1_whose_rows_are_no_embeddings_is_refused(old_folder, name, replacement):
    overwrite_bytes(payload_of(old_folder), array_offset(old_folder, name), replacement)
    with pytest.raises(FormatError, match=r"expected rows as SparseEmbeddings are; .*\. The index is damaged"):
        InvertedIndex.open(old_folder)


def test_an_index_of_version_2_with_names_loads():
    index = InvertedIndex.open(GOLDEN / "v2/named", verify=True)
    assert (index.n_docs, index.dim, index.nnz, index.layout.plan) == (4, 5, 8, "scan")
    assert index.catalog.keys.tolist() == ["a/1.png", "é", "日本", "d"]
    assert index.catalog.labels.tolist() == ["x", "y", "x", ""]
    assert index.catalog.fingerprint == "0123456789abcdef"
    query = SparseEmbeddings.from_dense(np.float32([[1, 0.5, 0, 0, -1]]))
    found = index.search(query, 5, min_score=-np.inf)
    assert found.doc_ids.tolist() == [[2, 0, 3, 1, -1]]
    assert found.scores.tolist() == [[3.5, 1.0, 0.0, -2.0, -np.inf]]


def test_an_index_of_version_2_with_blocks_of_signed_values_loads():
    index = InvertedIndex.open(GOLDEN / "v2/signed_blocks", verify=True)
    assert (index.n_docs, index.dim, index.nnz, index.layout.plan) == (70, 12, 210, "block-max")
    assert index._contents.arrays["rows.doc_ids"].size == 70
    query = np.zeros((2, 12), np.float32)
    query[:, [3, 5, 8]] = [[1, -0.5, 2], [-1, 0.5, -2]]
    found = index.search(SparseEmbeddings.from_dense(query), 6)
    assert found.doc_ids.tolist() == [[38, 52, 66, 24, 10, 17], [34, 69, 13, 48, 27, 62]]
    assert found.scores.tolist() == [[8, 6.5, 5, 4.5, 3.5, 3.5], [10, 10, 8, 8, 6, 6]]


# A writer that is killed.

WRITER = """
import os, signal, sys
from gossamer import InvertedIndex

target, first, second, kill_before = sys.argv[1], *map(InvertedIndex.open, sys.argv[2:4]), int(sys.argv[4])
n_operations = 0

def kill(event, arguments):
    global n_operations
    if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir") and target in str(arguments[0]):
        n_operations += 1
        if n_operations == kill_before:
            os.kill(os.getpid(), signal.SIGKILL)

if kill_before:
    sys.addaudithook(kill)
    second.save(target, overwrite=True)
else:
    print("writing", flush=True)
    while True:
        first.save(target, overwrite=True)
        second.save(target, overwrite=True)
"""


@pytest.fixture
def two_indexes(tmp_path):
    """Folders of an index of 300 documents and one of 20,000, and a third that holds the first."""
    for name, n in (("first", 300), ("second", 20_000), ("target", 300)):
        small_index(seed=n, n=n)[1].save(tmp_path / name)
    return [str(tmp_path / name) for name in ("target", "first", "second")]


def assert_old_or_new(target):
    index = InvertedIndex.open(target, verify=True)
    assert index.n_docs in (300, 20_000)
    assert index.catalog.fingerprint == f"{index.n_docs:016x}"
    return index.n_docs


def test_a_writer_killed_before_any_of_its_file_operations_leaves_an_index(two_indexes):
    found = []
    for kill_before in range(1, 50):
        run = subprocess.run([sys.executable, "-c", WRITER, *two_indexes, str(kill_before)], check=False)
        found.append(assert_old_or_new(two_indexes[0]))
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL
    assert len(found) > 5
    assert found == sorted(found)  # first the old one, then the new one
    assert set(found) == {300, 20_000}
    assert len(list(Path(two_indexes[0]).glob("arrays-*.bin"))) == 1  # what killed writers left is removed


def test_a_writer_killed_at_random_times_leaves_an_index(two_indexes):
    delays = np.random.default_rng(0).uniform(0, 0.1, 8)
    for delay in delays:
        command = [sys.executable, "-c", WRITER, *two_indexes, "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            time.sleep(delay)
            writer.kill()
        assert_old_or_new(two_indexes[0])


def test_a_reader_that_a_writer_overtakes_opens_the_new_index(folder, monkeypatch):
    read_manifest = storage.read_manifest

    def read_and_be_overtaken(path):
        manifest = read_manifest(path)
        monkeypatch.setattr(storage, "read_manifest", read_manifest)
        small_index(seed=1, n=9)[1].save(folder, overwrite=True)
        return manifest

    monkeypatch.setattr(storage, "read_manifest", read_and_be_overtaken)
    assert InvertedIndex.open(folder, verify=True).n_docs == 9
