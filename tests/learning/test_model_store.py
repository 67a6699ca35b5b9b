"""A store trains what it lacks, once, and goes on where a killed run stopped."""

import dataclasses

import numpy as np
import pytest

from gossamer.learning import EncoderConfig, FlopsBudget, Sparsifier, TrainingConfig, train_encoder
from gossamer.learning import model_store as stores
from gossamer.learning.deep_hashing import DeepHashingLoss, train_deep_hashing
from gossamer.learning.model_store import ModelStore

CONFIG = EncoderConfig(dim=64, image_size=16)
TRAINING = TrainingConfig(steps=6, batch_size=16, validate_every=2, device="cpu", weight=1.0)


@pytest.fixture
def n_trained(monkeypatch):
    calls = []
    monkeypatch.setattr(stores, "train_encoder", lambda *args, **kw: calls.append(1) or train_encoder(*args, **kw))
    return lambda: len(calls)


def test_a_model_is_trained_once(tmp_path, images, n_trained):
    assert not ModelStore(tmp_path / "a" / "store").encoder_folder(images, CONFIG, TRAINING).exists()
    first, again = (ModelStore(tmp_path / "a" / "store").encoder(images, CONFIG, TRAINING) for _ in range(2))
    assert n_trained() == 1
    assert first.folder == again.folder == ModelStore(tmp_path / "a" / "store").encoder_folder(images, CONFIG, TRAINING)
    assert first.encoder.fingerprint == again.encoder.fingerprint
    assert first.metrics["settings"]["steps"] == 6
    assert [path.name for path in (tmp_path / "a" / "store").iterdir()] == [first.folder.name]


def test_other_settings_seeds_or_images_are_other_models(tmp_path, images, n_trained):
    store = ModelStore(tmp_path)
    folders = {
        store.encoder(images, CONFIG, TRAINING).folder,
        store.encoder(images, CONFIG, dataclasses.replace(TRAINING, seed=1)).folder,
        store.encoder(images, CONFIG, dataclasses.replace(TRAINING, budget=FlopsBudget(nnz_per_row=8))).folder,
        store.encoder(images, dataclasses.replace(CONFIG, dim=32), TRAINING).folder,
        store.encoder(images.take(np.arange(1, len(images))), CONFIG, TRAINING).folder,
    }
    assert len(folders) == n_trained() == 5


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path, images, monkeypatch):
    whole = ModelStore(tmp_path / "whole").encoder(images, CONFIG, TRAINING)

    def killed(*args, **kw):
        train_encoder(*args, **kw)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stores, "train_encoder", killed)
        ModelStore(tmp_path / "killed").encoder(images, CONFIG, TRAINING)
    assert [path.suffix for path in (tmp_path / "killed").iterdir()] == [".checkpoints"]
    resumed = ModelStore(tmp_path / "killed").encoder(images, CONFIG, TRAINING)
    assert resumed.encoder.fingerprint == whole.encoder.fingerprint
    assert [path.suffix for path in (tmp_path / "killed").iterdir()] == [""]


def test_encoders_of_hash_codes_are_trained_once_for_each_kind_of_code(tmp_path, images, monkeypatch):
    calls = []
    monkeypatch.setattr(
        stores, "train_deep_hashing", lambda *args, **kw: calls.append(1) or train_deep_hashing(*args, **kw)
    )
    config = dataclasses.replace(CONFIG, activation="none")
    training = TrainingConfig(steps=2, batch_size=16, rows_per_class=4, device="cpu")
    losses = [DeepHashingLoss(n_active=n, margin=margin) for n, margin in ((2, 0.2), (2, 0.2), (3, 0.2), (2, 0.3))]
    found = [ModelStore(tmp_path).hash_encoder(images, config, training, loss=loss) for loss in losses]
    assert len(calls) == len({stored.folder for stored in found}) == 3
    assert found[0].folder == found[1].folder
    assert found[0].encoder.fingerprint == found[1].encoder.fingerprint != found[2].encoder.fingerprint


def test_sparsifiers_are_fitted_once(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).standard_normal((64, 8), dtype=np.float32)
    sparsifier = Sparsifier(dim=32, random_state=1)
    first = ModelStore(tmp_path).sparsifier(rows, sparsifier)
    monkeypatch.setattr(Sparsifier, "fit", lambda *_: pytest.fail("fitted again"))
    again = ModelStore(tmp_path).sparsifier(rows, Sparsifier(dim=32, random_state=1))
    assert first.folder == again.folder
    assert first.sparsifier.fingerprint == again.sparsifier.fingerprint
