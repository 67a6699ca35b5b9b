"""FAISS over the dense vectors of the same items: what the items cost to search without sparse codes.

The recall of these engines is counted against the exact dense top 10, that of sparse engines against the exact
sparse one.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


class Faiss:
    """One index of FAISS, on one thread."""

    settings: tuple[str, ...] = ("exact",)
    n_timed: int | None = None
    is_swept = True
    parameter = ""

    def __init__(self, documents: NDArray[np.float32], queries: NDArray[np.float32]) -> None:
        self.documents, self.queries = documents, [queries[i : i + 1] for i in range(len(queries))]

    def warm_up(self) -> None:
        pass

    def build(self) -> None:
        import faiss

        self.index = self.make(faiss, self.documents.shape[1])
        if not self.index.is_trained:
            self.index.train(self.documents[:: max(1, len(self.documents) // 100_000)])
        self.index.add(self.documents)
        faiss.omp_set_num_threads(1)

    def searcher(self, setting: str) -> Callable:
        import faiss

        index, queries = self.index, self.queries
        if self.parameter:
            faiss.ParameterSpace().set_index_parameter(index, self.parameter, float(setting.split()[1]))
        return lambda i: index.search(queries[i], 10)

    def doc_ids(self, found) -> list[int]:
        return [int(doc_id) for doc_id in found[1][0] if doc_id >= 0]

    def size_bytes(self) -> int:
        import faiss

        return int(faiss.serialize_index(self.index).nbytes)

    def remark(self) -> str:
        return f"dense, d {self.documents.shape[1]}"


class Flat(Faiss):
    """Every vector, exactly."""

    is_swept = False
    n_timed = 40

    def make(self, faiss, dim: int):
        return faiss.IndexFlatIP(dim)


class Hnsw(Faiss):
    """A graph: 32 neighbours, 100 candidates when building."""

    parameter = "efSearch"
    settings = tuple(f"efSearch {ef}" for ef in (10, 20, 40, 80, 160, 320, 640, 1280))

    def make(self, faiss, dim: int):
        index = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 100
        return index


class IvfPq(Faiss):
    """2,048 cells; a code of 8 bits for every 4 dimensions; every 5th vector or so to train on."""

    parameter = "nprobe"
    settings = tuple(f"nprobe {n}" for n in (1, 2, 4, 8, 16, 32, 64, 128))

    def make(self, faiss, dim: int):
        return faiss.index_factory(dim, f"IVF2048,PQ{dim // 4}", faiss.METRIC_INNER_PRODUCT)
