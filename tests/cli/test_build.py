"""``gossamer build``."""

import numpy as np

from gossamer.datasets.embedding_files import read_sparse
from gossamer.index import InvertedIndex


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
