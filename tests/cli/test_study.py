"""The commands of a study: what they print, what they write, and how they refuse."""

import json

import numpy as np
import pytest

pytest.importorskip("faiss")
pytest.importorskip("yaml")

YAML = """
protocol: nearest-neighbours
documents: vectors.npy
n_queries: 20
rounds: 1
methods: [exhaustive, {name: thresholded, nnz_per_row: 4, rerank: 50}, {name: pq, n_parts: 7}]
"""


@pytest.fixture
def vectors(tmp_path, rng):
    np.save(tmp_path / "vectors.npy", rng.standard_normal((150, 12)).astype(np.float32))
    return tmp_path / "vectors.npy"


@pytest.mark.usefixtures("vectors")
def test_a_file_is_measured_printed_and_gone_on_with(gossamer, tmp_path):
    config = tmp_path / "study.yaml"
    config.write_text(YAML)
    result = gossamer("study", "run", config, "--out", tmp_path / "out")
    assert "recall@10" in result.stdout
    assert "thresholded, nnz per row 4, re-ranked 50" in result.stdout
    assert str(tmp_path / "out" / "report.html") in result.stdout
    assert "failed: pq, n parts 7: ConfigError: n_parts: expected a divisor of dim 12; got 7" in result.stderr
    again = json.loads(gossamer("study", "run", config, "--out", tmp_path / "out", "--json").stdout)
    assert again["n_resumed"] == len(again["records"]) == 3
    assert again["records"][0]["accuracy"] == {"recall@10": 1}


def test_vectors_alone_are_studied_with_every_method(gossamer, tmp_path, vectors):
    arguments = ("--out", tmp_path / "out", "--quick", "--json", "-k", 5)
    records = json.loads(gossamer("study", "nearest", vectors, *arguments).stdout)["records"]
    assert {record["method"] for record in records} == {"exhaustive", "pca", "lsh", "hnsw", "thresholded"}
    assert {record["status"] for record in records} == {"done"}
    assert {(record["k"], record["n_docs"]) for record in records} == {(6, 150)}  # itself, too


@pytest.mark.usefixtures("vectors")
def test_what_is_wrong_is_one_sentence_before_any_work(gossamer, tmp_path):
    config = tmp_path / "study.yaml"
    config.write_text(YAML.replace("rounds", "turns"))
    errors = gossamer("study", "run", config, "--out", tmp_path / "out", status=2).stderr
    assert "got 'turns'" in errors
    assert len(errors.splitlines()) == 1
    assert "there is none at" in gossamer("study", "nearest", "no.npy", "--out", tmp_path / "out", status=2).stderr
    assert not (tmp_path / "out").exists()


IMAGES = """
protocol: class-retrieval
images: {train: patches, unseen_classes: 3, size: 12}
encoders: {dense: {dim: 16}, sparse: {dim: 64}}
training: {steps: 40, batch_size: 12, device: cpu}
rounds: 1
ks: [1, 2]
methods: [exhaustive, {name: sparse, regularizer: flops, weight: 1}]
"""


def test_encoders_of_images_are_trained_with_bars_and_kept_where_the_option_says(gossamer, images, tmp_path):
    config, models = tmp_path / "study.yaml", tmp_path / "models"
    config.write_text(IMAGES.replace("patches", str(images)))
    arguments = "study", "run", config, "--out", tmp_path / "out", "--models", models
    result = gossamer(*arguments)
    assert "precision@2" in result.stdout
    assert "train dense, seed 0" in result.stderr
    assert len(list(models.glob("encoder-*"))) == 2
    again = gossamer(*arguments, "--json")
    assert json.loads(again.stdout)["n_resumed"] == 2
    assert "train dense" not in again.stderr
    config.write_text(IMAGES.replace("patches", "nowhere"))
    errors = gossamer(*arguments, status=2).stderr
    assert "expected one of omniglot:background" in errors
