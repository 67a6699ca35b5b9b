"""Index folders: what is written is read, what is damaged is refused, and a killed writer breaks nothing."""

import json
import os
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
from rows import integer_embeddings

GOLDEN = Path(__file__).parent.parent / "data"
KEYS = ["a/1.png", "a/é 2.png", "日本", "", "broken \udcff name"]


def small_index(*, seed=0, n=5):
    rows = integer_embeddings(np.random.default_rng(seed), n=n, dim=6, density=0.5)
    labels = np.array(["x", "y", "x", "ü", ""] * n)[:n]
    keys = np.array([KEYS[i] if i < len(KEYS) else f"key {i}" for i in range(n)])
    return rows, InvertedIndex.build(rows, catalog=Catalog(n=n, keys=keys, labels=labels, fingerprint=f"{seed:016x}"))


@pytest.fixture
def folder(tmp_path):
    small_index()[1].save(tmp_path / "index")
    return tmp_path / "index"


def payload_of(folder):
    (payload,) = folder.glob("arrays-*.bin")
    return payload


def edit_manifest(folder, change):
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def assert_same_index(opened, built, rows):
    assert (opened.n_docs, opened.dim, opened.nnz) == (built.n_docs, built.dim, built.nnz)
    for min_score in (0.0, -np.inf):
        found, expected = opened.search(rows, 5, min_score=min_score), built.search(rows, 5, min_score=min_score)
        np.testing.assert_array_equal(found.doc_ids, expected.doc_ids)
        np.testing.assert_array_equal(found.scores, expected.scores)


def test_an_opened_index_answers_as_the_one_that_was_saved(folder):
    rows, built = small_index()
    opened = InvertedIndex.open(folder, verify=True)
    assert_same_index(opened, built, rows)
    assert opened.size_bytes == built.size_bytes
    assert opened.catalog.keys.tolist() == KEYS
    assert opened.catalog.labels.tolist() == ["x", "y", "x", "ü", ""]
    assert opened.catalog.fingerprint == f"{0:016x}"


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
    assert payload_of(folder).read_bytes()[:12] == b"GOSSAMER\1\0\0\0"
    assert not any(array.flags.writeable for array in InvertedIndex.open(folder)._contents.postings)


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
    edit_manifest(folder, lambda manifest: manifest.update(version=2))
    with pytest.raises(VersionError, match=r"expected format version 1 at most; got 2, .* pip install --upgrade"):
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


@pytest.mark.parametrize("name", ["postings.offsets", "postings.ids", "postings.values", "keys.text", "labels.offsets"])
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


@pytest.mark.parametrize(("name", "value"), [("n_docs", 4), ("n_docs", 2**31 - 1), ("dim", 7), ("nnz", 2**62)])
def test_arrays_of_another_size_than_the_manifest_says_are_refused(folder, name, value):
    edit_manifest(folder, lambda manifest: manifest.update({name: value}))
    with pytest.raises(FormatError, match=r"expected \d+ entries; got \d+"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize(
    "name", ["n_docs", "dim", "nnz", "window", "fingerprint", "payload", "payload_bytes", "arrays"]
)
@pytest.mark.parametrize("value", [None, True, 1.5, []])
def test_a_member_of_another_type_is_refused(folder, name, value):
    edit_manifest(folder, lambda manifest: manifest.update({name: value}))
    with pytest.raises(FormatError, match=rf"manifest\.json: {name}: expected \w+; got"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize("change", [{"dtype": "<f8"}, {"shape": [-1]}, {"shape": [1, 1]}, {"shape": ["1"]}])
def test_an_array_of_another_kind_is_refused(folder, change):
    edit_manifest(folder, lambda manifest: manifest["arrays"]["postings.values"].update(change))
    with pytest.raises(FormatError, match=r"postings\.values: expected a vector of dtype <f4"):
        InvertedIndex.open(folder)


@pytest.mark.parametrize("name", ["postings.offsets", "postings.values", "keys.text", "labels.text"])
def test_a_missing_array_is_refused(folder, name):
    edit_manifest(folder, lambda manifest: manifest["arrays"].pop(name))
    with pytest.raises(FormatError, match=f"expected an array {name}"):
        InvertedIndex.open(folder)


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


@pytest.mark.parametrize(("place", "value"), [(0, 1), (1, -1), (1, 2**62), (3, 0), (6, 3)])
def test_offsets_that_decrease_or_end_elsewhere_are_refused(folder, place, value):
    at = array_offset(folder, "postings.offsets") + 8 * place
    overwrite_bytes(payload_of(folder), at, np.int64(value).tobytes())
    with pytest.raises(FormatError, match=r"postings\.offsets: expected offsets from 0 to \d+ that never decrease"):
        InvertedIndex.open(folder)


def test_damaged_keys_are_refused_when_they_are_read(folder):
    offsets, text = array_offset(folder, "keys.offsets"), array_offset(folder, "keys.text")
    overwrite_bytes(payload_of(folder), text, b"\xff")
    with pytest.raises(FormatError, match=r"keys\.text: expected UTF-8"):
        _ = InvertedIndex.open(folder).catalog
    overwrite_bytes(payload_of(folder), offsets + 8, np.int64(2**62).tobytes())
    with pytest.raises(FormatError, match=r"keys\.offsets: expected offsets"):
        _ = InvertedIndex.open(folder).catalog


@pytest.mark.parametrize("name", ["postings.ids", "postings.values", "keys.text"])
def test_verifying_finds_a_changed_byte(folder, name):
    at = array_offset(folder, name)
    old = payload_of(folder).read_bytes()[at]
    overwrite_bytes(payload_of(folder), at, bytes([old ^ 1]))
    InvertedIndex.open(folder)
    with pytest.raises(FormatError, match=f"the checksum of {name} differs"):
        InvertedIndex.open(folder, verify=True)


def test_damaged_ids_cannot_make_a_search_leave_its_memory(folder):
    rows, built = small_index()
    overwrite_bytes(payload_of(folder), array_offset(folder, "postings.ids"), b"\xff\xff" * built.nnz)
    assert (InvertedIndex.open(folder).search(rows, 5, min_score=-np.inf).doc_ids == -1).all()


def test_members_and_arrays_that_a_later_gossamer_adds_are_passed_over(folder):
    def add(manifest):
        manifest["plan"] = {"name": "block-max"}
        manifest["arrays"]["blocks.bounds"] = {"dtype": "<u3", "place": "elsewhere"}

    edit_manifest(folder, add)
    rows, built = small_index()
    assert_same_index(InvertedIndex.open(folder, verify=True), built, rows)


# Golden files: written once by each version, read by every later one.


def test_an_index_of_version_1_with_names_loads():
    index = InvertedIndex.open(GOLDEN / "v1/named", verify=True)
    assert (index.n_docs, index.dim, index.nnz) == (4, 5, 8)
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
    read_manifest = storage._read_manifest

    def read_and_be_overtaken(path):
        manifest = read_manifest(path)
        monkeypatch.setattr(storage, "_read_manifest", read_manifest)
        small_index(seed=1, n=9)[1].save(folder, overwrite=True)
        return manifest

    monkeypatch.setattr(storage, "_read_manifest", read_and_be_overtaken)
    assert InvertedIndex.open(folder, verify=True).n_docs == 9
