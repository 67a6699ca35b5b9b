"""``gossamer evaluate``."""

import numpy as np
import pytest

from gossamer import Catalog, SparseEmbeddings
from gossamer.datasets.embedding_files import write_dense, write_sparse

# Rows 0 and 1 are one class and neighbors; rows 2 and 3 are one class, but 2 is nearer to 0; row 4 is alone.
ROWS = np.float32([[1, 0, 0, 0], [0.8, 0.6, 0, 0], [0.6, 0, 0.8, 0], [0, 0, 0.5, 0.5], [0, 0, 0, 1]])
LABELS = np.array(["a", "a", "b", "b", "c"])


@pytest.fixture(params=["sparse", "dense"])
def written(request, tmp_path):
    """Write the rows, or some of them, as sparse or as dense embeddings."""

    def write(name, rows=slice(None), fingerprint="m1"):
        catalog = Catalog(n=len(ROWS[rows]), labels=LABELS[rows], fingerprint=fingerprint)
        if request.param == "sparse":
            write_sparse(tmp_path / f"{name}.npz", SparseEmbeddings.from_dense(ROWS[rows]), catalog)
            return tmp_path / f"{name}.npz"
        write_dense(tmp_path / f"{name}.npy", ROWS[rows], catalog)
        return tmp_path / f"{name}.npy"

    return write


def test_each_row_asks_for_its_class_and_not_for_itself(read_json, written):
    record = read_json("evaluate", written("a"), "-k", 1, "-k", 2)
    # 0 finds 1 and 1 finds 0; 2 finds 0 then 1; 3 finds 4 (0.5), then 2 (0.4); 4 has no other of its class.
    assert record["queries"] == 5
    assert record["queries_without_answer"] == 1
    assert record["hit_rate_at_1"] == 2 / 4
    assert record["hit_rate_at_2"] == 3 / 4
    assert record["precision_at_2"] == pytest.approx(3 / 8)


def test_a_gallery_is_searched_instead(read_json, written):
    record = read_json("evaluate", written("queries", [0, 2, 4]), "--gallery", written("gallery", [1, 3]), "-k", 1)
    assert (record["queries"], record["documents"], record["queries_without_answer"]) == (3, 2, 1)
    assert record["hit_rate_at_1"] == 1 / 2


def test_more_results_than_documents_are_fine(read_json, written):
    record = read_json("evaluate", written("a"))
    assert record["hit_rate_at_10"] == 1
    assert record["precision_at_10"] == pytest.approx(1 / 10)


def test_sparse_work_is_counted_in_postings(read_json, tmp_path):
    write_sparse(tmp_path / "a.npz", SparseEmbeddings.from_dense(ROWS), Catalog(n=5, labels=LABELS))
    record = read_json("evaluate", tmp_path / "a.npz")
    lengths = np.array([3, 1, 2, 2])
    assert record["nnz_per_row"] == 8 / 5
    assert record["flops_per_document"] == pytest.approx((lengths**2).sum() / 25)
    assert record["suboptimality_ratio"] == pytest.approx(4 * (lengths**2).sum() / 64)
    assert record["query_us"] > 0


def test_dense_work_is_every_dimension(read_json, tmp_path):
    write_dense(tmp_path / "a.npy", ROWS, Catalog(n=5, labels=LABELS))
    record = read_json("evaluate", tmp_path / "a.npy")
    assert (record["flops_per_document"], record["nnz_per_row"], record["bytes_per_document"]) == (4, 4, 16)


def test_the_table_has_a_line_for_each_figure(gossamer, embeddings):
    output = gossamer("evaluate", embeddings).stdout
    for name in (
        "hit rate at 1",
        "hit rate at 5",
        "hit rate at 10",
        "precision at 10",
        "flops per document",
        "query us",
    ):
        assert name in output


def test_a_gallery_of_another_model_is_refused(gossamer, written):
    result = gossamer("evaluate", written("a"), "--gallery", written("b", fingerprint="m2"), status=2)
    assert "expected embeddings of model m2; got those of model m1" in result.stderr


def test_sparse_and_dense_are_not_mixed(gossamer, tmp_path):
    rows = SparseEmbeddings.from_dense(ROWS)
    write_sparse(tmp_path / "a.npz", rows, Catalog(n=5, labels=LABELS))
    write_dense(tmp_path / "b.npy", ROWS, Catalog(n=5, labels=LABELS))
    result = gossamer("evaluate", tmp_path / "a.npz", "--gallery", tmp_path / "b.npy", status=2)
    assert "one is sparse, one dense" in result.stderr


def test_embeddings_without_labels_or_right_answers_are_failures(gossamer, tmp_path):
    rows = SparseEmbeddings.from_dense(ROWS)
    write_sparse(tmp_path / "a.npz", rows, Catalog(n=5))
    assert "expected labels" in gossamer("evaluate", tmp_path / "a.npz", status=1).stderr
    write_sparse(tmp_path / "b.npz", rows, Catalog(n=5, labels=np.array(list("abcde"))))
    assert "labels: expected" in gossamer("evaluate", tmp_path / "b.npz", status=1).stderr


def test_another_kind_of_file_is_a_usage_error(gossamer, tmp_path):
    (tmp_path / "a.txt").write_text("1 2 3")
    assert "expected a .npz (sparse) or .npy (dense)" in gossamer("evaluate", tmp_path / "a.txt", status=2).stderr
