"""``gossamer build``."""

import numpy as np
import pytest

from gossamer import Catalog
from gossamer.datasets.embedding_files import read_sparse, write_sparse
from gossamer.index import InvertedIndex
from gossamer.index.contents import PLANS
from search_cases import clustered


def test_keys_labels_and_fingerprint_go_with_the_index(embeddings, index):
    rows, catalog = read_sparse(embeddings)
    opened = InvertedIndex.open(index)
    assert (opened.n_docs, opened.dim, opened.nnz) == (*rows.shape, rows.nnz)
    np.testing.assert_array_equal(opened.catalog.keys, catalog.keys)
    np.testing.assert_array_equal(opened.catalog.labels, catalog.labels)
    assert opened.catalog.fingerprint == catalog.fingerprint


def test_the_result_says_what_was_built(read_json, embeddings, tmp_path):
    record = read_json("build", embeddings, "--out", tmp_path / "index")
    assert (record["documents"], record["dim"]) == (30, 64)
    assert record["size_bytes"] == sum(file.stat().st_size for file in (tmp_path / "index").iterdir())


@pytest.mark.parametrize("plan", PLANS)
def test_an_index_has_the_plan_that_was_asked_for(read_json, embeddings, tmp_path, plan):
    record = read_json("build", embeddings, "--out", tmp_path / "index", "--plan", plan)
    assert record["plan"] == InvertedIndex.open(tmp_path / "index").layout.plan == plan
    assert list(record["measured_us"]) == [plan]
    assert record["measured_us"][plan] > 0


def test_without_a_plan_the_index_measures_and_says_which_was_fastest(read_json, tmp_path):
    rows, _ = clustered(np.random.default_rng(0), n=4096, n_classes=100)
    write_sparse(tmp_path / "a.npz", rows, Catalog(n=4096))
    record = read_json("build", tmp_path / "a.npz", "--out", tmp_path / "index")
    assert set(record["measured_us"]) == set(PLANS)
    assert record["measured_us"][record["plan"]] == min(record["measured_us"].values())
    inspected = read_json("inspect", tmp_path / "index")
    assert {name: inspected[name] for name in ("plan", "measured_us")} == {
        name: record[name] for name in ("plan", "measured_us")
    }


def test_a_plan_that_is_not_known_is_a_usage_error(gossamer, embeddings, tmp_path):
    stderr = gossamer("build", embeddings, "--out", tmp_path / "index", "--plan", "graph", status=2).stderr
    assert "--plan" in stderr
    assert "block-max" in stderr
    assert not (tmp_path / "index").exists()


def test_a_file_of_another_kind_is_a_failure(gossamer, tmp_path):
    (tmp_path / "a.npz").write_text("no")
    result = gossamer("build", tmp_path / "a.npz", "--out", tmp_path / "index", status=1)
    assert result.stderr.startswith("error: ")
    assert "expected a .npz file" in result.stderr


def test_an_output_that_is_taken_is_refused(gossamer, embeddings, index, tmp_path):
    assert "--overwrite" in gossamer("build", embeddings, "--out", index, status=2).stderr
    gossamer("build", embeddings, "--out", index, "--overwrite")
    (tmp_path / "note.txt").write_text("precious")
    gossamer("build", embeddings, "--out", tmp_path, "--overwrite", status=2)
    assert (tmp_path / "note.txt").read_text() == "precious"
