"""A study of ratings end to end on a tiny file: records, resuming, failures that stop nothing, and refusals."""

import json

import numpy as np
import pytest

from gossamer.errors import ConfigError, DataError, FormatError, OutputExistsError
from gossamer.study.ratings import cells
from gossamer.study.ratings.cells import split_preferences
from gossamer.study.ratings.config import RatingsStudyConfig, read_preferences
from gossamer.study.ratings.runner import run_ratings_study
from gossamer.study.ratings.summary import DIFFERENCE, ratings_table
from gossamer.study.records import RECORDS
from gossamer.study.study_figures import SPEED
from gossamer.study.summary import REPORT, TABLE

pytest.importorskip("faiss")


@pytest.fixture
def config(ratings_file):
    return RatingsStudyConfig(ratings=ratings_file, seeds=(0, 1), steps=40, rounds=1)


def test_every_model_is_measured_for_every_seed_and_written_up(config, tmp_path):
    outcome = run_ratings_study(config, tmp_path / "out")
    assert outcome.failures == []
    assert [(r["seed"], r["model"]) for r in outcome.records] == [
        (seed, model) for seed in (0, 1) for model in ("popularity", "item-knn", "dense", "sparse")
    ]
    for record in outcome.records:
        assert len(record["ndcg_by_user"]) == record["n_asked"] == 40
        assert np.mean(record["ndcg_by_user"]) == pytest.approx(record["accuracy"]["nDCG@20"], abs=1e-5)
    by_model = {record["model"]: record for record in outcome.records[:4]}
    assert by_model["sparse"]["flops_per_item"] <= 2.2
    assert by_model["dense"]["flops_per_item"] == 8
    assert by_model["dense"]["speed_up"] == 1
    for model in ("item-knn", "dense", "sparse"):
        assert by_model[model]["accuracy"]["nDCG@20"] > by_model["popularity"]["accuracy"]["nDCG@20"]
    lines = ratings_table(outcome.records)
    assert lines[2][DIFFERENCE] == "–"
    assert " to " in lines[3][DIFFERENCE]
    table = (tmp_path / "out" / TABLE).read_text()
    assert "sparse towers, 2 FLOPs per item" in table
    assert "40 users" in table
    assert (tmp_path / "out" / SPEED).read_bytes().startswith(b"\x89PNG")
    assert "data:image/png;base64," in (tmp_path / "out" / REPORT).read_text()


def test_a_study_that_was_killed_goes_on_and_trains_nothing_again(config, tmp_path, monkeypatch):
    real, trained = cells.train_two_towers, []

    def train(*arguments, **settings):
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(1)
        return real(*arguments, **settings)

    monkeypatch.setattr(cells, "train_two_towers", train)
    with pytest.raises(KeyboardInterrupt):
        run_ratings_study(config, tmp_path / "out")
    assert len((tmp_path / "out" / RECORDS).read_text().splitlines()) == 4
    monkeypatch.setattr(cells, "train_two_towers", lambda *a, **s: trained.append(2) or real(*a, **s))
    outcome = run_ratings_study(config, tmp_path / "out")
    assert trained == [1, 1, 1, 2]
    assert outcome.n_resumed == 4
    assert len(outcome.records) == 8
    with pytest.raises(OutputExistsError, match="steps"):
        run_ratings_study(RatingsStudyConfig(ratings=config.ratings, seeds=(0, 1), rounds=1), tmp_path / "out")


def test_a_model_that_fails_stops_no_other(config, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no towers today")

    monkeypatch.setattr(cells, "train_two_towers", fail)
    outcome = run_ratings_study(config, tmp_path / "out")
    assert len(outcome.failures) == 4
    assert all("RuntimeError: no towers today" in failure for failure in outcome.failures)
    assert [r["model"] for r in outcome.records if r["status"] == "done"] == ["popularity", "item-knn"] * 2
    assert "failed for 2 of 2" in (tmp_path / "out" / TABLE).read_text()


def test_nothing_held_out_is_learned_from(config):
    split = split_preferences(read_preferences(config), seed=3)
    for user, seen, wanted in zip(split.asked, split.seen, split.held_out, strict=True):
        assert len(wanted) == 1
        assert not set(wanted) & set(seen)
        assert split.histories[user].tolist() == seen.tolist()


def test_ratings_below_the_least_are_no_interactions(ratings_file, rows):
    kept = read_preferences(RatingsStudyConfig(ratings=ratings_file, min_rating=2))
    assert len(kept.interactions.users) == sum(rating >= 2 for _, _, rating in rows)
    assert kept.n_items == len({item for _, item, rating in rows if rating >= 2})


def test_quick_is_one_seed_and_fewer_steps(ratings_file):
    quick = RatingsStudyConfig(ratings=ratings_file).quick()
    assert (quick.seeds, quick.steps, quick.rounds) == ((0,), 100, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"models": ("dense", "svd")}, "got 'svd'"),
        ({"models": ()}, "models: expected at least one"),
        ({"seeds": (1, 1)}, "each once"),
        ({"seeds": (-1,)}, "at least 0"),
        ({"flops_per_item": (0.0,)}, "above 0"),
        ({"min_rating": float("nan")}, "finite"),
    ],
)
def test_settings_out_of_range_are_refused(ratings_file, settings, message):
    with pytest.raises(ConfigError, match=message):
        RatingsStudyConfig(ratings=ratings_file, **settings)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("userId,movieId\n1,2\n", FormatError, "has 2 fields"),
        ("".join(f"{user},{item},3\n" for user in range(9) for item in range(6)), DataError, "at least 10 users"),
        ("".join(f"{user},{item},3\n" for user in range(90) for item in range(4)), DataError, "has 0"),
    ],
)
def test_ratings_that_cannot_be_studied_are_refused_before_any_work(tmp_path, text, error, message):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(error, match=message):
        run_ratings_study(RatingsStudyConfig(ratings=tmp_path / "bad.csv"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_prints_the_table_and_refuses_in_one_sentence(ratings_file, tmp_path):
    from typer.testing import CliRunner

    from gossamer.cli.app import app

    arguments = ["study", "ratings", str(ratings_file), "--out", str(tmp_path / "out"), "--quick", "--steps", "20"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert "nDCG@20" in result.stdout
    assert str(tmp_path / "out" / REPORT) in result.stdout
    again = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert again["n_resumed"] == len(again["records"]) == 4
    refused = CliRunner().invoke(app, [*arguments[:4], str(tmp_path / "other"), "--models", "dense,svd"])
    assert refused.exit_code == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "got 'svd'" in refused.stderr
