import logging

import numpy as np
import pytest
import torch

from gossamer import InvertedIndex
from gossamer.errors import DataError, FormatError, OutputExistsError
from gossamer.learning.encoder import Encoder
from gossamer.learning.pretrained import TWO_TOWERS, read_kind
from gossamer.learning.two_towers import Histories, TwoTowers, TwoTowersConfig, train_two_towers
from gossamer.metrics import flops_per_document

N_ITEMS = 40


def share_of_own_taste(towers, histories):
    """Return how many of the best ten items are of the user's taste; one in four by chance."""
    scores = towers.encode_users(histories).to_dense() @ towers.encode_items().to_dense().T
    best = np.argsort(-scores, axis=1)[:, :10]
    return float((best // 10 == np.arange(len(histories))[:, None] % 4).mean())


def test_dense_towers_learn_tastes(histories, settings):
    towers = train_two_towers(histories, TwoTowersConfig(dim=8, **settings))
    assert share_of_own_taste(towers, histories) > 0.9
    assert "flops_per_item" not in towers.metrics
    lengths = np.linalg.norm(towers.encode_users(histories).to_dense(), axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)


def test_sparse_towers_learn_tastes_within_their_budget(histories, sparse_towers):
    users, items = sparse_towers.encode_users(histories), sparse_towers.encode_items()
    assert share_of_own_taste(sparse_towers, histories) > 0.8
    assert flops_per_document(users, items) == pytest.approx(sparse_towers.metrics["flops_per_item"])
    assert flops_per_document(users, items) <= 1.1
    assert (users.nnz_per_row > 0).all()
    assert sparse_towers.metrics["history"][-1]["weight"] > 0
    found = InvertedIndex.build(items).search(users, k=5)
    assert (found.doc_ids[:, 0] >= 0).all()


def test_new_users_need_no_training_and_those_without_items_have_no_code(sparse_towers):
    users = sparse_towers.encode_users(Histories([np.array([0, 1, 2, 3]), np.array([], int)], n_items=N_ITEMS))
    assert users.nnz_per_row[0] > 0
    assert users.nnz_per_row[1] == 0
    best = np.argsort(-(users.to_dense() @ sparse_towers.encode_items().to_dense().T), axis=1)[0, :5]
    assert (best < 10).mean() >= 0.8


def test_the_same_seed_gives_the_same_towers_and_leaves_no_trace(histories, sparse_settings, sparse_towers):
    state = torch.get_rng_state()
    again = train_two_towers(histories, TwoTowersConfig(**sparse_settings))
    assert again.fingerprint == sparse_towers.fingerprint
    assert torch.equal(state, torch.get_rng_state())
    other = train_two_towers(histories, TwoTowersConfig(**{**sparse_settings, "seed": 1}))
    assert other.fingerprint != sparse_towers.fingerprint


def test_a_model_folder_gives_the_same_codes(histories, sparse_towers, tmp_path):
    sparse_towers.save_pretrained(tmp_path / "towers")
    read = TwoTowers.from_pretrained(tmp_path / "towers")
    for again, codes in (
        (read.encode_users(histories), sparse_towers.encode_users(histories)),
        (read.encode_items(), sparse_towers.encode_items()),
    ):
        np.testing.assert_array_equal(again.to_dense(), codes.to_dense())
    assert read.metrics == sparse_towers.metrics
    assert read_kind(tmp_path / "towers") == TWO_TOWERS
    card = (tmp_path / "towers" / "README.md").read_text()
    assert "sparse codes of 64 dimensions" in card
    assert "FLOPs per item" in card
    with pytest.raises(OutputExistsError):
        sparse_towers.save_pretrained(tmp_path / "towers")
    with pytest.raises(FormatError, match="holds two towers of users and items"):
        Encoder.from_pretrained(tmp_path / "towers")


def test_a_budget_that_nothing_has_to_be_dropped_for_is_said(histories, sparse_settings, caplog):
    with caplog.at_level(logging.WARNING):
        train_two_towers(histories, TwoTowersConfig(**{**sparse_settings, "flops_per_item": 60.0, "steps": 3}))
    assert "60 was asked for" in caplog.text
    assert "No entry had to be dropped" in caplog.text


def test_what_cannot_be_learned_from_is_refused(histories, settings):
    with pytest.raises(DataError, match="expected 41 items; got 40"):
        train_two_towers(histories, TwoTowersConfig(**{**settings, "n_items": 41}))
    with pytest.raises(DataError, match="two users with two items"):
        train_two_towers(Histories([np.array([1, 2]), np.array([3])], n_items=40), TwoTowersConfig(**settings))
