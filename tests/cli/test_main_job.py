"""The main job by the commands alone, on some of Omniglot: learn on one script, search another."""

import json
import os

import numpy as np
import pytest

from gossamer.datasets.images import ImageCollection
from gossamer.datasets.omniglot import omniglot

pytestmark = pytest.mark.skipif("GOSSAMER_DATA" not in os.environ, reason="GOSSAMER_DATA is not set")


def write_classes(path, split, alphabet):
    labels = np.unique(ImageCollection.open(omniglot(split)).labels)
    path.write_text("\n".join(label for label in labels if f"/{alphabet}/" in label))
    return path


def test_unseen_characters_are_found_from_zip_to_hit_rate(gossamer, read_json, tmp_path):
    seen = write_classes(tmp_path / "seen.txt", "background", "Korean")
    unseen = write_classes(tmp_path / "unseen.txt", "evaluation", "Avesta")
    options = ("--steps", 60, "--batch-size", 64, "--dim", 512, "--weight", 20, "--image-size", 28, "--device", "cpu")
    trained = read_json("train", omniglot("background"), "--out", tmp_path / "model", "--classes", seen, *options)
    assert trained["classes"] == 40
    encoded = read_json(
        "encode", tmp_path / "model", omniglot("evaluation"), "--out", tmp_path / "a.npz", "--classes", unseen
    )
    assert (encoded["images"], encoded["classes"]) == (520, 26)
    assert encoded["nnz_per_row"] < 512
    assert read_json("build", tmp_path / "a.npz", "--out", tmp_path / "index")["fingerprint"] == trained["fingerprint"]
    answers = gossamer("search", tmp_path / "index", tmp_path / "a.npz", "-k", 2, "--json").stdout.splitlines()
    own = [json.loads(answer)["query"] == json.loads(answer)["results"][0]["key"] for answer in answers]
    assert np.mean(own) > 0.95
    report = read_json("evaluate", tmp_path / "a.npz")
    assert report["hit_rate_at_1"] > 0.3  # chance is 0.04
    assert report["flops_per_document"] == pytest.approx(read_json("inspect", tmp_path / "index")["flops_per_document"])
