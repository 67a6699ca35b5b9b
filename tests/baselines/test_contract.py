"""The contract of every baseline: shapes, dtypes, order, missing places, sizes, refusals."""

import sys
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from gossamer import TwoStageQueries
from gossamer.baselines import product_quantization
from gossamer.baselines.exhaustive import ExhaustiveSearcher
from gossamer.baselines.flat import FlatSearcher
from gossamer.baselines.hash_table import HashTableSearcher, k_of_d_codes
from gossamer.baselines.hnsw import HnswSearcher
from gossamer.baselines.lsh import LshSearcher
from gossamer.baselines.pca import PcaSearcher
from gossamer.baselines.product_quantization import IvfPqSearcher, ProductQuantizationSearcher
from gossamer.baselines.reranked import RerankedSearcher
from gossamer.baselines.thresholded import ThresholdedSearcher, keep_largest
from gossamer.errors import ArgumentError, ConfigError, EmbeddingsError, MissingDependencyError, ShapeError
from gossamer.metrics import recall_at_k

DIM = 16


class HashTableOfLargest(HashTableSearcher):
    """A hash table whose codes are the embeddings' own largest dimensions, asked with dense queries."""

    def __init__(self, documents, *, n_active):
        super().__init__(k_of_d_codes(documents, n_active), documents)
        self.n_active = n_active

    def search(self, queries, k=10):
        return super().search(TwoStageQueries(k_of_d_codes(queries, self.n_active), queries), k)


@dataclass
class Case:
    """A baseline, its settings from narrow to wide open, and what it then promises."""

    kind: Any
    settings: tuple[dict[str, int], ...] = ({},)
    library: str | None = "faiss"
    open_recall: float = 1.0
    scores_are_true: bool = False
    """Whether scores are inner products of the embeddings, wide open."""

    def build(self, documents, setting=-1):
        return self.kind(documents, **self.settings[setting])


CASES = {
    "exhaustive": Case(ExhaustiveSearcher, library=None, scores_are_true=True),
    "flat": Case(FlatSearcher, scores_are_true=True),
    "hnsw": Case(
        HnswSearcher, ({"n_links": 2, "search_effort": 1}, {"n_links": 32}), open_recall=0.99, scores_are_true=True
    ),
    "pca": Case(PcaSearcher, ({"width": 2}, {"width": 8}, {"width": DIM}), library="sklearn", scores_are_true=True),
    "lsh": Case(LshSearcher, ({"n_bits": 8}, {"n_bits": 128}, {"n_bits": 1024}), open_recall=0.8),
    "product quantization": Case(
        ProductQuantizationSearcher,
        ({"n_parts": 2, "bits_per_part": 2}, {"n_parts": 8, "bits_per_part": 4}, {"n_parts": DIM}),
        open_recall=0.95,
    ),
    "IVF-PQ": Case(
        IvfPqSearcher,
        (
            {"n_lists": 16, "n_probes": 1, "n_parts": DIM},
            {"n_lists": 16, "n_probes": 4, "n_parts": DIM},
            {"n_lists": 16, "n_probes": 16, "n_parts": DIM},
        ),
        open_recall=0.95,
    ),
    "thresholded": Case(
        ThresholdedSearcher,
        ({"nnz_per_row": 1}, {"nnz_per_row": 8}, {"nnz_per_row": DIM}),
        library=None,
        scores_are_true=True,
    ),
    "hash table": Case(
        HashTableOfLargest,
        ({"n_active": 1}, {"n_active": 3}, {"n_active": DIM}),
        library=None,
        scores_are_true=True,
    ),
}
FEW_DOCUMENTS = {  # settings that so few documents can be learned from
    "pca": {"width": 3},
    "product quantization": {"n_parts": 4, "bits_per_part": 1},
    "IVF-PQ": {"n_lists": 1, "n_probes": 1, "n_parts": 4, "bits_per_part": 1},
}


@pytest.fixture(params=CASES)
def name(request):
    if CASES[request.param].library:
        pytest.importorskip(CASES[request.param].library)
        pytest.importorskip("faiss")
    return request.param


@pytest.fixture
def case(name):
    return CASES[name]


def few(name, documents):
    return CASES[name].kind(documents, **FEW_DOCUMENTS.get(name, CASES[name].settings[-1]))


def unit_rows(rng, n, dim=DIM):
    rows = rng.standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def true_scores(documents, queries):
    return queries.astype(np.float64) @ documents.T.astype(np.float64)


def exact_top(documents, queries):
    return np.argsort(-true_scores(documents, queries), axis=1, kind="stable").astype(np.int32)


def test_wide_open_the_results_are_the_largest_inner_products(case, rng):
    documents, queries = unit_rows(rng, 500), unit_rows(rng, 20)
    found = case.build(documents).search(queries, k=10)
    assert recall_at_k(found.doc_ids, exact_top(documents, queries), 10) >= case.open_recall
    assert (found.doc_ids.dtype, found.scores.dtype) == (np.int32, np.float32)
    assert found.doc_ids.shape == found.scores.shape == (20, 10)
    assert (found.scores[:, 1:] <= found.scores[:, :-1]).all()
    if case.scores_are_true:
        expected = np.take_along_axis(true_scores(documents, queries), found.doc_ids, axis=1)
        np.testing.assert_allclose(found.scores, expected, atol=1e-6)


def test_recall_rises_as_the_settings_are_opened_up(case, rng):
    documents, queries = unit_rows(rng, 500), unit_rows(rng, 40)
    exact = exact_top(documents, queries)
    found = [case.build(documents, i).search(queries, k=10) for i in range(len(case.settings))]
    recalls = [recall_at_k(result.doc_ids, exact, 10) for result in found]
    assert all(low + 0.05 < high for low, high in pairwise(recalls)), recalls


def test_one_query_finds_what_it_finds_in_a_batch(case, rng):
    documents, queries = unit_rows(rng, 300), unit_rows(rng, 5)
    searcher = case.build(documents)
    batch = searcher.search(queries, k=4)
    for i in range(5):
        alone = searcher.search(queries[i : i + 1], k=4)
        np.testing.assert_array_equal(alone.doc_ids[0], batch.doc_ids[i])
        np.testing.assert_allclose(alone.scores[0], batch.scores[i], atol=1e-6)


def test_documents_that_are_equal_are_ordered_by_doc_id(name, case, rng):
    rows = unit_rows(rng, 40)
    documents = np.concatenate([rows, rows, rows])
    setting = {"product quantization": 1, "IVF-PQ": 2}.get(name, -1)
    settings = {**case.settings[setting], **({"bits_per_part": 4} if "PQ" in name or "prod" in name else {})}
    found = case.kind(documents, **settings).search(rows, k=3)
    is_tied = found.scores[:, 1:] == found.scores[:, :-1]
    assert is_tied.any()
    assert (np.diff(found.doc_ids, axis=1)[is_tied] > 0).all()


def test_missing_results_are_marked(name, rng):
    documents, queries = np.abs(unit_rows(rng, 3)), np.abs(unit_rows(rng, 2))  # all score above 0
    found = few(name, documents).search(queries, k=5)
    assert (found.doc_ids[:, 3:] == -1).all()
    assert (found.scores[:, 3:] == -np.inf).all()
    assert sorted(found.doc_ids[0, :3].tolist()) == [0, 1, 2]


def test_no_documents_and_no_queries_are_answered(name, case, rng):
    nothing = case.build(unit_rows(rng, 0)).search(unit_rows(rng, 2), k=3)
    assert (nothing.doc_ids == -1).all()
    assert (nothing.scores == -np.inf).all()
    assert few(name, unit_rows(rng, 5)).search(unit_rows(rng, 0), k=3).doc_ids.shape == (0, 3)


def test_the_counts_are_those_of_the_documents(case, rng):
    large, small = (case.build(unit_rows(rng, n)) for n in (600, 300))
    assert (large.n_docs, small.n_docs) == (600, 300)
    assert large.size_bytes > small.size_bytes > 0


@pytest.mark.parametrize("name", ["flat", "hnsw", "lsh", "product quantization", "IVF-PQ"])
def test_sizes_are_those_of_what_faiss_would_write(name, rng):
    faiss = pytest.importorskip("faiss")
    searcher = CASES[name].build(unit_rows(rng, 20_000 if name == "lsh" else 2000), 0)
    written = faiss.serialize_index(searcher._graph if name == "hnsw" else searcher._index).nbytes
    assert searcher.size_bytes == pytest.approx(written, rel=0.25 if name == "hnsw" else 0.05)


def test_reranking_all_documents_makes_every_baseline_exact(name, case, rng):
    documents, queries = unit_rows(rng, 300), unit_rows(rng, 10)
    setting = {"hnsw": -1, "hash table": -1, "IVF-PQ": -1, "thresholded": -1}.get(name, 0)
    first_stage = case.build(documents, setting)
    searcher = RerankedSearcher(first_stage, documents, candidates=300)
    found = searcher.search(queries, k=10)
    np.testing.assert_array_equal(found.doc_ids, exact_top(documents, queries)[:, :10])
    np.testing.assert_allclose(
        found.scores, np.take_along_axis(true_scores(documents, queries), found.doc_ids, axis=1), atol=1e-6
    )
    assert searcher.size_bytes == first_stage.size_bytes + documents.nbytes


def test_reranking_finds_candidates_alone(rng):
    documents = unit_rows(rng, 50)
    found = RerankedSearcher(ExhaustiveSearcher(documents), documents, candidates=2).search(documents[:4], k=3)
    assert found.doc_ids[:, 0].tolist() == [0, 1, 2, 3]
    assert (found.doc_ids[:, 2] == -1).all()
    with pytest.raises(ShapeError, match="documents: expected 50 rows"):
        RerankedSearcher(ExhaustiveSearcher(documents), documents[1:], candidates=2)


def test_bad_input_is_refused(name, case, rng):
    searcher = few(name, unit_rows(rng, 5))
    with pytest.raises(ArgumentError, match="k: expected"):
        searcher.search(unit_rows(rng, 2), k=0)
    if name != "hash table":  # which is asked with codes
        with pytest.raises(ShapeError, match=r"queries: expected shape \(n, 16\)"):
            searcher.search(unit_rows(rng, 2, dim=8))
        with pytest.raises(EmbeddingsError, match="queries: .* row 1 holds others"):
            searcher.search(np.full((2, DIM), [[1], [np.nan]]))
    with pytest.raises(EmbeddingsError, match="row 1 holds others"):
        case.build(np.full((2, DIM), [[1], [np.nan]]))
    with pytest.raises(EmbeddingsError, match="dtype int64"):
        case.build(np.ones((2, DIM), np.int64))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (PcaSearcher, {"width": 17}, "width: expected at most 16, .*; got 17"),
        (PcaSearcher, {"width": 12, "n_training_rows": 10}, "and 10 rows to learn from"),
        (LshSearcher, {"n_bits": 0}, "n_bits: expected a whole number of at least 1; got 0"),
        (HnswSearcher, {"n_links": 1}, "n_links: expected at least 2; got 1"),
        (HnswSearcher, {"n_links": 0}, "n_links: expected a whole number of at least 1; got 0"),
        (HnswSearcher, {"build_effort": 0}, "build_effort: expected a whole number of at least 1; got 0"),
        (HnswSearcher, {"search_effort": -1}, "search_effort: expected a whole number of at least 1; got -1"),
        (ProductQuantizationSearcher, {"n_parts": 5}, "n_parts: expected a divisor of dim 16; got 5"),
        (ProductQuantizationSearcher, {"n_parts": 4, "bits_per_part": 9}, "bits_per_part: expected 1 to 8; got 9"),
        (ProductQuantizationSearcher, {"n_parts": 4}, "bits_per_part: its 256 centroids .*; got 30"),
        (
            IvfPqSearcher,
            {"n_lists": 4, "n_probes": 5, "n_parts": 4, "bits_per_part": 1},
            "n_probes: expected at most n_lists = 4; got 5",
        ),
        (
            IvfPqSearcher,
            {"n_lists": 31, "n_probes": 5, "n_parts": 4, "bits_per_part": 1},
            "n_lists: its 31 centroids .*; got 30",
        ),
        (ThresholdedSearcher, {"nnz_per_row": 17}, "nnz_per_row: expected at most dim = 16; got 17"),
        (ThresholdedSearcher, {"nnz_per_row": 1, "nnz_per_query": 17}, "nnz_per_query: expected at most dim = 16"),
        (HashTableOfLargest, {"n_active": 17}, "n_active: expected at most dim = 16; got 17"),
    ],
)
def test_settings_that_do_not_fit_are_refused(kind, settings, message, rng):
    pytest.importorskip("faiss")
    with pytest.raises(ArgumentError, match=message) as refusal:
        kind(unit_rows(rng, 30), **settings)
    assert isinstance(refusal.value, ConfigError) or "at least 1" in message


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.library])
def test_a_missing_library_is_named_with_the_extra(name, rng, monkeypatch):
    library = CASES[name].library
    for loaded in [module for module in sys.modules if module.partition(".")[0] == library]:
        monkeypatch.setitem(sys.modules, loaded, None)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=r"is not installed: pip install 'gossamer\[(bench|learn)\]'"):
        CASES[name].build(unit_rows(rng, 3))


def test_equal_scores_are_ordered_by_doc_id():
    documents = np.float32([[0, 1], [1, 0], [1, 0], [2, 0], [1, 0]])
    assert ExhaustiveSearcher(documents).search(np.float32([[1, 0]]), k=3).doc_ids.tolist() == [[3, 1, 2]]


def test_lsh_scores_are_bits_that_agree_less_those_that_differ():
    pytest.importorskip("faiss")
    documents = np.float32([[1, 0], [-1, 0]])
    found = LshSearcher(documents, n_bits=24).search(documents[:1], k=2)
    assert found.doc_ids.tolist() == [[0, 1]]
    assert found.scores.tolist() == [[24, -24]]


def test_pca_of_documents_far_from_the_origin_still_scores_inner_products(rng):
    pytest.importorskip("sklearn")
    pytest.importorskip("faiss")
    plane = rng.standard_normal((60, 2)).astype(np.float32) @ rng.standard_normal((2, DIM)).astype(np.float32)
    documents, queries = plane + 3, unit_rows(rng, 4)
    found = PcaSearcher(documents, width=2).search(queries, k=60)  # two components hold all the variance
    expected = np.take_along_axis(true_scores(documents, queries), found.doc_ids, axis=1)
    np.testing.assert_allclose(found.scores, expected, atol=1e-4)


def test_thresholding_keeps_the_largest_magnitudes_with_their_signs():
    rows = np.float32([[0.1, -0.9, 0.2, 0.2], [0, 0, 0, 5]])
    kept = keep_largest(rows, 2, name="rows")
    np.testing.assert_array_equal(kept.to_dense(), np.float32([[0, -0.9, 0.2, 0], [0, 0, 0, 5]]))
    searcher = ThresholdedSearcher(np.float32([[1, 5], [-2, 1]]), nnz_per_row=1)
    # Document 0 keeps dimension 1 alone, the queries dimension 0; below 0 nothing is found.
    found = searcher.search(np.float32([[-3, 1], [3, 1]]), k=2)
    assert found.doc_ids.tolist() == [[1, -1], [-1, -1]]
    assert found.scores.tolist() == [[6, -np.inf], [-np.inf, -np.inf]]


def test_a_thresholded_query_of_too_many_entries_is_refused_before_the_build(monkeypatch):
    monkeypatch.setattr("gossamer.baselines.thresholded.InvertedIndex", None)
    with pytest.raises(ConfigError, match="nnz_per_query: expected at most dim = 2; got 3"):
        ThresholdedSearcher(np.ones((2, 2), np.float32), nnz_per_row=1, nnz_per_query=3)


@pytest.mark.parametrize(("n_lists", "n_rows"), [(4, 16_384), (500, 19_500)])
def test_more_lists_are_learned_from_more_rows(n_lists, n_rows, rng, monkeypatch):
    pytest.importorskip("faiss")
    drawn = []
    monkeypatch.setattr(
        product_quantization, "draw_training_rows", lambda rows, n, **_: drawn.append(n) or rows[: n_lists + 1]
    )
    IvfPqSearcher(unit_rows(rng, 600), n_lists=n_lists, n_probes=1, n_parts=1, bits_per_part=1)
    assert drawn == [n_rows]


def test_a_hash_table_scores_every_document_that_shares_a_bucket_and_no_other(rng):
    documents, queries = unit_rows(rng, 200), unit_rows(rng, 15)
    codes, asked = k_of_d_codes(documents, 2).to_dense(), k_of_d_codes(queries, 2).to_dense()
    assert (codes.sum(axis=1) == 2).all()
    found = HashTableOfLargest(documents, n_active=2).search(queries, k=200)
    for row in range(15):
        shared = np.flatnonzero([(code * asked[row]).any() for code in codes])
        assert sorted(found.doc_ids[row][found.doc_ids[row] >= 0].tolist()) == shared.tolist()


def test_codes_and_rows_of_a_hash_table_must_fit():
    codes, dense = k_of_d_codes(np.eye(3, dtype=np.float32), 1), np.eye(3, dtype=np.float32)
    with pytest.raises(ShapeError, match="documents: expected 3 rows"):
        HashTableSearcher(codes, dense[:2])
    table = HashTableSearcher(codes, dense)
    with pytest.raises(ShapeError, match="queries: expected codes of 3 dimensions; got 2"):
        table.search(TwoStageQueries(k_of_d_codes(dense[:, :2], 1), dense))
    with pytest.raises(ShapeError, match="queries: expected 3 dense dimensions; got 2"):
        table.search(TwoStageQueries(codes, dense[:, :2]))
    empty = table.search(TwoStageQueries(codes[:1], dense[:1]), k=1)
    assert empty.doc_ids.tolist() == [[0]]
