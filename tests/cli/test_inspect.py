"""``gossamer inspect``."""

import numpy as np
import pytest

from gossamer import Catalog, SparseEmbeddings
from gossamer.datasets.embedding_files import read_sparse, write_sparse
from gossamer.index import InvertedIndex
from gossamer.index.contents import PLANS

ROWS = np.float32([[1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0]])


@pytest.fixture
def written(tmp_path):
    catalog = Catalog(n=3, labels=np.array(["a", "b", "a"]), fingerprint="m1")
    write_sparse(tmp_path / "a.npz", SparseEmbeddings.from_dense(ROWS), catalog)
    return tmp_path / "a.npz"


FIGURES = {
    "dim": 4,
    "nnz": 4,
    "nnz_per_row": pytest.approx(4 / 3),
    "flops_per_document": pytest.approx(6 / 9),
    "suboptimality_ratio": pytest.approx(4 * 6 / 16),
    "dead_dims": 1,
    "longest_lists": {"0": 2, "1": 1, "3": 1, "2": 0},
    "classes": 2,
    "fingerprint": "m1",
}


def test_sparse_embeddings_are_described(read_json, written):
    record = read_json("inspect", written)
    assert {name: record[name] for name in FIGURES} == FIGURES
    assert (record["kind"], record["rows"], record["zero_rows"]) == ("sparse embeddings", 3, 1)
    assert record["size_bytes"] == written.stat().st_size


def test_an_index_is_described_as_its_embeddings_are(gossamer, read_json, written, tmp_path):
    gossamer("build", written, "--out", tmp_path / "index")
    record = read_json("inspect", tmp_path / "index")
    assert {name: record[name] for name in FIGURES} == FIGURES
    assert (record["kind"], record["documents"], record["plan"]) == ("index", 3, "scan")
    assert list(record["measured_us"]) == ["scan"]
    assert record["bytes_per_nonzero"] == InvertedIndex.open(tmp_path / "index").size_bytes / 4


@pytest.mark.parametrize("plan", PLANS)
def test_the_plan_of_an_index_is_told_and_what_its_queries_took(gossamer, read_json, written, tmp_path, plan):
    gossamer("build", written, "--out", tmp_path / "index", "--plan", plan)
    record = read_json("inspect", tmp_path / "index")
    assert record["plan"] == plan
    assert record["measured_us"][plan] > 0
    lines = gossamer("inspect", tmp_path / "index").stdout.splitlines()
    assert any(plan in line and "measured us" in line for line in lines)
    assert any("bytes per nonzero" in line for line in lines)


def test_no_rows_are_described(gossamer, read_json, tmp_path):
    write_sparse(tmp_path / "a.npz", SparseEmbeddings.from_dense(ROWS[:0]), Catalog(n=0))
    gossamer("build", tmp_path / "a.npz", "--out", tmp_path / "index")
    for path in (tmp_path / "a.npz", tmp_path / "index"):
        record = read_json("inspect", path)
        assert (record["nnz_per_row"], record["suboptimality_ratio"], record["dead_dims"]) == (0, None, 4)
    assert record["bytes_per_nonzero"] is None


def test_dense_embeddings_are_described(read_json, dense_embeddings):
    record = read_json("inspect", dense_embeddings)
    assert (record["kind"], record["rows"], record["dim"], record["zero_rows"]) == ("dense embeddings", 30, 64, 0)


def test_a_model_is_described(read_json, model, embeddings):
    record = read_json("inspect", model)
    assert (record["kind"], record["dim"], record["backbone"]) == ("model of sparse embeddings", 64, "conv4")
    assert record["fingerprint"] == read_sparse(embeddings)[1].fingerprint
    assert record["parameters"] > 64


def test_anything_else_is_refused(gossamer, tmp_path):
    assert "there is nothing at" in gossamer("inspect", tmp_path / "none", status=2).stderr
    assert "is neither" in gossamer("inspect", tmp_path, status=1).stderr
    (tmp_path / "a.npz").write_text("no")
    assert "a.npz: expected a .npz file" in gossamer("inspect", tmp_path / "a.npz", status=1).stderr
