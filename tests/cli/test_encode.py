"""``gossamer encode``."""

import numpy as np
from scipy import sparse

from gossamer.datasets.embedding_files import read_dense, read_sparse
from gossamer.learning.encoder import Encoder


def test_sparse_embeddings_carry_keys_labels_and_fingerprint(model, embeddings):
    rows, catalog = read_sparse(embeddings)
    assert rows.shape == (30, 64)
    assert catalog.keys[[0, -1]].tolist() == ["class0/0.png", "class5/4.png"]
    assert catalog.labels[[0, -1]].tolist() == ["class0", "class5"]
    assert catalog.fingerprint == Encoder.from_pretrained(model).fingerprint
    np.testing.assert_array_equal(sparse.load_npz(embeddings).toarray(), rows.to_dense())


def test_a_dense_model_writes_an_array_and_its_names(dense_model, dense_embeddings):
    rows, catalog = read_dense(dense_embeddings)
    assert rows.shape == (30, 64)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert catalog.labels[-1] == "class5"
    assert catalog.fingerprint == Encoder.from_pretrained(dense_model).fingerprint


def test_the_result_says_what_was_written(read_json, model, images, tmp_path):
    (tmp_path / "classes.txt").write_text("class1\nclass4\n")
    out = tmp_path / "some.npz"
    record = read_json("encode", model, images, "--out", out, "--classes", tmp_path / "classes.txt")
    assert (record["images"], record["classes"], record["dim"]) == (10, 2, 64)
    assert record["nnz_per_row"] == read_sparse(out)[0].nnz / 10


def test_mixed_precision_gives_nearly_the_same_rows(gossamer, model, embeddings, images, tmp_path):
    gossamer("encode", model, images, "--out", tmp_path / "bf16.npz", "--precision", "bf16")
    rows, mixed = (read_sparse(path)[0].to_dense() for path in (embeddings, tmp_path / "bf16.npz"))
    assert not np.array_equal(rows, mixed)
    assert (rows * mixed).sum(axis=1).min() > 0.98
    refused = gossamer("encode", model, images, "--out", tmp_path / "x.npz", "--precision", "fp8", status=2)
    assert "precision: expected one of float32, bf16; got 'fp8'" in refused.stderr


def test_the_suffix_must_fit_the_model(gossamer, model, dense_model, images, tmp_path):
    refused = gossamer("encode", model, images, "--out", tmp_path / "a.npy", status=2)
    assert "ends in .npz; got a.npy" in refused.stderr
    refused = gossamer("encode", dense_model, images, "--out", tmp_path / "a.npz", status=2)
    assert "ends in .npy; got a.npz" in refused.stderr


def test_an_output_that_is_taken_is_refused_before_any_work(gossamer, model, embeddings, images):
    result = gossamer("encode", model, images, "--out", embeddings, status=2)
    assert "exists; pass --overwrite" in result.stderr
    assert "read images" not in result.stderr
    gossamer("encode", model, images, "--out", embeddings, "--overwrite")


def test_a_model_without_weights_is_refused(gossamer, model, images, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_bytes((model / "config.json").read_bytes())
    result = gossamer("encode", tmp_path / "model", images, "--out", tmp_path / "a.npz", status=2)
    assert "holds no model.safetensors" in result.stderr
