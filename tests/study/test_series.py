"""What records hold for each figure, by hand, and that figures they hold too little for are left out."""

import numpy as np
import pytest

from gossamer.study import series
from study_records import SPARSE_DIM, records

HIT_RATE = "hit rate@1"


def of(made, **wanted):
    return [record for record in made if all(record.get(key) == value for key, value in wanted.items())]


def without(made, *keys):
    return [{key: value for key, value in record.items() if key not in keys} for record in made]


def test_times_are_means_over_seeds_at_most_distractors_in_ascending_order():
    made = records()
    alone, in_batches, batch_size = series.times(made, HIT_RATE, n_distractors=100_000)
    assert list(alone.points) == [
        "exhaustive",
        "pca",
        "hnsw",
        "sparse flops",
        "sparse flops, re-ranked",
        "sparse l1",
        "sparse l1, re-ranked",
    ]
    own = of(made, label="hnsw, search_effort 16", n_distractors=100_000)
    hits = [record["accuracy"][HIT_RATE] for record in own]
    assert len(hits) == 3
    assert alone.points["hnsw"][0] == (pytest.approx(40 * 50.5), pytest.approx(np.mean(hits)))
    assert alone.spreads["hnsw"][0] == (min(hits), max(hits))
    assert alone.points["hnsw"][0] < alone.points["hnsw"][1]
    assert in_batches["hnsw"][0][0] == pytest.approx(40 * 50.5 / 1.2)
    assert in_batches["exhaustive"][0][0] < in_batches["hnsw"][1][0]  # and one by one the other way round
    assert batch_size == 1000


def test_one_seed_has_no_spread_and_records_without_batches_have_one_panel():
    made = without(records(seeds=(0,)), "query_us_in_batches")
    assert series.times(made, HIT_RATE, n_distractors=100_000).alone.spreads is None
    assert series.times(made, HIT_RATE, n_distractors=100_000)[1:] == (None, None)


def test_a_curve_with_a_name_of_its_own_keeps_it():
    made = [{**record, "curve": "a wider model"} for record in of(records(seeds=(0,)), curve="sparse")]
    assert list(series.times(made, HIT_RATE, n_distractors=100_000).alone.points) == ["a wider model"]
    assert list(series.costs(made, HIT_RATE).points) == ["a wider model"]


def test_the_most_accurate_setting_of_each_line_is_followed_over_distractors():
    made = records(seeds=(0,))
    points, spreads = series.distractors(made, HIT_RATE)
    own = of(made, label="hnsw, search_effort 256")
    assert points["hnsw"] == [(record["n_distractors"], record["accuracy"][HIT_RATE]) for record in own]
    assert spreads is None
    missing = [record for record in made if (record["method"], record["n_distractors"]) != ("exhaustive", 10_000)]
    assert [n for n, _ in series.distractors(missing, HIT_RATE)[0]["exhaustive"]] == [1000, 100_000]


def test_methods_with_fewer_distractors_are_followed_as_far_as_they_go():
    made = [r for r in records(seeds=(0,)) if r["n_distractors"] < 100_000 or r["label"].startswith("exhaustive")]
    points = series.distractors(made, HIT_RATE).points
    assert [n for n, _ in points["exhaustive"]] == [1000, 10_000, 100_000]
    assert [n for n, _ in points["sparse l1"]] == [1000, 10_000]


def test_the_widest_comparison_has_most_methods_and_of_those_most_distractors():
    made = records(seeds=(0, 1))
    assert series.widest(made) == 100_000
    few = [r for r in made if r["n_distractors"] < 100_000 or (r["curve"], r["seed"]) != ("sparse, re-ranked", 1)]
    assert series.widest(few) == 100_000  # each is there for another seed
    fewer = [r for r in made if r["n_distractors"] < 100_000 or r["settings"].get("regularizer") != "l1"]
    assert series.widest(fewer) == 10_000
    assert {name for name in series.costs(fewer, HIT_RATE).points if "l1" in name} == {
        "sparse l1",
        "sparse l1, re-ranked",
    }
    assert set(series.list_lengths(fewer).quantiles) == {"sparse flops", "sparse l1"}


def test_of_settings_as_accurate_the_fastest_is_followed():
    made = of(records(seeds=(0,)), method="pca")
    for record in made:
        record["accuracy"] = {HIT_RATE: 0.5}
        record["accuracy"][HIT_RATE] += 0.1 * (record["label"] == "pca, width 16") * (record["n_distractors"] == 1000)
    assert series.distractors(made, HIT_RATE).points["pca"] == [(1000, 0.6), (10_000, 0.5), (100_000, 0.5)]


def test_costs_are_lines_of_a_regularizer():
    points, spreads = series.costs(records(), HIT_RATE)
    assert list(points) == ["sparse flops", "sparse flops, re-ranked", "sparse l1", "sparse l1, re-ranked"]
    assert [x for x, _ in points["sparse l1"]] == pytest.approx([0.105, 0.315, 1.05, 3.15])
    assert all(low <= y <= high for (_, y), (low, high) in zip(points["sparse l1"], spreads["sparse l1"], strict=True))


def test_evenness_is_of_models_however_they_are_searched():
    points, is_share = series.evenness(records())
    assert is_share
    assert list(points) == ["sparse flops", "sparse l1"]
    nnz = (0.1 * SPARSE_DIM / 1.1) ** 0.5
    assert points["sparse flops"][0] == (pytest.approx(100 * nnz / SPARSE_DIM), pytest.approx(1.1))
    assert [ratio for _, ratio in points["sparse l1"]] == pytest.approx([4.1, 4.3, 5, 7])


def test_nonzeros_are_counted_where_a_record_does_not_tell_its_dimensions():
    made = records(seeds=(0,))
    del made[-1]["model"]["dim"]
    points, is_share = series.evenness(made)
    assert not is_share
    assert points["sparse flops"][0][0] == pytest.approx((0.1 * SPARSE_DIM / 1.1) ** 0.5)


def test_list_lengths_are_of_the_two_models_that_cost_most_nearly_the_same():
    made = records(seeds=(0,))
    for record in made:
        if record["settings"].get("regularizer") == "l1":
            record["flops_per_document"] *= 1.2 if record["settings"]["flops_per_document"] == 1 else 20
    found = series.list_lengths(made)
    assert found.flops_per_document == {"sparse flops": 1.0, "sparse l1": 1.2}
    (l1,) = of(made, label="sparse, l1, FLOPs 1.0", n_distractors=100_000)
    assert found.quantiles["sparse l1"] == l1["list_lengths"]["quantiles"]


def test_models_of_different_seeds_are_not_set_against_each_other():
    made = [record for record in records(seeds=(0, 1)) if record["settings"].get("regularizer")]
    apart = [record for record in made if (record["settings"]["regularizer"] == "l1") == (record["seed"] == 0)]
    assert series.list_lengths(made) is not None
    assert series.list_lengths(apart) is None


def test_what_records_do_not_hold_is_no_series():
    bare = without(records(distractors=(1000,)), "flops_per_document", "nnz_per_row", "list_lengths")
    assert series.distractors(bare, HIT_RATE) is None
    assert series.costs(bare, HIT_RATE) is None
    assert series.evenness(bare) is None
    assert series.list_lengths(bare) is None
    alone = [record for record in records() if record["settings"].get("regularizer") != "l1"]
    assert series.list_lengths(alone) is None
