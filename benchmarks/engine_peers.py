"""Other engines for sparse vectors, each called as its own documentation does, with as little around it as possible."""

import json
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
from data_sets import DataSet, K
from scipy import sparse


class Peer:
    """What the engines have in common: the queries as pairs of dimensions and values."""

    settings: tuple[str, ...] = ("exact",)
    n_timed: int | None = None
    is_swept = False
    """Whether only the fastest settings at a recall of 0.999 and of 0.99 are reported."""

    def __init__(self, data: DataSet) -> None:
        self.data = data
        rows = (data.queries[i : i + 1] for i in range(len(data.queries)))
        self.queries = [(row.dims.copy(), row.values.copy()) for row in rows]

    def warm_up(self) -> None:
        pass

    def size_bytes(self) -> int | None:
        return None

    def remark(self) -> str:
        return ""


class Sindi(Peer):
    """VSAG's SINDI, float32, without any pruning: exact."""

    def build(self) -> None:
        import pyvsag

        documents = self.data.documents
        settings = {
            "term_id_limit": documents.dim, "window_size": 50_000, "use_reorder": False, "doc_prune_ratio": 0.0,
            "use_quantization": False,
        }  # fmt: skip
        kind = {"dtype": "sparse", "metric_type": "ip", "dim": documents.dim, "index_param": settings}
        self.index = pyvsag.Index("sindi", json.dumps(kind))
        self.index.build(
            index_pointers=documents.indptr.astype(np.uint32),
            indices=documents.dims.astype(np.uint32),
            values=documents.values,
            ids=np.arange(len(documents), dtype=np.int64),
        )
        self.queries = [
            (np.array([0, dims.size], np.uint32), dims.astype(np.uint32), values) for dims, values in self.queries
        ]

    def searcher(self, setting: str) -> Callable:  # noqa: ARG002
        index, queries = self.index, self.queries
        how = json.dumps({"sindi": {"query_prune_ratio": 0.0, "term_prune_ratio": 0.0, "n_candidate": 0}})
        return lambda i: index.knn_search(*queries[i], K, how)

    def doc_ids(self, found) -> list[int]:
        return [int(doc_id) for doc_id in np.ravel(found[0])]


class Seismic(Peer):
    """Seismic: approximate. As many postings a list as the data have in the mean; longer lists lose the smallest."""

    is_swept = True
    settings = tuple(f"cut {cut}, heap {heap}" for cut, heap in product((2, 3, 4, 6, 10, 20, 40), (0.7, 0.8, 0.9, 1.0)))

    def build(self) -> None:
        import seismic

        documents = self.data.documents
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "documents.bin"
            with path.open("wb") as file:
                file.write(np.uint32(len(documents)).tobytes())
                dims = documents.dims.astype(np.uint32)
                for start, end in zip(documents.indptr[:-1], documents.indptr[1:], strict=True):
                    file.write(np.uint32(end - start).tobytes())
                    file.write(dims[start:end].tobytes() + documents.values[start:end].tobytes())
            self.index = seismic.SeismicIndexRaw.build(str(path), n_postings=self.n_postings())

    def n_postings(self) -> int:
        documents = self.data.documents
        return max(1, documents.nnz // np.unique(documents.dims).size)

    def searcher(self, setting: str) -> Callable:
        index, queries = self.index, self.queries
        cut, heap = (float(part.split()[1]) for part in setting.split(","))
        return lambda i: index.search(*queries[i], K, int(cut), heap, 0, True)

    def doc_ids(self, found) -> list[int]:
        return [int(doc_id) for _, doc_id in found]


class SeismicFull(Seismic):
    """Seismic with every posting in its lists: for dimensions so uneven that cutting the long ones costs recall."""

    def n_postings(self) -> int:
        return int(np.bincount(self.data.documents.dims).max())


class Kannolo(Peer):
    """kANNolo's sparse HNSW: approximate."""

    is_swept = True
    settings = tuple(f"ef {ef}" for ef in (10, 20, 40, 80, 160, 320, 640, 1280))

    def build(self) -> None:
        import kannolo

        documents = self.data.documents
        self.index = kannolo.SparsePlainHNSW.build_from_arrays(
            documents.dims, documents.values, documents.indptr, m=16, ef_construction=100
        )

    def searcher(self, setting: str) -> Callable:
        index, queries, ef = self.index, self.queries, int(setting.removeprefix("ef "))
        return lambda i: index.search(*queries[i], K, ef)

    def doc_ids(self, found) -> list[int]:
        return [int(doc_id) for doc_id in found[1]]

    def size_bytes(self) -> int:
        return int(self.index.space_usage_bytes())


class SparseDotTopn(Peer):
    """sparse_dot_topn: the product of query rows and document columns that keeps the best of each row."""

    n_timed = n_batch = 100

    def build(self) -> None:
        self.columns = _writable_csr(self.data.documents.to_scipy().T.tocsr())  # CSR of the transpose
        self.all_rows = _writable_csr(self.data.queries.to_scipy())
        self.rows = [self.all_rows[i] for i in range(self.all_rows.shape[0])]

    def searcher(self, setting: str) -> Callable:  # noqa: ARG002
        from sparse_dot_topn import sp_matmul_topn

        return lambda i: sp_matmul_topn(self.rows[i], self.columns, top_n=K, sort=True)

    def doc_ids(self, found) -> list[int]:
        return [int(doc_id) for doc_id in found.indices]

    def batch(self, n_threads: int) -> None:
        from sparse_dot_topn import sp_matmul_topn

        sp_matmul_topn(
            self.all_rows[: self.n_batch],
            self.columns,
            top_n=K,
            sort=True,
            n_threads=n_threads if n_threads > 1 else None,
        )


class Scipy(Peer):
    """scipy: all documents, as CSR, times one dense query; then the best of the scores."""

    n_timed = 40

    def build(self) -> None:
        self.rows = self.data.documents.to_scipy()
        self.vectors = self.data.queries[: self.n_timed].to_dense()

    def searcher(self, setting: str) -> Callable:  # noqa: ARG002
        return lambda i: np.argpartition(self.rows @ self.vectors[i], -K)[-K:]

    def doc_ids(self, found) -> list[int]:
        return [int(doc_id) for doc_id in found]

    def size_bytes(self) -> int:
        return self.rows.data.nbytes + self.rows.indices.nbytes + self.rows.indptr.nbytes


def _writable_csr(rows) -> sparse.csr_matrix:
    """Return what the bindings of sparse_dot_topn take: offsets and dimensions of one type, no array read-only."""
    arrays = rows.data.copy(), rows.indices.astype(np.int32), rows.indptr.astype(np.int32)
    return sparse.csr_matrix(arrays, shape=rows.shape)
