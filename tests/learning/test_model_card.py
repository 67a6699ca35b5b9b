"""The model card: its figures are those that were measured, and its code runs."""

import dataclasses
import json
import re

import pytest
from PIL import Image

from gossamer.learning import Encoder, EncoderConfig, TrainingConfig, train_encoder
from gossamer.learning.model_card import sparsifier_card

CONFIG = EncoderConfig(dim=64, image_size=16)
BRIEF = TrainingConfig(steps=12, batch_size=16, validate_every=6, device="cpu")


@pytest.fixture
def folder(images, tmp_path):
    """Write the images to a folder, and return where a model beside it goes."""
    for key, pixels in zip(images.catalog.keys, images.pixels, strict=True):
        path = tmp_path / "images" / f"{key}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0]).save(path)
    return tmp_path / "model"


def card_of(trained, folder):
    trained.encoder.save_pretrained(folder, metrics={**trained.metrics, "history": trained.history})
    return (folder / "README.md").read_text()


def test_the_card_shows_what_was_measured_and_on_what_it_learned(images, unseen_images, folder):
    trained = train_encoder(images, CONFIG, BRIEF, validation=unseen_images)
    card = card_of(trained, folder)
    last = json.loads((folder / "metrics.json").read_text())["last"]
    assert f"| hit rate@1 | {last['hit_rate_at_1']:.4g} |" in card
    assert f"| FLOPs per document | {last['flops_per_document']:.4g} |" in card
    assert f"| sub-optimality ratio R_sub (1 is even) | {last['suboptimality_ratio']:.4g} |" in card
    assert "On the validation images, calibrated:" in card
    assert "On images of the training data that were held out, calibrated:" in card
    budget = trained.metrics["budget"]
    assert f"The budget was 1 FLOPs per document, and {budget['reached']:.4g} was reached on 8 images held out" in card
    assert (
        f"Learned from {trained.metrics['n_images']} images of {trained.metrics['n_classes']} classes, 12 steps" in card
    )
    assert "| learning_rate | 0.003 |" in card
    assert "| backbone | conv4 |" in card
    assert trained.encoder.fingerprint in card
    assert re.match(r"---\nlibrary_name: gossamer\npipeline_tag: [a-z-]+\ntags:\n(- [a-z-]+\n)+---\n", card)


@pytest.mark.parametrize("activation", ["relu", "none"])
def test_the_code_of_the_card_runs(images, folder, monkeypatch, activation):
    # Enough steps for the running statistics of batch norm to know the images.
    trained = train_encoder(
        images, dataclasses.replace(CONFIG, activation=activation), dataclasses.replace(BRIEF, steps=50, weight=1.0)
    )
    (code,) = re.findall(r"```python\n(.*?)```", card_of(trained, folder), flags=re.DOTALL)
    assert len(code.split("\n\n")[1].splitlines()) <= 5
    monkeypatch.chdir(folder.parent)
    found = {}
    exec(code, found)
    best = found["scores"].argmax(axis=1) if activation == "none" else found["found"].doc_ids[:, 0]
    assert best.tolist() == list(range(64))


def test_nothing_is_claimed_of_a_model_that_nobody_measured(tmp_path):
    encoder = Encoder(dataclasses.replace(CONFIG, pixel_mean=1.0, pixel_std=1.0))
    encoder.save_pretrained(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "Nothing was measured on images not learned from." in card
    assert "Nothing is known of it." in card
    assert "None" not in card


@pytest.mark.parametrize(
    "metrics",
    [
        {"n_images": 4},
        {"last": None, "budget": {"target": 1.0}, "settings": "mine"},
        {"last": 3, "budget": "none", "hit rate of mine": 0.5},
    ],
)
def test_metrics_of_the_callers_own_are_shown_as_far_as_they_are_known(tmp_path, metrics):
    encoder = Encoder(dataclasses.replace(CONFIG, pixel_mean=1.0, pixel_std=1.0))
    encoder.save_pretrained(tmp_path / "model", metrics=metrics)
    card = (tmp_path / "model" / "README.md").read_text()
    assert ("Learned from 4 images. " in card) == ("n_images" in metrics)
    assert "None" not in card
    assert "None" not in sparsifier_card("model", {"width": 4, "dim": 8}, metrics, fingerprint="0")
