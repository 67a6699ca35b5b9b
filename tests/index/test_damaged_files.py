"""Index files with flipped bits: whatever they hold, a search neither leaves its memory nor fails unexplained."""

import json
import subprocess
import sys

import numpy as np
import pytest

from gossamer import Catalog, InvertedIndex, SparseEmbeddings
from gossamer.errors import FormatError

# In a process of its own, because what is tested is that it survives. Prints how often opening was refused.
SEARCHER = """
import json, sys
from pathlib import Path
import numpy as np
from gossamer import InvertedIndex, SparseEmbeddings
from gossamer.errors import FormatError

folder, target, seed, n_rounds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
rng = np.random.default_rng(seed)
manifest = json.loads((folder / "manifest.json").read_text())
arrays = {name: entry for name, entry in manifest["arrays"].items() if entry["shape"][0]}
data = (folder / manifest["payload"]).read_bytes()
target.mkdir()
(target / "manifest.json").write_text(json.dumps(manifest))
stored = arrays["rows.dims"]
stored = np.frombuffer(data, stored["dtype"], count=stored["shape"][0], offset=stored["offset"])
rows = [np.unique(row) for row in rng.choice(stored, (40, 5))]
indptr = np.append(0, np.cumsum([row.size for row in rows]))
values = rng.choice([-1.0, 1.0, 2.0], indptr[-1])
queries = SparseEmbeddings(indptr, np.concatenate(rows).astype(np.int32), values, dim=manifest["dim"])
n_docs, n_refused = manifest["n_docs"], 0
within = np.arange(0, n_docs, 2, dtype=np.int32)
for number in range(n_rounds):
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 5, 100])):
        name = list(arrays)[rng.integers(len(arrays))]
        entry = arrays[name]
        dtype = np.dtype(entry["dtype"])
        place = entry["offset"] + dtype.itemsize * int(rng.integers(entry["shape"][0]))
        value = np.frombuffer(changed[place : place + dtype.itemsize], dtype)[0]
        kind = rng.integers(4)
        if kind == 0:
            changed[place + rng.integers(dtype.itemsize)] ^= 1 << rng.integers(8)
        elif kind == 1:
            changed[place : place + dtype.itemsize] = rng.bytes(dtype.itemsize)
        elif kind == 2:
            changed[place : place + dtype.itemsize] = bytes([rng.choice([0, 255, 127])]) * dtype.itemsize
        elif dtype.kind != "f":
            near = (int(value) + int(rng.choice([-1, 1]))) % 256**dtype.itemsize
            changed[place : place + dtype.itemsize] = near.to_bytes(dtype.itemsize, "little")
    (target / manifest["payload"]).unlink(missing_ok=True)
    (target / manifest["payload"]).write_bytes(changed)
    try:
        index = InvertedIndex.open(target)
        with np.errstate(all="ignore"):
            for options in (
                {}, {"min_score": -np.inf}, {"within": within}, {"within": within[1:3], "k": 50},
                {"k": n_docs + 1, "min_score": 0.5}, {"effort": 0.5},
            ):
                for asked in (queries, queries[:3]):
                    found = index.search(asked, **options)
                    assert found.doc_ids.min() >= -1 and found.doc_ids.max() < n_docs
            index.expected_cost(queries)
            index.catalog
    except FormatError:
        n_refused += 1
print(n_refused)
"""


def write_index(folder, kind):
    rng = np.random.default_rng(0)
    n, dim, plan = {
        "scan": (50, 12, "scan"),
        "split": (300, 12, "split"),
        "block-max": (300, 40, "block-max"),
        "many dimensions": (70, 70_000, "block-max"),
    }[kind]
    dims = np.sort(np.stack([rng.choice(dim, 5, replace=False) for _ in range(n)]), axis=1)
    values = rng.choice([-2, -1, 1, 2, 3], dims.size) + rng.random(dims.size)
    rows = SparseEmbeddings(np.arange(0, dims.size + 1, 5), dims.ravel(), values, dim=dim)
    catalog = Catalog(n=n, keys=[f"key {i}" for i in range(n)], labels=["a", "b"] * (n // 2))
    InvertedIndex.build(rows, plan=plan, catalog=catalog).save(folder)


KINDS = ["scan", "split", "block-max", "many dimensions"]


@pytest.mark.parametrize("kind", KINDS)
def test_flips_of_the_payload_are_refused_or_give_wrong_results_and_nothing_worse(tmp_path, kind):
    write_index(tmp_path / "index", kind)
    command = [sys.executable, "-c", SEARCHER, str(tmp_path / "index"), str(tmp_path / "changed"), "0", "150"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    assert 0 < int(run.stdout) < 150


def open_and_search(folder):
    """Return whether a changed index is refused as it should be; any other error passes on."""
    try:
        index = InvertedIndex.open(folder)
        query = SparseEmbeddings.from_dense(np.ones((1, index.dim), np.float32))
        index.search(query, 5)
        _ = index.catalog
    except FormatError:
        return True
    return False


@pytest.mark.parametrize("kind", KINDS[:3])
def test_flips_of_the_manifest_are_refused_or_change_nothing_that_matters(tmp_path, kind):
    write_index(tmp_path / "index", kind)
    path = tmp_path / "index/manifest.json"
    text, rng = path.read_bytes(), np.random.default_rng(0)
    refused = []
    for _ in range(300):
        changed = bytearray(text)
        place = int(rng.integers(len(text)))
        changed[place] = (
            ord(str(rng.integers(10))) if chr(text[place]).isdigit() else changed[place] ^ 1 << rng.integers(7)
        )
        if bytes(changed) == text:
            continue
        path.write_bytes(changed)
        refused.append(open_and_search(tmp_path / "index"))
    assert 0.3 < np.mean(refused) < 1  # a fingerprint, a checksum or a measured time may be anything


@pytest.mark.parametrize("kind", KINDS)
def test_a_payload_cut_off_anywhere_is_refused(tmp_path, kind):
    write_index(tmp_path / "index", kind)
    (payload,) = (tmp_path / "index").glob("arrays-*.bin")
    manifest = json.loads((tmp_path / "index/manifest.json").read_text())
    for size in np.random.default_rng(0).permutation(payload.stat().st_size)[:50].tolist():
        content = payload.read_bytes()
        payload.unlink()  # so that a mapping of the file as it was stays valid
        payload.write_bytes(content[:size])
        assert open_and_search(tmp_path / "index")
        # Even if the manifest agrees.
        (tmp_path / "index/manifest.json").write_text(json.dumps(manifest | {"payload_bytes": size}))
        assert open_and_search(tmp_path / "index")
        (tmp_path / "index/manifest.json").write_text(json.dumps(manifest))
        payload.unlink()
        payload.write_bytes(content)
    assert not open_and_search(tmp_path / "index")
