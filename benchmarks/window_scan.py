"""Time exact search by the window scan: one thread, one query at a time, as a user calls it.

Prints the record that it appends to benchmarks/results/window_scan.jsonl.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import records
import vectors

from gossamer import InvertedIndex, SparseEmbeddings
from gossamer.kernels import reference
from gossamer.metrics import flops_per_document, recall_at_k

N_ROUNDS = 5


def prototype_search(path: Path, documents: SparseEmbeddings, queries: SparseEmbeddings, k: int) -> Callable:
    """Return a function that searches for query i with the ``window_scan`` of a prototype file."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location("prototype", path)
    prototype = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prototype)
    lists = prototype.window_postings(documents.to_scipy())
    sums, scores, doc_ids = np.zeros(1 << 16, np.float32), np.zeros(k, np.float32), np.zeros(k, np.int32)
    rows = [(queries[i : i + 1].dims, queries[i : i + 1].values) for i in range(len(queries))]
    return lambda i: prototype.window_scan(
        *lists, len(documents), documents.dim, *rows[i], k, sums, scores, doc_ids
    )  # fmt: skip


def time_in_turns(searches: dict[str, Callable], n_queries: int) -> dict[str, list[float]]:
    """Return the milliseconds of every search, each engine asking another query, so that none finds warm lists."""
    times = {name: [] for name in searches}
    for search in searches.values():
        search(0)
    for turn in range(N_ROUNDS * n_queries):
        for shift, (name, search) in enumerate(searches.items()):
            query = (turn + shift * n_queries // 2) % n_queries
            start = time.perf_counter()
            search(query)
            times[name].append((time.perf_counter() - start) * 1e3)
    return times


def build_seconds(documents: SparseEmbeddings) -> float:
    start = time.perf_counter()
    InvertedIndex.build(documents, plan="scan")
    return time.perf_counter() - start


def measured_recall(index: InvertedIndex, documents: SparseEmbeddings, queries: SparseEmbeddings, k: int) -> float:
    exact = reference.search(
        (documents.indptr, documents.dims, documents.values), (queries.indptr, queries.dims, queries.values), k, 0.0
    )
    return recall_at_k(index.search(queries, k).doc_ids, exact[0], k)


def measure(n: int, dim: int, nnz: int, *, k: int, n_queries: int, seed: int, prototype: Path | None) -> dict:
    documents, queries = vectors.uniform(n, dim, nnz, seed=seed), vectors.uniform(n_queries, dim, nnz, seed=seed + 1)
    InvertedIndex.build(documents[:1000], plan="scan").search(queries[:1], k)  # compiles
    build_s = statistics.median(build_seconds(documents) for _ in range(3))
    index = InvertedIndex.build(documents, plan="scan")
    rows = [queries[i : i + 1] for i in range(n_queries)]
    searches: dict[str, Callable] = {"gossamer": lambda i: index.search(rows[i], k)}
    if prototype is not None:
        searches["prototype"] = prototype_search(prototype, documents, queries, k)
    times = time_in_turns(searches, n_queries)
    p50_ms, p95_ms = np.percentile(times["gossamer"], [50, 95])
    record = {
        "benchmark": "window_scan",
        "data": "uniform",
        "n": n,
        "dim": dim,
        "nnz": nnz,
        "k": k,
        "n_queries": n_queries,
        "recall_at_k": measured_recall(index, documents, queries[:5], k),
        "flops_per_document": round(flops_per_document(queries, documents), 4),
        "p50_ms": round(p50_ms, 4),
        "p95_ms": round(p95_ms, 4),
        "build_s": round(build_s, 3),
        "size_bytes": index.size_bytes,
        "threads": 1,
    }
    if prototype is not None:
        prototype_ms = statistics.median(times["prototype"])
        record |= {"prototype_p50_ms": round(prototype_ms, 4), "ratio_to_prototype": round(p50_ms / prototype_ms, 3)}
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1_000_000, help="documents")
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--nnz", type=int, default=16, help="nonzeros per row")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prototype", type=Path, help="a file whose window_scan is timed in turns with ours")
    options = parser.parse_args()
    record = measure(
        options.n,
        options.dim,
        options.nnz,
        k=options.k,
        n_queries=options.queries,
        seed=options.seed,
        prototype=options.prototype,
    )
    records.append(record, seed=options.seed)


if __name__ == "__main__":
    main()
