"""A study end to end: records, resuming, failures that stop nothing, and what is refused before any work."""

import dataclasses
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from gossamer import SparseEmbeddings
from gossamer.baselines.flat import FlatSearcher
from gossamer.baselines.lsh import LshSearcher
from gossamer.catalog import Catalog
from gossamer.datasets.embedding_files import write_dense, write_sparse
from gossamer.errors import (
    ArgumentError,
    ConfigError,
    DataError,
    FormatError,
    MissingDependencyError,
    NotFoundError,
    OutputExistsError,
    ShapeError,
)
from gossamer.study import runner, series
from gossamer.study.config import StudyConfig, default_methods
from gossamer.study.config_file import read_config
from gossamer.study.methods import FITTED, GIVEN, METHODS, Method, MethodConfig
from gossamer.study.records import RECORDS
from gossamer.study.runner import run_study
from gossamer.study.study_figures import SPEED
from gossamer.study.summary import REPORT, TABLE, table

pytest.importorskip("faiss")
pytest.importorskip("yaml")

YAML = """
protocol: nearest-neighbours
documents: vectors.npy
n_queries: 30
rounds: 1
seeds: [0, 1]
methods:
  - exhaustive
  - {name: pca, width: 4}
  - {name: lsh, n_bits: 64, rerank: 20}
  - {name: sparse, documents: codes.npz, min_score: 0.1}
  - {name: sparse, documents: codes.npz, rerank: 100}
"""


@pytest.fixture
def vectors(tmp_path, rng):
    rows = rng.standard_normal((400, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.save(tmp_path / "vectors.npy", rows)
    kept = np.where(np.abs(rows) > 0.2, rows, 0)
    write_sparse(tmp_path / "codes.npz", SparseEmbeddings.from_dense(kept), Catalog(n=400))
    return rows


@pytest.fixture
def config(tmp_path, vectors):  # noqa: ARG001 -- the file lies beside its data
    (tmp_path / "study.yaml").write_text(YAML)
    return read_config(tmp_path / "study.yaml")


def records_in(folder):
    return [json.loads(line) for line in (folder / RECORDS).read_text().splitlines()]


def test_every_method_is_measured_for_every_seed(config, tmp_path):
    reports = []
    outcome = run_study(config, tmp_path / "out", on_progress=lambda *report: reports.append(report))
    assert outcome.records == records_in(tmp_path / "out")
    assert (outcome.n_resumed, outcome.failures) == (0, [])
    assert [(r["seed"], r["label"]) for r in outcome.records] == [
        (seed, method.label) for seed in (0, 1) for method in config.methods
    ]
    for record in outcome.records:
        assert record["n_docs"] == 400
        assert record["n_queries"] == 30
        assert min(record[key] for key in ("query_us", "query_us_in_batches", "build_s", "bytes_per_document")) > 0
        assert record["query_us_p95"] >= record["query_us"]
    recalls = {record["label"]: record["accuracy"]["recall@10"] for record in outcome.records[:5]}
    assert recalls["exhaustive"] == 1
    assert 0.1 < recalls["pca, width 4"] < 0.95
    assert recalls["lsh, n bits 64, re-ranked 20"] > 0.5
    assert outcome.records[0]["speed_up"] == 1
    assert reports[-1][1] == reports[-1][2]


def test_recall_of_a_method_equals_a_loop_over_its_lists(config, vectors, tmp_path):
    record = next(
        r for r in run_study(config, tmp_path / "out").records if r["label"] == "lsh, n bits 64, re-ranked 20"
    )
    asked = np.sort(np.random.default_rng(0).choice(400, 30, replace=False))
    candidates = LshSearcher(vectors, n_bits=64).search(vectors[asked], k=20).doc_ids
    right = 0
    for row, own in enumerate(asked):
        scores = vectors @ vectors[own]
        order = [i for i in np.argsort(-scores) if i != own][:10]
        mine = sorted((i for i in candidates[row] if i != own), key=lambda i: -scores[i])[:10]
        right += len(set(order) & set(mine))
    assert record["accuracy"]["recall@10"] == pytest.approx(
        right / 300, abs=0.011
    )  # the own row may take the last place of 20


def test_table_figure_and_page_are_written(config, tmp_path):
    outcome = run_study(config, tmp_path / "out")
    lines = (tmp_path / "out" / TABLE).read_text().splitlines()
    assert lines[0].startswith("| method | recall@10 | µs per query |")
    assert len([line for line in lines if line.startswith("|")]) == 2 + len(config.methods)
    assert "| exhaustive | 1.000 (1.000 to 1.000) |" in lines[2]
    assert (tmp_path / "out" / SPEED).read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "out" / REPORT).read_text()
    assert "pca, width 4" in page
    assert "data:image/png;base64," in page
    assert [line["method"] for line in table(outcome.records)] == [method.label for method in config.methods]


def test_a_study_that_was_killed_goes_on_where_it_was(config, tmp_path, monkeypatch):
    measure = runner._measure
    seeds = []

    def killed(config, task, seed, on_progress):
        seeds.append(seed)
        if seed == 1 and seeds.count(1) == 1:
            raise KeyboardInterrupt
        return measure(config, task, seed, on_progress)

    monkeypatch.setattr(runner, "_measure", killed)
    with pytest.raises(KeyboardInterrupt):
        run_study(config, tmp_path / "out")
    first = records_in(tmp_path / "out")
    assert {record["seed"] for record in first} == {0}
    outcome = run_study(config, tmp_path / "out")
    assert seeds == [0, 1, 1]
    assert outcome.n_resumed == len(first) == 5
    assert outcome.records[:5] == first
    assert run_study(config, tmp_path / "out").n_resumed == 10


def test_a_method_that_fails_is_reported_and_the_others_go_on(tmp_path, vectors):  # noqa: ARG001
    methods = (
        MethodConfig(name="exhaustive"),
        MethodConfig(name="pq", settings={"n_parts": 5}),
        MethodConfig(name="sparse", settings={"documents": str(tmp_path / "nowhere.npz")}),
        MethodConfig(name="thresholded", settings={"nnz_per_row": 8}),
    )
    config = StudyConfig(
        protocol="nearest-neighbours", documents=tmp_path / "vectors.npy", methods=methods, n_queries=5, rounds=1
    )
    outcome = run_study(config, tmp_path / "out")
    assert [record["status"] for record in outcome.records] == ["done", "failed", "failed", "done"]
    assert len(outcome.failures) == 2
    assert outcome.failures[0].startswith("pq, n parts 5: ConfigError: n_parts: expected a divisor of dim 16; got 5")
    text = (tmp_path / "out" / TABLE).read_text()
    assert "| pq, n parts 5 (failed for 1 of 1) | – |" in text
    assert "divisor of dim 16" in text
    assert "thresholded, nnz per row 8" in text


def test_queries_of_their_own_are_asked_whole(tmp_path, vectors, rng):
    queries = rng.standard_normal((7, 16)).astype(np.float32)
    np.save(tmp_path / "queries.npy", queries)
    write_sparse(tmp_path / "asked.npz", SparseEmbeddings.from_dense(queries), Catalog(n=7))
    write_sparse(tmp_path / "all.npz", SparseEmbeddings.from_dense(vectors), Catalog(n=400))
    files = {"documents": str(tmp_path / "all.npz"), "queries": str(tmp_path / "asked.npz"), "min_score": -10.0}
    config = StudyConfig(
        protocol="nearest-neighbours",
        documents=tmp_path / "vectors.npy",
        queries=tmp_path / "queries.npy",
        methods=(MethodConfig(name="exhaustive"), MethodConfig(name="sparse", settings=files)),
        rounds=1,
    )
    records = run_study(config, tmp_path / "out").records
    assert [(record["accuracy"]["recall@10"], record["n_queries"]) for record in records] == [(1, 7), (1, 7)]


@pytest.fixture
def labeled(tmp_path, rng):
    """Files of rows around centres: of classes a to j twice, and of others."""
    centres = rng.standard_normal((10, 16)).astype(np.float32)
    labels = np.array(list("abcdefghij"))
    for name in ("gallery", "probes"):
        rows = centres + 0.7 * rng.standard_normal((10, 16)).astype(np.float32)
        write_dense(tmp_path / f"{name}.npy", rows, Catalog(n=10, labels=labels))
    others = rng.standard_normal((500, 16)).astype(np.float32)
    write_dense(tmp_path / "others.npy", others, Catalog(n=500, labels=np.full(500, "other")))
    return tmp_path


def labeled_study(folder, protocol, **settings):
    methods = (MethodConfig(name="exhaustive"), MethodConfig(name="thresholded", settings={"nnz_per_row": 4}))
    files = {"documents": folder / "gallery.npy", "queries": folder / "probes.npy"}
    return StudyConfig(**{"protocol": protocol, "methods": methods, "rounds": 1, **files, **settings})


def test_identification_is_measured_for_every_number_of_distractors(labeled):
    config = labeled_study(
        labeled, "identification", distractors=labeled / "others.npy", n_distractors=(20, 500), ks=(1, 5)
    )
    records = run_study(config, labeled / "out").records
    assert [(r["n_distractors"], r["n_docs"], r["method"]) for r in records] == [
        (n, n + 10, method) for n in (20, 500) for method in ("exhaustive", "thresholded")
    ]
    gallery, probes, others = (np.load(labeled / f"{name}.npy") for name in ("gallery", "probes", "others"))
    for record in records[::2]:
        scores = probes @ np.concatenate([gallery, others[: record["n_distractors"]]]).T
        ranks = (scores > np.diag(scores[:, :10])[:, None]).sum(axis=1)
        assert record["accuracy"] == {f"hit rate@{k}": (ranks < k).mean() for k in (1, 5)}
    assert records[0]["accuracy"]["hit rate@1"] > records[2]["accuracy"]["hit rate@1"]
    lines = (labeled / "out" / TABLE).read_text().splitlines()
    assert lines[0].startswith("| method | distractors | hit rate@1 | hit rate@5 | µs per query |")
    assert run_study(config, labeled / "out").n_resumed == 4


def test_class_retrieval_against_a_gallery_and_against_the_rows_themselves(labeled):
    record = run_study(labeled_study(labeled, "class-retrieval", ks=(1, 2)), labeled / "one").records[0]
    gallery, probes = (np.load(labeled / f"{name}.npy") for name in ("gallery", "probes"))
    nearest = np.argsort(-(probes @ gallery.T), axis=1)
    assert record["accuracy"]["precision@1"] == (nearest[:, 0] == np.arange(10)).mean()
    both = np.concatenate([gallery, probes])
    labels = np.tile(list("abcdefghij"), 2)
    write_dense(labeled / "both.npy", both, Catalog(n=20, labels=labels))
    config = labeled_study(labeled, "class-retrieval", documents=labeled / "both.npy", queries=None, ks=(1,))
    record = run_study(config, labeled / "two").records[0]
    scores = both @ both.T
    np.fill_diagonal(scores, -np.inf)
    assert record["accuracy"] == {"precision@1": (labels[scores.argmax(axis=1)] == labels).mean()}


def test_verification_of_files_counts_all_pairs_and_fails_where_lists_are_too_short(labeled):
    config = labeled_study(labeled, "verification", false_accept_rates=(0.1, 0.5))
    (exact, thresholded) = run_study(config, labeled / "out").records
    gallery, probes = (np.load(labeled / f"{name}.npy") for name in ("gallery", "probes"))
    scores, same = probes @ gallery.T, np.eye(10, dtype=bool)
    for rate in (0.1, 0.5):
        threshold = min(t for t in scores[~same] if (scores[~same] > t).mean() <= rate)
        assert exact["accuracy"][f"true accepts at {rate}"] == pytest.approx((scores[same] > threshold).mean())
    assert thresholded["status"] == "done"
    short = run_study(dataclasses.replace(config, ks=(2,)), labeled / "short").records
    assert {record["status"] for record in short} == {"failed"}
    assert "long enough for a false accept rate of 0.1; got k = 2" in short[0]["error"]


def test_labels_that_are_missing_or_shared_are_refused_before_any_folder(labeled):
    np.save(labeled / "bare.npy", np.ones((10, 16), np.float32))
    for change, message in [
        ({"documents": labeled / "bare.npy"}, "bare.npy: expected labels"),
        ({"queries": labeled / "bare.npy"}, "bare.npy: expected labels"),
        ({"distractors": labeled / "bare.npy", "n_distractors": (5,)}, "bare.npy: expected labels"),
        ({"distractors": labeled / "probes.npy", "n_distractors": (5,)}, "no class of gallery; both have 'a'"),
        ({"distractors": labeled / "others.npy", "n_distractors": (501,)}, "expected at least 501; got 500"),
    ]:
        with pytest.raises(DataError, match=message):
            run_study(labeled_study(labeled, "identification", **change), labeled / "out")
    assert not (labeled / "out").exists()


def test_protocols_with_files_that_they_do_not_take_are_refused(labeled):
    for protocol, change, message in [
        ("identification", {"queries": None}, "queries: expected a file of probes"),
        ("identification", {"n_distractors": (5,)}, "n_distractors: expected together with distractors"),
        ("class-retrieval", {"distractors": labeled / "others.npy", "n_distractors": (5,)}, "identification alone"),
        ("class-retrieval", {"false_accept_rates": (0.1,)}, "false_accept_rates: expected for verification alone"),
        ("verification", {"false_accept_rates": (1.5,)}, "expected numbers above 0 and below 1; got 1.5"),
        ("verification", {"false_accept_rates": (1,)}, "expected numbers above 0 and below 1; got 1$"),
        ("class-retrieval", {"ks": (0,)}, "ks and n_distractors: expected a whole number of at least 1; got 0"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            labeled_study(labeled, protocol, **change)


def test_a_hash_table_of_given_outputs_finds_what_shares_a_bucket(tmp_path, vectors):
    np.save(tmp_path / "outputs.npy", -vectors)  # other codes than the vectors' own
    files = {"documents": str(tmp_path / "outputs.npy")}
    methods = [MethodConfig(name="hash-table", settings={**files, "n_active": n}) for n in (1, 16)]
    config = StudyConfig(
        protocol="nearest-neighbours", documents=tmp_path / "vectors.npy", methods=tuple(methods), rounds=1
    )
    few, everything = run_study(config, tmp_path / "out").records
    lowest = vectors.argmin(axis=1)
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    nearest = np.argsort(-scores, axis=1)[:, :10]
    assert few["accuracy"]["recall@10"] == pytest.approx((lowest[nearest] == lowest[:, None]).mean())
    assert everything["accuracy"]["recall@10"] == 1


def test_a_folder_of_something_else_is_left_alone(config, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputExistsError, match="holds no study to go on with"):
        run_study(config, tmp_path / "out")
    run_study(config, tmp_path / "other")
    with pytest.raises(OutputExistsError, match=r"other settings \(seeds, k\)"):
        run_study(dataclasses.replace(config, k=5, seeds=(0,)), tmp_path / "other")
    np.save(tmp_path / "vectors.npy", np.ones((400, 16), np.float32))
    with pytest.raises(OutputExistsError, match=r"other settings \(digest\)"):
        run_study(config, tmp_path / "other")


def test_damaged_records_are_refused(config, tmp_path):
    run_study(config, tmp_path / "out")
    path = tmp_path / "out" / RECORDS
    path.write_text(path.read_text()[:-20])
    with pytest.raises(FormatError, match="expected one JSON record a line; it is damaged"):
        run_study(config, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (("rounds: 1", "rounds: 0"), ArgumentError, "rounds: expected a whole number of at least 1; got 0"),
        (("protocol: nearest-neighbours", "protocol: [x]"), ConfigError, r"protocol: expected one of .*; got \['x'\]"),
        (("documents: vectors.npy", "documents:"), ConfigError, "documents: expected a path; got None"),
        (("rounds: 1", "turns: 1"), ConfigError, "expected keys of protocol, .*; got 'turns'"),
        (("protocol: nearest-neighbours\n", ""), ConfigError, "expected a key 'protocol'; there is none"),
        (("nearest-neighbours", "chess"), ConfigError, "protocol: expected one of nearest-neighbours, .*; got 'chess'"),
        (("seeds: [0, 1]", "seeds: 3"), ConfigError, "seeds: expected a list; got 3"),
        (("seeds: [0, 1]", "seeds: [-1]"), ConfigError, "seeds: expected whole numbers of at least 0"),
        (("- exhaustive", "- magic"), ConfigError, "method: expected one of exhaustive, .*hash-table; got 'magic'"),
        (("width: 4", "breadth: 4"), ConfigError, "pca: expected settings of width, .*; got 'breadth'"),
        (("width: 4", "width: wide"), ConfigError, "pca, width: expected int; got 'wide'"),
        (("name: pca, width: 4", "name: pca"), ConfigError, "pca: expected a setting 'width'; there is none"),
        (("rerank: 20", "rerank: 0"), ArgumentError, "lsh, rerank: expected a whole number of at least 1; got 0"),
        (("- {name: pca, width: 4}", "- exhaustive"), ConfigError, "'exhaustive' is there twice"),
        (
            ("name: pca, width: 4", "name: hash-table, documents: a.npy, n_active: 2, rerank: 9"),
            ConfigError,
            "hash-table, rerank: it puts all that it finds in order; got 9",
        ),
        (("- exhaustive", "- 7"), ConfigError, "methods: expected a name, or a mapping with a name; got 7"),
        (("documents: vectors.npy", "documents: 5"), ConfigError, "documents: expected a path; got 5"),
        (("protocol:", "{"), FormatError, "expected YAML; it cannot be read"),
        ((YAML, "- a list"), ConfigError, "expected settings by name; got list"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_sentence(tmp_path, change, error, message):
    (tmp_path / "study.yaml").write_text(YAML.replace(*change))
    with pytest.raises(error, match=message) as refusal:
        read_config(tmp_path / "study.yaml")
    assert "\n" not in str(refusal.value)


def test_the_file_in_the_documentation_is_one(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "studies.md").read_text()
    (tmp_path / "study.yaml").write_text(re.search(r"^```yaml\n(.*?)^```", page, re.M | re.S).group(1))
    config = read_config(tmp_path / "study.yaml")
    assert {method.name for method in config.methods} == {*METHODS, *FITTED, *GIVEN}
    assert (config.n_distractors, config.ks) == ((1000, 100_000), (1, 10, 50, 100))


def test_data_that_are_missing_or_do_not_fit_are_refused_before_any_folder(config, tmp_path):
    with pytest.raises(NotFoundError, match=r"there is none at .*study\.yaml"):
        read_config(tmp_path / "nowhere" / "study.yaml")
    np.save(tmp_path / "vectors.npy", np.ones((10, 16), np.float32))
    with pytest.raises(DataError, match="expected at least 11 for k = 10; got 10"):
        run_study(config, tmp_path / "out")
    (tmp_path / "vectors.npy").unlink()
    with pytest.raises(NotFoundError, match=r"there is none at .*vectors\.npy"):
        run_study(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_queries_of_other_dimensions_are_refused(tmp_path, vectors):  # noqa: ARG001
    np.save(tmp_path / "queries.npy", np.ones((3, 8), np.float32))
    config = StudyConfig(
        protocol="nearest-neighbours",
        documents=tmp_path / "vectors.npy",
        queries=tmp_path / "queries.npy",
        methods=(MethodConfig(name="exhaustive"),),
    )
    with pytest.raises(ShapeError, match="queries: expected 16 dimensions; got 8"):
        run_study(config, tmp_path / "out")


def test_a_quick_study_takes_few_rows_one_seed_and_one_round(tmp_path, vectors):  # noqa: ARG001
    config = StudyConfig(
        protocol="nearest-neighbours",
        documents=tmp_path / "vectors.npy",
        methods=(MethodConfig(name="exhaustive"),),
        seeds=(3, 4),
        n_documents=50_000,
    )
    quick = config.quick()
    assert (quick.n_documents, quick.n_queries, quick.seeds, quick.rounds) == (20_000, 200, (3,), 1)
    few = dataclasses.replace(config, n_documents=100, n_queries=5).quick()
    assert (few.n_documents, few.n_queries) == (100, 5)
    record = run_study(few, tmp_path / "out").records[0]
    assert (record["n_docs"], record["n_queries"]) == (100, 5)


@pytest.mark.parametrize(("library", "method"), [("faiss", "lsh, FAISS"), ("yaml", "PyYAML")])
def test_a_missing_library_is_named_before_anything_is_done(tmp_path, monkeypatch, library, method):
    (tmp_path / "study.yaml").write_text(YAML.replace("  - exhaustive\n", ""))
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=f"{method.split(', ')[-1]}, which is not installed"):
        read_config(tmp_path / "study.yaml")


@pytest.mark.parametrize(("n_docs", "dim"), [(20_000, 384), (300, 17), (100, 2), (12, 1)])
def test_the_methods_of_any_data_can_be_built(n_docs, dim, tmp_path, rng):
    np.save(tmp_path / "vectors.npy", rng.standard_normal((min(n_docs, 2000), dim)).astype(np.float32))
    methods = default_methods(n_docs, dim)
    assert methods[0].label == "exhaustive"
    if n_docs <= 300:
        config = StudyConfig(
            protocol="nearest-neighbours",
            documents=tmp_path / "vectors.npy",
            methods=tuple(method for method in methods if method.name != "lsh"),
            n_queries=3,
            rounds=1,
        )
        assert run_study(config, tmp_path / "out").failures == []
    else:
        assert len({method.name for method in methods}) == 7


def test_the_gallery_is_searched_whole_even_in_a_quick_study(labeled):
    with pytest.raises(ConfigError, match="n_documents: expected none for identification: .*; got 5"):
        labeled_study(labeled, "identification", n_documents=5)
    assert labeled_study(labeled, "identification").quick().n_documents is None


def sparse_files(folder, names, rows):
    """Write sparse embeddings equal to dense rows, and return the settings of a method that takes them."""
    settings = {"min_score": -100.0}
    for name, each in zip(names, rows, strict=True):
        path = folder / f"{name}.npz"
        write_sparse(path, SparseEmbeddings.from_dense(each), Catalog(n=len(each)), overwrite=True)
        settings[name] = str(path)
    return settings


def test_given_files_stay_in_step_with_queries_and_distractors(labeled):
    gallery, probes, others = (np.load(labeled / f"{name}.npy") for name in ("gallery", "probes", "others"))
    settings = sparse_files(labeled, ("documents", "queries"), (np.concatenate([gallery, others]), probes))
    methods = MethodConfig(name="exhaustive"), MethodConfig(name="sparse", settings=settings)
    files = {"distractors": labeled / "others.npy", "n_distractors": (20, 300), "methods": methods}
    config = labeled_study(labeled, "identification", **files, ks=(1, 5), n_queries=6, seeds=(0, 1))
    records = run_study(config, labeled / "out").records
    for exact, sparse in zip(records[::2], records[1::2], strict=True):
        assert exact["accuracy"] == sparse["accuracy"]


def test_small_entries_of_queries_are_neither_searched_nor_paid_for(labeled):
    gallery, probes = (np.load(labeled / f"{name}.npy") for name in ("gallery", "probes"))
    settings = sparse_files(labeled, ("documents", "queries"), (gallery, probes))
    pruned = {**settings, "min_query_value": 1.2}
    methods = [MethodConfig(name="sparse", settings=pruned, rerank=n) for n in (None, 1)]
    config = labeled_study(labeled, "identification", methods=(*methods, MethodConfig(name="exhaustive")), ks=(1,))
    kept = np.where(np.abs(probes) >= np.float32(1.2), probes, 0)
    hit_rate = np.mean((kept @ gallery.T).argmax(axis=1) == np.arange(10))
    assert 0 < hit_rate < 1
    for record in run_study(config, labeled / "out").records[:2]:
        assert record["accuracy"]["hit rate@1"] == hit_rate
        assert record["flops_per_document"] == np.count_nonzero(kept) / 10


@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_a_least_value_of_queries_below_zero_is_refused(value):
    with pytest.raises(ConfigError, match="sparse, min_query_value: expected at least 0; got"):
        MethodConfig(name="sparse", settings={"documents": "codes.npz", "min_query_value": value})


def test_files_with_rows_to_spare_are_refused(labeled):
    gallery, probes = (np.load(labeled / f"{name}.npy") for name in ("gallery", "probes"))
    twice = np.concatenate([gallery, gallery])
    for rows, message in [((twice, probes), "documents: expected 10 rows; got 20"),
                          ((gallery, twice), "queries: expected 10 rows; got 20")]:  # fmt: skip
        settings = sparse_files(labeled, ("documents", "queries"), rows)
        methods = MethodConfig(name="exhaustive"), MethodConfig(name="sparse", settings=settings)
        config = labeled_study(labeled, "identification", methods=methods, ks=(1,))
        (failure,) = run_study(config, labeled / message.split(":")[0]).failures
        assert failure.endswith(message)


def test_a_study_whose_given_file_has_changed_is_not_gone_on_with(config, tmp_path, vectors):
    run_study(config, tmp_path / "out")
    write_sparse(tmp_path / "codes.npz", SparseEmbeddings.from_dense(vectors), Catalog(n=400), overwrite=True)
    with pytest.raises(OutputExistsError, match=r"other settings \(files\)"):
        run_study(config, tmp_path / "out")


def test_sparse_embeddings_of_two_models_are_two_curves(tmp_path, vectors):  # noqa: ARG001
    sparse = "{name: sparse, documents: codes.npz, min_score: %s, curve: %s}"
    methods = "\n  - ".join([sparse % (0.1, "one"), sparse % (0.2, "other"), sparse % (0.3, "other"), "exhaustive"])
    (tmp_path / "study.yaml").write_text(YAML.partition("  - exhaustive")[0] + f"  - {methods}\n")
    records = run_study(read_config(tmp_path / "study.yaml"), tmp_path / "out").records
    assert [record["curve"] for record in records[:4]] == ["one", "other", "other", "exhaustive"]
    points = series.times(records, "recall@10", n_distractors=0).alone.points
    assert {name: len(each) for name, each in points.items()} == {"one": 1, "other": 2, "exhaustive": 1}
    with pytest.raises(ConfigError, match="pca, curve: expected a name; got 3"):
        MethodConfig(name="pca", settings={"width": 4}, curve=3)


def test_probes_of_unknown_classes_are_refused_before_anything_is_built(labeled, monkeypatch):
    monkeypatch.setattr(runner, "_measure", None)
    strangers = Catalog(n=1, labels=np.array(["z"]))
    write_dense(labeled / "probes.npy", np.ones((1, 16), np.float32), strangers, overwrite=True)
    with pytest.raises(DataError, match="probes: expected classes of the gallery; 'z' is not in it"):
        run_study(labeled_study(labeled, "identification"), labeled / "out")
    assert not (labeled / "out").exists()


def test_queries_of_their_own_are_drawn_by_seed(labeled, monkeypatch):
    asked = []
    monkeypatch.setattr(runner, "_measure", lambda config, task, *rest: asked.append(task.rows.asked_rows) or [])  # noqa: ARG005
    monkeypatch.setattr(runner, "write_summary", lambda *_: None)
    run_study(labeled_study(labeled, "identification", n_queries=4, seeds=(0, 1)), labeled / "out")
    for seed, rows in enumerate(asked):
        assert rows.tolist() == sorted(np.random.default_rng(seed).choice(10, 4, replace=False).tolist())


def test_more_neighbours_have_more_candidates():
    assert {method.rerank for method in default_methods(1000, 16, k=80)} == {None, 160}


def test_a_method_that_fails_late_ends_no_study(tmp_path, vectors, monkeypatch):  # noqa: ARG001
    class Late(FlatSearcher):
        def search(self, queries, k=10):
            if len(queries) > 1 and self.n_docs > 300:
                raise MemoryError("no room for a batch")
            return super().search(queries, k)

    class Unjudged(FlatSearcher):
        def search(self, queries, k=10):
            found = super().search(queries, k)
            return found._replace(doc_ids=found.doc_ids + 1000)

    broken = {"lsh": Method(Late), "hnsw": Method(Unjudged)}
    monkeypatch.setattr("gossamer.study.methods.METHODS", {**METHODS, **broken})
    config = StudyConfig(
        protocol="nearest-neighbours",
        documents=tmp_path / "vectors.npy",
        methods=tuple(MethodConfig(name=name) for name in ("lsh", "hnsw", "exhaustive")),
        n_queries=5,
        rounds=1,
    )
    late, unjudged, sound = run_study(config, tmp_path / "out").records
    assert (late["status"], late["error"]) == ("failed", "MemoryError: no room for a batch")
    assert (unjudged["status"], unjudged["error"].split(":")[0]) == ("failed", "IndexError")
    assert (sound["status"], sound["speed_up"]) == ("done", 1)


def test_every_kind_of_method_is_rehearsed_on_few_rows_before_its_clock(config, tmp_path, monkeypatch):
    built = []
    prepare = runner.prepare

    def watched(method, rows, **settings):
        built.append((method.name, len(rows.documents)))
        return prepare(method, rows, **settings)

    monkeypatch.setattr(runner, "_REHEARSED", 50)
    monkeypatch.setattr(runner, "prepare", watched)
    run_study(config, tmp_path / "out")
    names = ["exhaustive", "pca", "lsh", "sparse", "sparse"]
    assert built == [(name, n) for n in (50, 400, 400) for name in names]


def test_a_sparsifier_is_fitted_to_the_documents_once_for_all_its_settings(config, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    fitted = {"flops_per_document": 1.0, "dim": 64, "steps": 20}
    methods = [MethodConfig(name="sparsifier", settings=fitted, rerank=rerank) for rerank in (None, 400)]
    config = dataclasses.replace(config, seeds=(0,), methods=(MethodConfig(name="exhaustive"), *methods))
    models = tmp_path / "models"
    outcome = run_study(config, tmp_path / "out", models=models)
    _, alone, reranked = outcome.records
    assert outcome.failures == []
    assert [path.name for path in models.iterdir()] == [alone["model"]["folder"]] == [reranked["model"]["folder"]]
    assert alone["accuracy"]["recall@10"] < reranked["accuracy"]["recall@10"] <= 1
    assert alone["flops_per_document"] > 0
    assert alone["regularizer"] == "flops"
    assert max(alone["list_lengths"]["quantiles"]) <= 400
    monkeypatch.setattr("gossamer.learning.Sparsifier.fit", lambda *_: pytest.fail("fitted again"))
    assert run_study(config, tmp_path / "again", models=models).failures == []
