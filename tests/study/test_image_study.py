"""Studies of images end to end: encoders trained once, classes kept apart, failures that stop nothing."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gossamer.datasets.images import ImageCollection
from gossamer.errors import ArgumentError, ConfigError, DataError, NotFoundError, OutputExistsError
from gossamer.learning import Encoder, EncoderConfig, FlopsBudget, TrainingConfig, model_store
from gossamer.learning.encoding import encode_dense
from gossamer.study import encodings, trained
from gossamer.study.config_file import read_config
from gossamer.study.protocols.distractors import Distractors
from gossamer.study.protocols.identification import split_gallery, split_groups
from gossamer.study.runner import run_study
from gossamer.study.summary import TABLE

pytestmark = pytest.mark.usefixtures("one_thread")

pytest.importorskip("faiss")
pytest.importorskip("yaml")

STUDIES = Path(__file__).parents[2] / "studies"
SIZE = 16
YAML = """
protocol: identification
images: {train: train, search: search, size: 16}
encoders: {dense: {dim: 16}, sparse: {dim: 64}}
training: {steps: 40, batch_size: 16, device: cpu}
n_distractors: [8, 70]
most_distractors: {1: 8}
seeds: [0, 1]
n_queries: 20
rounds: 1
ks: [1, 3]
methods:
  - exhaustive
  - {name: pca, width: 4, most_distractors: 8, seeds: [0]}
  - {name: sparse, regularizer: flops, weight: 1}
  - {name: sparse, regularizer: flops, weight: 1, min_score: 0.1, rerank: 20}
  - {name: sparse, regularizer: l1, weight: 1, seeds: [0]}
"""


def write_pictures(root, classes, *, per_class, seed):
    """Write pictures of one random pattern a class, each blotted by noise of its own."""
    rng = np.random.default_rng(seed)
    for name in classes:
        (root / name).mkdir(parents=True)
        pattern = rng.integers(0, 2, (4, 4)).repeat(4, axis=0).repeat(4, axis=1) * 200
        for number in range(per_class):
            pixels = (pattern + rng.integers(0, 56, (SIZE, SIZE))).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Eight classes to learn from, and four alphabets of three characters to search."""
    root = tmp_path_factory.mktemp("pictures")
    write_pictures(root / "train", list("abcdefgh"), per_class=6, seed=0)
    write_pictures(root / "search", [f"{a}/{c}" for a in "PQRS" for c in "xyz"], per_class=4, seed=1)
    return root


def study(folder, text=YAML):
    (folder / "study.yaml").write_text(text)
    return read_config(folder / "study.yaml")


@pytest.fixture(scope="module")
def done(pictures):
    """A study that was run, its configuration and its models."""
    config = study(pictures)
    outcome = run_study(config, pictures / "done", models=pictures / "models")
    return config, pictures / "models", outcome.records


@pytest.fixture
def untrained(monkeypatch):
    """Let training and encoding fail, so that all must be found."""
    monkeypatch.setattr(model_store, "train_encoder", lambda *_, **__: pytest.fail("trained again"))
    monkeypatch.setattr(encodings, "encode", lambda *_, **__: pytest.fail("encoded again"))
    monkeypatch.setattr(encodings, "encode_dense", lambda *_, **__: pytest.fail("encoded again"))


def test_every_method_is_measured_where_it_is_to_be(done):
    config, _, records = done
    names = [method.label for method in config.methods]
    assert [(r["seed"], r["n_distractors"], r["label"]) for r in records] == [
        *((0, 8, name) for name in names),
        *((0, 70, name) for name in names if "pca" not in name),
        *((1, 8, name) for name in names if "pca" not in name and "l1" not in name),
    ]
    assert {record["status"] for record in records} == {"done"}
    assert len({record["dense_model"]["fingerprint"] for record in records}) == 2
    assert [record["curve"] for record in records[:5]] == [
        "exhaustive", "pca", "sparse flops", "sparse flops, re-ranked", "sparse l1",
    ]  # fmt: skip


def test_records_say_which_model_and_what_its_lists_are_like(done):
    _, models, records = done
    sparse = records[2]
    model = Encoder.from_pretrained(models / sparse["model"]["folder"])
    assert model.fingerprint == sparse["model"]["fingerprint"]
    assert sparse["model"]["training_seconds"] > 0
    assert sparse["flops_per_document"] > 0
    assert sum(sparse["list_lengths"]["counts"]) == 64
    assert sparse["list_lengths"]["quantiles"][-1] <= sparse["n_docs"] == 6 + 8
    assert (sparse["n_train_classes"], sparse["n_searched_classes"], sparse["is_unseen"]) == (8, 6, True)


def test_distractors_are_counted_by_kind_in_records_and_table(done, pictures):
    _, _, records = done
    assert records[5]["distractors"] == {"pictures": 24, "turned": 46, "warped": 0}
    assert "| 70 (24 pictures, 46 turned) |" in (pictures / "done" / TABLE).read_text()


def test_hit_rates_equal_a_search_of_pictures_encoded_by_hand(done, pictures):
    _, models, records = done
    record = records[5]
    encoder = Encoder.from_pretrained(models / record["dense_model"]["folder"])
    images = ImageCollection.open(pictures / "search").decode(size=SIZE, channels=1)
    first, second = split_groups(np.array([label[0] for label in images.labels]), seed=0)
    held, others = images.take(first), images.take(second)
    gallery, probes = split_gallery(held.labels, seed=0)
    asked = np.sort(np.random.default_rng(0).choice(probes, 18, replace=False))
    searched = np.concatenate([held.pixels[gallery], Distractors(others, n=70, seed=0).pixels(0, 70)])
    scores = encode_dense(encoder, held.pixels[asked]) @ encode_dense(encoder, searched).T
    is_right = held.labels[asked][:, None] == held.labels[gallery][None, :]
    right = np.where(is_right, scores[:, : gallery.size], -np.inf).max(axis=1)
    ranks = (scores > right[:, None]).sum(axis=1)
    assert record["accuracy"] == {f"hit rate@{k}": pytest.approx((ranks < k).mean()) for k in (1, 3)}


@pytest.mark.usefixtures("untrained")
def test_models_and_encodings_are_found_again(done, tmp_path):
    config, models, records = done
    again = run_study(config, tmp_path / "out", models=models).records
    assert [record.get("accuracy") for record in again] == [record.get("accuracy") for record in records]


def test_a_study_that_was_killed_goes_on(done, pictures, monkeypatch):
    config, models, records = done
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        learn = trained.Learner.dense

        def killed(self, seed):
            if seed == 1:
                raise KeyboardInterrupt
            return learn(self, seed)

        patch.setattr(trained.Learner, "dense", killed)
        run_study(config, pictures / "killed", models=models)
    outcome = run_study(config, pictures / "killed", models=models)
    assert (outcome.n_resumed, len(outcome.records)) == (9, len(records))
    with pytest.raises(OutputExistsError, match=r"other settings \(images\)"):
        changed = dataclasses.replace(config.images, training={"steps": 5, "device": "cpu"})
        run_study(dataclasses.replace(config, images=changed), pictures / "killed", models=models)


def test_training_that_fails_stops_no_other_method(done, tmp_path, monkeypatch):
    config, models, _ = done
    learn = trained.Learner.of

    def failing(self, method, seed):
        if method.settings["regularizer"] == "l1":
            raise MemoryError("no room to learn")
        return learn(self, method, seed)

    monkeypatch.setattr(trained.Learner, "of", failing)
    outcome = run_study(config, tmp_path / "out", models=models)
    assert outcome.failures == ["sparse, regularizer l1, weight 1: MemoryError: no room to learn"] * 2
    assert {r["status"] for r in outcome.records if "l1" not in r["label"]} == {"done"}


def test_a_dense_encoder_that_fails_stops_no_other_seed(done, tmp_path, monkeypatch):
    config, models, _ = done
    learn = trained.Learner.dense

    def failing(self, seed):
        if seed == 0:
            raise MemoryError("no room to learn")
        return learn(self, seed)

    monkeypatch.setattr(trained.Learner, "dense", failing)
    records = run_study(config, tmp_path / "out", models=models).records
    assert [record["status"] for record in records] == ["failed"] * 9 + ["done"] * 3
    assert "exhaustive (failed for 1 of 2)" in (tmp_path / "out" / TABLE).read_text()


def test_classes_not_learned_from_are_searched_each_row_left_out_of_its_own(pictures):
    text = YAML.replace("identification", "class-retrieval").replace("search: search", "unseen_classes: 3")
    text = re.sub("n_distractors.*\nmost_distractors.*\nseeds.*", "seeds: [0]", text)
    text = text.replace("most_distractors: 8, ", "") + "  - {name: hash-table, dim: 16, n_active: 2}\n"
    records = run_study(study(pictures, text), pictures / "unseen", models=pictures / "models").records
    assert {record["status"] for record in records} == {"done"}
    assert {(r["n_docs"], r["n_queries"], r["k"], r["is_unseen"]) for r in records} == {(18, 18, 4, True)}
    assert records[0]["n_train_classes"] == 5
    assert records[0]["accuracy"]["precision@1"] > 0.4


def test_pairs_of_classes_not_learned_from_are_verified(pictures):
    text = YAML.replace("identification", "verification").replace("search: search", "unseen_classes: 3")
    text = re.sub("n_distractors.*\nmost_distractors.*\nseeds.*", "seeds: [0]\nfalse_accept_rates: [0.05]", text)
    text = text.replace("most_distractors: 8, ", "").replace("ks: [1, 3]", "ks: [17]")
    records = run_study(study(pictures, text), pictures / "verified", models=pictures / "models").records
    assert {(r["status"], r["n_docs"], r["n_queries"], r["is_unseen"]) for r in records} == {("done", 18, 18, True)}
    assert records[0]["accuracy"].keys() == {"true accepts at 0.05"}
    assert records[0]["accuracy"]["true accepts at 0.05"] > 0.2


def test_what_was_learned_from_may_be_searched_by_others(pictures):
    write_pictures(pictures / "asked", list("abc"), per_class=2, seed=0)
    text = YAML.replace("identification", "class-retrieval").replace("search: search", "search: train, queries: asked")
    text = re.sub("n_distractors.*\nmost_distractors.*\nseeds.*", "seeds: [0]", text)
    text = text.replace("most_distractors: 8, ", "")
    records = run_study(study(pictures, text), pictures / "seen", models=pictures / "models").records
    assert {(r["status"], r["n_docs"], r["n_queries"], r["is_unseen"]) for r in records} == {("done", 48, 6, False)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("search: search", "search: train"), "gallery: expected no class of training; both have 'a'"),
        (("search: search", "search: lonely"), "at least two pictures of each class; 'one' has one"),
        (
            ("search: search", "search: nowhere"),
            "images: expected one of omniglot:background, .*; there is no .*nowhere",
        ),
        (("train: train", "train: single"), "images, train: expected at least two classes to learn from; got 1"),
        (("search: search", "unseen_classes: 7"), "unseen_classes: expected at most 6 of 8, .*; got 7"),
        (("search: search", "search: fashion-mnist:test"), "Fashion-MNIST: expected its folder"),
    ],
)
def test_pictures_that_do_not_suit_are_refused_before_any_training(pictures, monkeypatch, change, message):
    monkeypatch.setattr(model_store, "train_encoder", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.delenv("GOSSAMER_DATA", raising=False)
    if not (pictures / "lonely").exists():
        write_pictures(pictures / "lonely", ["one"], per_class=1, seed=0)
        write_pictures(pictures / "lonely", ["two"], per_class=3, seed=0)
        write_pictures(pictures / "single", ["one"], per_class=3, seed=0)
    config = study(pictures, re.sub("n_distractors.*\nmost_distractors.*", "", YAML).replace(*change))
    with pytest.raises((DataError, NotFoundError), match=message) as refusal:
        run_study(config, pictures / "out", models=pictures / "models")
    assert "\n" not in str(refusal.value)
    assert not (pictures / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("size: 16", "sise: 16"), "images: expected keys of train, .*; got 'sise'"),
        (("size: 16", "size: 0"), "images, size: expected a whole number of at least 1; got 0"),
        (("size: 16", "channels: 2"), "images, channels: expected 1 or 3; got 2"),
        (("train: train, ", ""), "images: expected a key 'train'; there is none"),
        (("search: search, ", ""), "expected either search or unseen_classes; got neither"),
        (("search: search", "search: [a]"), r"images, search: expected a path; got \['a'\]"),
        (("search: search", "search: search, queries: search"), "queries: expected none for identification"),
        (("steps: 40", "step: 4"), "training: expected keys of steps, .*; got 'step'"),
        (("steps: 40", "seed: 4"), "training: expected keys of steps, .*; got 'seed'"),
        (("steps: 40", "learning_rate: fast"), "training, learning_rate: expected a number; got 'fast'"),
        (("steps: 40", "steps: 0"), "steps: expected a whole number of at least 1; got 0"),
        (("sparse: {dim: 64}", "sparse: {size: 64}"), "encoders, sparse: expected keys of dim, .*; got 'size'"),
        (("sparse: {dim: 64}", "wide: {dim: 64}"), "encoders: expected settings under dense and sparse; got 'wide'"),
        (("regularizer: l1, weight: 1", "regularizer: l3, weight: 1"), "regularizer: expected one of .*; got 'l3'"),
        (
            ("regularizer: l1, weight: 1", "regularizer: l1"),
            "exactly one of flops_per_document, nnz_per_row and weight",
        ),
        (("regularizer: l1, weight: 1", "documents: a.npz"), "sparse: expected how it is trained, .*; got files"),
        (("protocol: identification", "protocol: nearest-neighbours"), "n_distractors|distractors: expected for"),
        (
            ("most_distractors: {1: 8}", "most_distractors: {7: 8}"),
            "most_distractors: expected seeds of the study; got 7",
        ),
        (("most_distractors: {1: 8}", "most_distractors: 8"), "most_distractors: expected a number by seed; got 8"),
        (("images:", "documents: a.npy\nimages:"), "expected either a file of vectors or images"),
        (("images: {", "documents: a.npy\nencoder_of: {"), "expected keys of protocol, .*; got 'encoder_of'"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_sentence(tmp_path, change, message):
    assert change[0] in YAML
    with pytest.raises((ConfigError, ArgumentError), match=message) as refusal:
        study(tmp_path, YAML.replace(*change))
    assert "\n" not in str(refusal.value)


def test_a_quick_study_trains_one_encoder_of_each_regularizer(tmp_path):
    text = YAML.replace("steps: 40", "steps: 1600").replace("rerank: 20}", "rerank: 20}\n  - " + (
        "{name: sparse, regularizer: flops, weight: 2}"))  # fmt: skip
    quick = study(tmp_path, text).quick()
    assert quick.images.training["steps"] == 100
    assert [m.settings for m in quick.methods if m.is_trained] == [
        {"regularizer": "flops", "weight": 1},
        {"regularizer": "flops", "weight": 1, "min_score": 0.1},
        {"regularizer": "l1", "weight": 1},
    ]
    assert (quick.seeds, quick.rounds) == ((0,), 1)


def test_settings_of_training_are_those_of_the_file_the_method_and_the_seed():
    images = read_config(STUDIES / "identification.yaml").images
    common = {"steps": 1600, "precision": "bf16", "seed": 2}
    assert images.training_config(2) == TrainingConfig(**common, regularizer="none")
    assert images.encoder_config("dense") == EncoderConfig(dim=128, activation="none", image_size=32)
    method = next(m for m in read_config(STUDIES / "identification.yaml").methods if m.is_trained)
    budget = FlopsBudget(flops_per_document=method.settings["flops_per_document"])
    assert images.training_config(2, method) == TrainingConfig(**common, regularizer="flops", budget=budget)
    assert images.encoder_config("sparse") == EncoderConfig(dim=8192, activation="relu", image_size=32)


def test_the_file_of_images_in_the_documentation_is_one(tmp_path):
    page = (STUDIES.parent / "docs" / "studies.md").read_text()
    (block,) = (block for block in re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S) if "images:" in block)
    config = study(tmp_path, block)
    assert {method.name for method in config.methods if method.is_trained} == {"sparse", "hash-table"}
    assert config.places() == [
        (0, 1000),
        (0, 100_000),
        (0, 1_000_000),
        (1, 1000),
        (1, 100_000),
        (2, 1000),
        (2, 100_000),
    ]


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_studies_that_come_with_it_can_be_read(path):
    text = path.read_text()
    if "images:" not in text:
        pytest.skip("not of images")
    config = read_config(path)
    assert any(method.is_trained for method in config.methods)
    json.dumps(config.as_json())
    json.dumps(config.quick().as_json())
