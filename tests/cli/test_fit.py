"""``gossamer fit``, and the way from dense rows to an answer by the commands alone."""

import json
import re
from typing import get_type_hints

import numpy as np
import pytest

from gossamer import Catalog
from gossamer.cli.fit import fit
from gossamer.datasets.embedding_files import read_sparse, write_dense
from gossamer.learning import Sparsifier
from gossamer.learning.activations import ACTIVATIONS
from gossamer.learning.regularizers import REGULARIZERS
from gossamer.learning.sparsifier import OBJECTIVES

SMALL = ("--dim", 128, "--steps", 40, "--batch-size", 64, "--device", "cpu")


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """Rows of ten classes and their names: a .npy and the .json beside it."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 10
    rows = (rng.standard_normal((10, 16))[labels] + 0.3 * rng.standard_normal((200, 16))).astype(np.float32)
    path = tmp_path_factory.mktemp("dense") / "dense.npy"
    keys = np.array([f"row {i}" for i in range(200)])
    write_dense(path, rows, Catalog(n=200, keys=keys, labels=labels.astype(str)))
    return path


@pytest.fixture(scope="module")
def sparsifier(gossamer, dense, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "sparsifier"
    gossamer("fit", dense, "--flops-per-document", 1.0, "--out", out, *SMALL)
    return out


def test_the_chain_from_dense_rows_to_answers(gossamer, read_json, dense, sparsifier, tmp_path):
    encoded = read_json("encode", sparsifier, dense, "--out", tmp_path / "x.npz")
    assert (encoded["rows"], encoded["dim"]) == (200, 128)
    rows, catalog = read_sparse(tmp_path / "x.npz")
    assert encoded["nnz_per_row"] == rows.nnz / 200
    assert catalog.fingerprint == encoded["fingerprint"] == Sparsifier.from_pretrained(sparsifier).fingerprint
    assert (catalog.keys[3], catalog.labels[3]) == ("row 3", "3")
    read_json("build", tmp_path / "x.npz", "--out", tmp_path / "index")
    answers = gossamer("search", tmp_path / "index", tmp_path / "x.npz", "-k", 1, "--json").stdout.splitlines()
    assert np.mean([json.loads(a)["query"] == json.loads(a)["results"][0]["key"] for a in answers]) > 0.95
    report = read_json("evaluate", tmp_path / "x.npz")
    assert report["hit_rate_at_1"] > 0.8  # chance is 0.1
    assert 0.7 < report["flops_per_document"] < 1.4


def test_the_result_says_what_was_learned_and_the_bar_is_on_stderr(gossamer, dense, tmp_path):
    result = gossamer("fit", dense, "--out", tmp_path / "model", *SMALL, "--json")
    record = json.loads(result.stdout)
    assert (record["rows"], record["dense_dim"], record["dim"]) == (200, 16, 128)
    read = Sparsifier.from_pretrained(tmp_path / "model")
    assert record["fingerprint"] == read.fingerprint
    assert record["flops_per_document"] == read.metrics_["flops_per_document"]
    assert "loss" in result.stderr


def test_a_budget_may_be_nonzeros_or_microseconds(gossamer, read_json, dense, tmp_path):
    record = read_json("fit", dense, "--out", tmp_path / "a", *SMALL, "--nnz-per-row", 8)
    assert record["flops_per_document"] == pytest.approx(8**2 / 128, rel=0.1)
    gossamer("fit", dense, "--out", tmp_path / "b", *SMALL, "--query-us", 50, "--n-docs", 10_000)
    assert Sparsifier.from_pretrained(tmp_path / "b").flops_per_document < 128
    two = ("--nnz-per-row", 8, "--flops-per-document", 1)
    refused = gossamer("fit", dense, "--out", tmp_path / "c", *SMALL, *two, status=2)
    assert "budget: expected exactly one of flops_per_document, nnz_per_row, query_us; got" in refused.stderr


def test_the_same_seed_gives_the_same_model_and_labels_another(read_json, dense, sparsifier, tmp_path):
    fingerprint = Sparsifier.from_pretrained(sparsifier).fingerprint
    assert read_json("fit", dense, "--out", tmp_path / "a", *SMALL)["fingerprint"] == fingerprint
    (tmp_path / "labels.txt").write_text("\n".join(str(i % 10) for i in range(200)) + "\n")
    labeled = read_json("fit", dense, "--out", tmp_path / "b", *SMALL, "--labels", tmp_path / "labels.txt")
    assert labeled["fingerprint"] != fingerprint


def test_labels_may_come_with_the_rows_or_one_a_line(gossamer, sparsifier, dense, tmp_path):
    rows = np.load(dense)
    np.save(tmp_path / "plain.npy", rows)
    (tmp_path / "labels.txt").write_text("\n".join(["a", "b"] * 100))
    options = ("--labels", tmp_path / "labels.txt")
    gossamer("encode", sparsifier, tmp_path / "plain.npy", "--out", tmp_path / "x.npz", *options)
    assert read_sparse(tmp_path / "x.npz")[1].labels[:2].tolist() == ["a", "b"]
    (tmp_path / "labels.txt").write_text("a\nb")
    refused = gossamer("encode", sparsifier, dense, "--out", tmp_path / "y.npz", *options, status=1)
    assert "labels: expected 200 lines" in refused.stderr


def test_an_encoder_of_images_takes_no_dense_rows(gossamer, model, dense, tmp_path):
    refused = gossamer("encode", model, dense, "--out", tmp_path / "x.npz", status=1)
    assert "data: expected a folder or a zip" in refused.stderr
    assert not (tmp_path / "x.npz").exists()


def test_a_sparsifier_takes_no_images_and_no_option_for_them(gossamer, sparsifier, dense, images, tmp_path):
    refused = gossamer("encode", sparsifier, images, "--out", tmp_path / "x.npz", status=2)
    assert "data: expected dense embeddings, a .npy file, for a model of gossamer fit" in refused.stderr
    for option in (
        ("--skip-unreadable",),
        ("--classes", tmp_path / "classes.txt"),
        ("--label-column", "1"),
        ("--batch-size", 512),
        ("--precision", "bf16"),
    ):
        refused = gossamer("encode", sparsifier, dense, "--out", tmp_path / "x.npz", *option, status=2)
        assert f"error: {option[0]}: expected a model of images with it; {sparsifier} takes dense" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    twice = ("--labels", tmp_path / "a.txt", "--labels", tmp_path / "b.txt")
    refused = gossamer("encode", sparsifier, dense, "--out", tmp_path / "x.npz", *twice, status=2)
    assert "error: a second --labels: expected a model of images with it" in refused.stderr
    assert not (tmp_path / "x.npz").exists()


def test_an_output_that_is_taken_is_refused_before_any_work(gossamer, dense, sparsifier, tmp_path):
    assert "exists; pass --overwrite" in gossamer("fit", dense, "--out", sparsifier, *SMALL, status=2).stderr
    (tmp_path / "x.npz").write_bytes(b"")
    assert "exists" in gossamer("encode", sparsifier, dense, "--out", tmp_path / "x.npz", status=2).stderr


def test_what_cannot_be_fitted_is_one_sentence(gossamer, dense, tmp_path):
    np.save(tmp_path / "nan.npy", np.where(np.arange(200)[:, None] == 7, np.nan, np.load(dense)))
    refused = gossamer("fit", tmp_path / "nan.npy", "--out", tmp_path / "m", status=1)
    assert "row 7 holds others" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    refused = gossamer("fit", dense, "--out", tmp_path / "m", "--flops-per-document", 5000, status=2)
    assert "flops_per_document: expected at most dim = 4096" in refused.stderr
    assert "none at" in gossamer("fit", tmp_path / "no.npy", "--out", tmp_path / "m", status=2).stderr


def test_a_sparsifier_is_inspected(read_json, sparsifier):
    record = read_json("inspect", sparsifier)
    assert (record["kind"], record["dense_dim"], record["dim"]) == ("sparsifier of dense embeddings", 16, 128)


def test_help_names_what_the_library_knows_and_its_defaults():
    defaults = Sparsifier().get_params()
    known = {
        "activation": [a for a in ACTIVATIONS if a != "none"],
        "objective": OBJECTIVES,
        "regularizer": REGULARIZERS,
    }
    options = get_type_hints(fit, include_extras=True)
    for name, annotation in options.items():
        option = annotation.__metadata__[0] if hasattr(annotation, "__metadata__") else None
        parameter = {"seed": "random_state"}.get(name, name)
        if parameter in defaults and name != "device":
            assert option.show_default == str(defaults[parameter]), name
        if name in known:
            assert re.findall(r"[a-z][a-z0-9-]*[a-z0-9]", option.help.split(";")[0].replace(" or ", " ")) == list(
                known[name]
            )
