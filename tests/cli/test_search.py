"""``gossamer search``."""

import json

import numpy as np
import pytest

from gossamer import Catalog, SparseEmbeddings
from gossamer.datasets.embedding_files import read_sparse, write_sparse
from search_cases import clustered


def test_each_query_finds_itself_first(gossamer, embeddings, index):
    lines = gossamer("search", index, embeddings, "-k", 3, "--json").stdout.splitlines()
    answers = [json.loads(line) for line in lines]
    assert len(answers) == 30
    assert all(answer["results"][0]["key"] == answer["query"] for answer in answers)
    assert answers[0]["results"][0]["label"] == "class0"
    assert answers[0]["results"][0]["score"] == pytest.approx(1, abs=1e-5)


def test_scores_are_the_inner_products(gossamer, embeddings, index):
    rows, catalog = read_sparse(embeddings)
    first = json.loads(gossamer("search", index, embeddings, "-k", 30, "--json").stdout.splitlines()[0])
    scores = rows.to_dense() @ rows.to_dense()[0]
    expected = {str(catalog.keys[row]): scores[row] for row in np.flatnonzero(scores > 0)}
    assert {found["key"]: found["score"] for found in first["results"]} == pytest.approx(expected, rel=1e-5)


def test_less_effort_finds_true_scores_and_may_miss_some(gossamer, tmp_path):
    documents, queries = clustered(np.random.default_rng(0), n=6000, n_classes=20)  # more blocks than are opened first
    for name, rows in (("documents", documents), ("queries", queries)):
        write_sparse(tmp_path / f"{name}.npz", rows, Catalog(n=len(rows)))
    gossamer("build", tmp_path / "documents.npz", "--out", tmp_path / "index", "--plan", "block-max")
    scores = queries.to_dense() @ documents.to_dense().T
    totals = []
    for effort in (1, 0.2):
        search = "search", tmp_path / "index", tmp_path / "queries.npz", "--effort", effort, "--json"
        answers = [json.loads(line) for line in gossamer(*search).stdout.splitlines()]
        for query, answer in enumerate(answers):
            for found in answer["results"]:
                assert found["score"] == pytest.approx(scores[query, int(found["key"])], rel=1e-5)
        totals.append(sum(found["score"] for answer in answers for found in answer["results"]))
    assert totals[1] < totals[0]


def test_a_table_names_query_rank_key_label_and_score(gossamer, embeddings, index):
    lines = gossamer("search", index, embeddings, "-k", 1).stdout.splitlines()
    assert [cell.strip() for cell in lines[1].split("┃")[1:-1]] == ["query", "rank", "key", "label", "score"]
    assert [cell.strip() for cell in lines[3].split("│")[1:-1]] == [
        "class0/0.png",
        "1",
        "class0/0.png",
        "class0",
        "1.0000",
    ]


def test_an_image_is_a_query_with_a_model(gossamer, images, model, index):
    image = images / "class3" / "2.png"
    answer = json.loads(gossamer("search", index, image, "--model", model, "-k", 3, "--json").stdout)
    assert answer["query"] == "2.png"
    # After so few steps another image of the class may have the same embedding.
    assert "class3/2.png" in [result["key"] for result in answer["results"]]
    assert answer["results"][0]["score"] == pytest.approx(1.0, abs=1e-5)


def test_a_query_that_finds_nothing_says_so(gossamer, tmp_path):
    rows = SparseEmbeddings.from_dense(np.float32([[1, 0], [0, 0]]))
    write_sparse(tmp_path / "a.npz", rows, Catalog(n=2, keys=np.array(["[red]one[/red]", "empty"])))
    gossamer("build", tmp_path / "a.npz", "--out", tmp_path / "index")
    answers = gossamer("search", tmp_path / "index", tmp_path / "a.npz", "--json").stdout.splitlines()
    assert json.loads(answers[1]) == {"query": "empty", "results": []}
    assert len(json.loads(answers[0])["results"]) == 1
    table = gossamer("search", tmp_path / "index", tmp_path / "a.npz").stdout
    assert "[red]one[/red]" in table
    assert "empty" in table


def test_queries_of_another_model_are_refused(gossamer, images, index, tmp_path, small):
    gossamer("train", images, "--out", tmp_path / "other", *small, "--seed", 5)
    gossamer("encode", tmp_path / "other", images, "--out", tmp_path / "other.npz")
    by_file = gossamer("search", index, tmp_path / "other.npz", status=2)
    assert "queries: expected embeddings of model" in by_file.stderr
    by_image = gossamer("search", index, images / "class0" / "0.png", "--model", tmp_path / "other", status=2)
    assert "queries: expected embeddings of model" in by_image.stderr


def test_queries_of_another_dim_are_refused(gossamer, index, tmp_path):
    rows = SparseEmbeddings.from_dense(np.ones((1, 3), np.float32))
    write_sparse(tmp_path / "a.npz", rows, Catalog(n=1))
    assert "expected 64 dimensions" in gossamer("search", index, tmp_path / "a.npz", status=2).stderr


def test_calls_that_cannot_be_right_are_usage_errors(gossamer, images, embeddings, index, model):
    image = images / "class0" / "0.png"
    for arguments, message in [
        ((index, image), "an image and --model"),
        ((index, embeddings, "--model", model), "an image and --model"),
        ((index, embeddings, "-k", 0), "k: expected a whole number of at least 1"),
        ((index, embeddings, "--effort", 0), "effort: expected a number above 0 and at most 1"),
        ((index, embeddings, "--effort", 1.5), "effort: expected a number above 0 and at most 1"),
        ((index, embeddings, "--effort", 0.5, "--min-score", -1), "effort: below 1 it needs a min_score of at least 0"),
        ((index, embeddings, "--threads", 0), "n_threads: expected"),
        ((index, "none.npz"), "there is none at"),
        ((index, "none.png", "--model", model), "there is no file"),
        (("none", embeddings), "none"),
    ]:
        assert message in gossamer("search", *arguments, status=2).stderr


def test_an_image_cannot_be_asked_with_a_dense_model(gossamer, images, index, dense_model):
    result = gossamer("search", index, images / "class0" / "0.png", "--model", dense_model, status=2)
    assert "is dense" in result.stderr


def test_a_damaged_index_is_a_failure(gossamer, embeddings, index, tmp_path):
    damaged = tmp_path / "index"
    damaged.mkdir()
    largest = max(index.iterdir(), key=lambda file: file.stat().st_size)
    for file in index.iterdir():
        data = file.read_bytes()
        (damaged / file.name).write_bytes(data[: len(data) // 2] if file == largest else data)
    assert gossamer("search", damaged, embeddings, status=1).stderr.startswith("error: ")
