"""`Sparsifier`: what it learns, what it refuses, and that it is an estimator like scikit-learn's."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from gossamer import InvertedIndex, SparseEmbeddings
from gossamer.errors import (
    ArgumentError,
    ConfigError,
    DataError,
    EmbeddingsError,
    FormatError,
    NotFoundError,
    OutputExistsError,
    ShapeError,
)
from gossamer.learning import BudgetController, Encoder, EncoderConfig, Sparsifier
from gossamer.learning.sparsifier.dense_rows import ROWS_PER_BLOCK
from gossamer.metrics import flops_per_document, recall_at_k


def nearest(rows, k):
    """The k nearest other rows by cosine, by brute force."""
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)


def test_sparse_rows_have_the_neighbors_of_the_dense_ones_at_the_cost_that_was_asked_for(fitted, dense):
    rows = fitted.transform(dense)
    exact = nearest(dense, 10)
    assert recall_at_k(nearest(rows.toarray(), 10), exact, 10) > 0.6  # chance is 0.03
    queries = SparseEmbeddings.from_scipy(rows)
    assert 0.8 < flops_per_document(queries, queries) < 1.25


def test_training_is_what_finds_the_neighbors(settings, dense):
    untrained = Sparsifier(**settings | {"steps": 1, "learning_rate": 1e-9}).fit_transform(dense)
    trained = Sparsifier(**settings | {"steps": 100}).fit_transform(dense)
    exact = nearest(dense, 10)
    recalls = [recall_at_k(nearest(rows.toarray(), 10), exact, 10) for rows in (untrained, trained)]
    assert recalls[1] > recalls[0] + 0.03


def test_rows_are_csr_float32_of_length_1_with_ascending_int32_indices(fitted, dense):
    rows = fitted.transform(dense)
    assert isinstance(rows, sparse.csr_array)
    assert (rows.shape, rows.dtype, rows.indices.dtype) == ((300, 128), np.float32, np.int32)
    assert all(np.all(np.diff(rows.indices[a:b]) > 0) for a, b in zip(rows.indptr, rows.indptr[1:], strict=False))
    np.testing.assert_allclose(np.sqrt(rows.multiply(rows).sum(axis=1)), 1, rtol=1e-5)
    rows.data[0] = 2.0  # the caller's own


def test_an_index_finds_each_row_by_its_sparse_form(fitted, dense):
    rows = fitted.transform(dense)
    found = InvertedIndex.build(rows).search(rows, k=1)
    np.testing.assert_allclose(found.scores[:, 0], 1, rtol=1e-5)


def test_parameters_are_those_of_scikit_learn(settings, dense):
    sparsifier = Sparsifier(**settings, random_state=3)
    assert sparsifier.get_params()["random_state"] == 3
    copy = clone(sparsifier).set_params(dim=64, steps=5)
    assert (copy.dim, sparsifier.dim, copy.random_state) == (64, 128, 3)
    assert make_pipeline(copy).fit_transform(dense).shape == (300, 64)
    assert repr(Sparsifier(dim=64)) == "Sparsifier(dim=64)"


def test_the_same_seed_gives_the_same_bits_and_leaves_the_global_generator_alone(settings, fitted, dense):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    again = Sparsifier(**settings).fit(dense)
    assert torch.equal(torch.get_rng_state(), before)
    assert again.fingerprint == fitted.fingerprint
    assert Sparsifier(**settings | {"random_state": 1}).fit(dense).fingerprint != fitted.fingerprint


def test_fitting_reads_a_memory_map_as_it_reads_an_array_and_changes_neither(settings, fitted, dense, tmp_path):
    np.save(tmp_path / "dense.npy", dense)
    mapped = np.load(tmp_path / "dense.npy", mmap_mode="r")
    assert Sparsifier(**settings).fit(mapped).fingerprint == fitted.fingerprint
    np.testing.assert_array_equal(mapped, dense)


def test_float64_and_rows_with_strides_are_as_good(fitted, dense):
    expected = fitted.transform(dense)
    wide = np.zeros((300, 48))
    wide[:, ::2] = dense
    for rows in (dense.astype(np.float64), np.asfortranarray(dense), wide[:, ::2], dense[::-1][::-1]):
        assert (fitted.transform(rows) != expected).nnz == 0


def test_float16_gives_what_the_same_values_give_as_float32(fitted, dense):
    half = dense.astype(np.float16)
    assert (fitted.transform(half) != fitted.transform(half.astype(np.float32))).nnz == 0


def test_only_the_direction_of_a_row_counts(fitted, dense):
    expected = fitted.transform(dense).toarray()
    for factor in (1e-30, 1e30):
        np.testing.assert_allclose(fitted.transform(dense * np.float32(factor)).toarray(), expected, atol=1e-4)


def test_a_row_of_zeros_stays_zero_and_all_others_can_be_found(settings, dense):
    dense[[3, 250]] = 0
    rows = Sparsifier(**settings).fit_transform(dense)
    assert np.flatnonzero(np.diff(rows.indptr) == 0).tolist() == [3, 250]


def test_a_row_unlike_all_others_can_still_be_found(fitted):
    strange = np.eye(24, dtype=np.float32)
    strange = np.concatenate([strange, -strange])
    lost = copy.deepcopy(fitted)
    torch.nn.init.constant_(lost.network_.head.norm.bias, -100.0)  # no activation passes any more
    rows = lost.transform(strange)
    assert np.diff(rows.indptr).tolist() == [1] * 48
    assert len(np.unique(rows.indices)) > 10


def test_no_rows_transform_to_no_rows_and_blocks_join(fitted, dense):
    assert fitted.transform(dense[:0]).shape == (0, 128)
    many = np.tile(dense, (ROWS_PER_BLOCK // 300 + 1, 1))
    rows = fitted.transform(many)
    assert rows.shape == (len(many), 128)
    np.testing.assert_allclose(rows[[ROWS_PER_BLOCK]].toarray(), rows[[ROWS_PER_BLOCK % 300]].toarray(), atol=1e-6)


@pytest.mark.parametrize("n", [2, 5, 63])
def test_fewer_rows_than_a_batch_are_enough(settings, dense, n):
    rows = Sparsifier(**settings | {"steps": 5}).fit_transform(dense[:n])
    assert np.all(np.diff(rows.indptr) > 0)


def test_duplicates_are_fine(settings, dense):
    rows = Sparsifier(**settings | {"steps": 5}).fit_transform(np.repeat(dense[:40], 5, axis=0))
    np.testing.assert_array_equal(rows[[0]].toarray(), rows[[4]].toarray())


def test_labels_draw_rows_of_one_class_together(settings):
    rng = np.random.default_rng(1)
    cluster = rng.integers(0, 20, 300)
    dense = rng.standard_normal((20, 24))[cluster] + 0.4 * rng.standard_normal((300, 24))
    labels = cluster % 10  # a class is two clusters that have nothing to do with each other
    is_pair = np.equal.outer(labels, labels) & ~np.equal.outer(cluster, cluster)

    def likeness(rows):
        return (rows @ rows.T).toarray()[is_pair].mean()

    with_labels = Sparsifier(**settings).fit(dense, labels).transform(dense)
    assert likeness(with_labels) > 1.1 * likeness(Sparsifier(**settings).fit_transform(dense))
    texts = Sparsifier(**settings).fit(dense, labels.astype(str)).transform(dense)
    assert (texts != with_labels).nnz == 0


@pytest.mark.parametrize("activation", ["soft-threshold", "learned-soft-threshold", "jump-relu"])
def test_every_activation_meets_the_budget(settings, dense, activation):
    sparsifier = Sparsifier(**settings, activation=activation).fit(dense)
    rows = SparseEmbeddings.from_scipy(sparsifier.transform(dense))
    assert 0.75 < flops_per_document(rows, rows) < 1.3


def test_the_cost_of_top_k_is_measured(settings, dense):
    sparsifier = Sparsifier(**settings, activation="top-k", regularizer="none").fit(dense)
    shares = (sparsifier.transform(dense) != 0).toarray().mean(axis=0)
    assert sparsifier.metrics_["flops_per_document"] == pytest.approx(float(shares @ shares), rel=0.15)
    assert sparsifier.metrics_["flops_per_document"] != settings["flops_per_document"]


def test_top_k_keeps_as_many_entries_in_each_row(settings, dense):
    rows = Sparsifier(**settings, activation="top-k", regularizer="none").fit_transform(dense)
    assert np.unique(np.diff(rows.indptr)).tolist() == [11]  # the root of 1 FLOP times 128 dimensions


def test_a_budget_that_is_missed_is_said(settings, dense, caplog):
    Sparsifier(**settings | {"flops_per_document": 100.0}).fit(dense)
    assert "100 was asked for, and" in caplog.text


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x[:0], DataError, "expected rows to learn from; got 0"),
        (lambda x: x[:1], DataError, "at least two rows of different directions"),
        (lambda x: np.repeat(x[:1], 50, axis=0), DataError, "at least two rows of different directions"),
        (np.zeros_like, DataError, "got 300, none of them with a nonzero"),
        (lambda x: x[0], ShapeError, r"expected shape \(n, width >= 1\)"),
        (lambda x: x[:, :0], ShapeError, r"expected shape \(n, width >= 1\)"),
        (lambda x: x.astype(np.int64), EmbeddingsError, "got dtype int64"),
        (lambda x: x.tolist(), EmbeddingsError, "expected a NumPy array or memory map; got list"),
        (lambda x: np.where(np.arange(300)[:, None] == 41, np.nan, x), EmbeddingsError, "row 41 holds others"),
        (lambda x: np.where(np.arange(300)[:, None] == 299, np.inf, x), EmbeddingsError, "row 299 holds others"),
        (lambda x: x.astype(np.float64) * 1e300, EmbeddingsError, "row 0 holds others"),
    ],
)
def test_rows_that_nothing_can_be_learned_from_are_refused(settings, dense, change, error, message):
    with pytest.raises(error, match=message):
        Sparsifier(**settings).fit(change(dense))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"dim": 0}, "dim: expected a whole number of at least 1; got 0"),
        ({"batch_size": 1}, "batch_size: expected a whole number of at least 2"),
        ({"steps": 1.5}, "steps: expected a whole number"),
        ({"random_state": None}, "random_state: expected a whole number of at least 0; got None"),
        ({"activation": "none"}, "activation: expected one of relu"),
        ({"activation": "top-k"}, "regularizer: expected 'none' with activation 'top-k'"),
        ({"regularizer": "l2"}, "regularizer: expected one of flops"),
        ({"objective": "magic"}, "objective: expected one of similarity"),
        ({"flops_per_document": 0}, "flops_per_document: expected a finite number above 0"),
        ({"flops_per_document": 129.0}, "flops_per_document: expected at most dim = 128; got 129"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a finite number above 0"),
        ({"device": "abacus"}, "device: expected auto, cpu, cuda"),
    ],
)
def test_settings_out_of_range_are_refused_in_fit(settings, dense, setting, message):
    with pytest.raises(ConfigError, match=message):
        Sparsifier(**settings | setting).fit(dense)


def test_numbers_may_be_those_of_numpy(settings, fitted, dense):
    same = {name: np.float64(v) if name == "flops_per_document" else v for name, v in settings.items()}
    assert Sparsifier(**same | {"dim": np.int64(128)}).fit(dense).fingerprint == fitted.fingerprint


def test_labels_that_do_not_fit_are_refused(settings, dense):
    with pytest.raises(ShapeError, match=r"labels: expected shape \(300,\)"):
        Sparsifier(**settings).fit(dense, np.zeros(299, int))
    with pytest.raises(ArgumentError, match="labels: expected whole numbers or text"):
        Sparsifier(**settings).fit(dense, np.zeros(300))


def test_what_is_not_fitted_does_not_transform(dense, tmp_path):
    for use in (lambda s: s.transform(dense), lambda s: s.fingerprint, lambda s: s.save_pretrained(tmp_path / "m")):
        with pytest.raises(NotFittedError, match="call fit first"):
            use(Sparsifier())


def test_rows_of_another_width_are_refused(fitted, dense):
    with pytest.raises(
        ShapeError, match="expected 24 columns, as in the rows that the sparsifier learned from; got 23"
    ):
        fitted.transform(dense[:, 1:])


@pytest.fixture
def folder(fitted, tmp_path):
    fitted.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_saved_sparsifier_is_the_same_bit_for_bit(fitted, folder, dense):
    read = Sparsifier.from_pretrained(folder)
    assert read.get_params() == fitted.get_params() | {"device": "auto"}
    assert read.fingerprint == fitted.fingerprint
    assert read.metrics_ == fitted.metrics_
    assert (read.transform(dense) != fitted.transform(dense)).nnz == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "metrics.json",
        "model.safetensors",
    ]
    assert pickle.loads(pickle.dumps(read)).fingerprint == fitted.fingerprint


def test_the_card_of_a_sparsifier_shows_its_cost_and_its_code_runs(fitted, folder, dense, monkeypatch):
    card = (folder / "README.md").read_text()
    assert f"held-out rows against the corpus | {fitted.metrics_['flops_per_document']:.4g} |" in card
    assert f"dense rows of {dense.shape[1]} dimensions to sparse ones of 128" in card
    assert fitted.fingerprint in card
    np.save(folder.parent / "dense.npy", dense)
    monkeypatch.chdir(folder.parent)
    names: dict = {}
    exec(card.split("```python\n")[1].split("```")[0], names)
    assert names["found"].doc_ids[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_a_folder_that_is_taken_is_kept(fitted, folder):
    with pytest.raises(OutputExistsError):
        fitted.save_pretrained(folder)
    fitted.save_pretrained(folder, overwrite=True)


def test_an_encoder_is_no_sparsifier_and_a_sparsifier_no_encoder(folder, tmp_path):
    Encoder(EncoderConfig(dim=8, image_size=16, pixel_mean=1.0, pixel_std=1.0)).save_pretrained(tmp_path / "encoder")
    with pytest.raises(FormatError, match="expected a sparsifier of dense embeddings.*holds an encoder of images"):
        Sparsifier.from_pretrained(tmp_path / "encoder")
    with pytest.raises(FormatError, match="expected an encoder of images.*holds a sparsifier of dense embeddings"):
        Encoder.from_pretrained(folder)


def test_a_damaged_folder_is_refused(folder):
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-100])
    with pytest.raises(FormatError, match="truncated or damaged"):
        Sparsifier.from_pretrained(folder)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "metrics.json").write_text("[1]")
    with pytest.raises(FormatError, match="metrics.json: expected a JSON object; got list"):
        Sparsifier.from_pretrained(folder)
    settings = json.loads((folder / "config.json").read_text())
    for wrong, message in (
        ({"dim": 64}, "expected head"),
        ({"dim": "64"}, "dim: expected a whole number"),
        ({"format": []}, "does not say format"),
        ({"depth": 2}, "unknown setting 'depth'"),
    ):
        (folder / "config.json").write_text(json.dumps(settings | wrong))
        with pytest.raises(FormatError, match=message):
            Sparsifier.from_pretrained(folder)
    (folder / "config.json").unlink()
    with pytest.raises(NotFoundError, match=r"holds no config\.json"):
        Sparsifier.from_pretrained(folder)


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 19])
def test_any_number_of_steps_can_be_taken(settings, dense, steps):
    history = Sparsifier(**settings | {"steps": steps}).fit(dense).metrics_["history"]
    assert history[-1]["step"] == steps


def test_a_model_says_nothing_of_the_device_that_it_was_made_on(fitted, tmp_path):
    fitted.save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    assert "device" not in json.loads(path.read_text())
    path.write_text(json.dumps(json.loads(path.read_text()) | {"device": "cuda:7"}))  # as they were once saved
    assert Sparsifier.from_pretrained(tmp_path / "model").device == "auto"


def test_a_lost_row_of_a_signed_model_keeps_its_largest_magnitude_and_its_sign(settings, dense):
    fitted = Sparsifier(**settings, activation="soft-threshold").fit(dense)
    head = fitted.network_.head
    head.activation.forward = torch.zeros_like  # nothing passes
    unit = torch.nn.functional.normalize(torch.from_numpy(dense))
    with torch.no_grad():
        before = head.norm(head.linear(unit * 24**0.5)).numpy()
    rows = fitted.transform(dense)
    best = np.abs(before).argmax(axis=1)
    np.testing.assert_array_equal(rows.indices, best)
    np.testing.assert_array_equal(rows.data, np.sign(before[np.arange(300), best]))
    assert set(rows.data) == {-1.0, 1.0}


def test_a_weight_at_its_limit_is_said_once(settings, dense, caplog, monkeypatch):
    monkeypatch.setattr(BudgetController, "is_saturated", True)
    Sparsifier(**settings).fit(dense)
    assert len([line for line in caplog.messages if "the regularizer's weight ended at its limit" in line]) == 1
