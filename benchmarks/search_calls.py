"""Time what surrounds the window scan: batches, threads, subsets, and the cost of a call itself.

Prints the record that it appends to benchmarks/results/search_calls.jsonl. Times are medians of rounds in turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import records
import vectors

from gossamer import InvertedIndex, SparseEmbeddings
from gossamer.index import searching

N_ROUNDS = 5
N_BATCHES_BEFORE = 8  # of all queries, among a subset that is asked for a long time
SHARES = (0.5, 0.1, 0.01, 0.001, 0.0001)


@numba.njit(nogil=True)
def busy(n: int) -> float:
    total = 0.0
    for i in range(n):
        total = total * 0.99 + i
    return total


def seconds(function: Callable) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def busy_gain() -> float:
    """Return how much faster two threads do two loops than one thread does, on this machine, now."""
    busy(1)
    alone = seconds(lambda: busy(30_000_000))
    with ThreadPoolExecutor(2) as pool:
        return 2 * alone / seconds(lambda: list(pool.map(busy, [30_000_000] * 2)))


def medians_in_turns(actions: dict[str, Callable[[], float]], n_rounds: int = N_ROUNDS) -> dict[str, float]:
    for action in actions.values():
        action()
    rounds = [{name: action() for name, action in actions.items()} for _ in range(n_rounds)]
    return {name: statistics.median(times[name] for times in rounds) for name in actions}


def microseconds_of_calls(rows: SparseEmbeddings, k: int) -> dict[str, float]:
    """Return what one call takes beyond its kernel, on an index so small that the kernel takes a microsecond or two."""
    index, one = InvertedIndex.build(rows[:5]), rows[:1]
    csr = one.to_scipy()
    index.search(one, k)
    original, captured = searching._kernels, []
    searching._kernels = lambda: (lambda *call: captured.append(call), *original()[1:])
    index.search(one, k)
    searching._kernels = original
    ((kernel, *arguments),) = captured
    actions = {
        "kernel": lambda: kernel(*arguments),
        "embeddings": lambda: index.search(one, k),
        "csr": lambda: index.search(csr, k),
    }
    times = {name: statistics.median(seconds(action) for _ in range(5000)) * 1e6 for name, action in actions.items()}
    return {f"{name}_overhead_us": round(times[name] - times["kernel"], 2) for name in ("embeddings", "csr")}


def measure(n: int, dim: int, nnz: int, *, k: int, n_queries: int, seed: int) -> dict:
    documents, queries = vectors.uniform(n, dim, nnz, seed=seed), vectors.uniform(n_queries, dim, nnz, seed=seed + 1)
    index = InvertedIndex.build(documents)
    rows = [queries[i : i + 1] for i in range(n_queries)]
    rng = np.random.default_rng(seed)
    subsets = {share: np.sort(rng.choice(n, int(share * n), replace=False)).astype(np.int32) for share in SHARES}
    constant = {share: doc_ids.copy() for share, doc_ids in subsets.items()}
    for doc_ids in constant.values():
        doc_ids.flags.writeable = False  # looked at once

    def each(rows: list[SparseEmbeddings], **options) -> Callable[[], float]:
        return lambda: seconds(lambda: [index.search(row, k, **options) for row in rows]) / len(rows) * 1e6

    def later(within: np.ndarray) -> Callable[[], float]:
        def search() -> float:
            for _ in range(N_BATCHES_BEFORE):  # until it has lists of its own, if they pay
                index.search(queries, k, within=within)
            return each(rows[::5], within=within)()

        return search

    def together(**options) -> Callable[[], float]:
        return lambda: seconds(lambda: index.search(queries, k, **options)) / n_queries * 1e6

    actions = {"one_by_one": each(rows), "batch": together(), "batch_2_threads": together(n_threads=2)}
    actions["busy_gain"] = busy_gain
    for share, within in subsets.items():
        actions[f"one_by_one_within_{share}"] = each(rows[::5], within=within)
        actions[f"one_by_one_within_constant_{share}"] = each(rows[::5], within=constant[share])
        actions[f"one_by_one_within_constant_{share}_later"] = later(constant[share])
        actions[f"batch_within_{share}"] = together(within=within)
    found = medians_in_turns(actions)
    gain = found["batch"] / found["batch_2_threads"]
    return {
        "benchmark": "search_calls",
        "data": "uniform",
        "n": n,
        "dim": dim,
        "nnz": nnz,
        "k": k,
        "n_queries": n_queries,
        "us_per_query": {name: round(value, 1) for name, value in found.items() if name != "busy_gain"},
        "batch_over_one_by_one": round(found["batch"] / found["one_by_one"], 3),
        "gain_of_2_threads": round(gain, 3),
        "gain_of_2_busy_loops": round(found["busy_gain"], 3),
        **microseconds_of_calls(queries, k),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1_000_000, help="documents")
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--nnz", type=int, default=16, help="nonzeros per row")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    record = measure(
        options.n, options.dim, options.nnz, k=options.k, n_queries=options.queries, seed=options.seed
    )  # fmt: skip
    records.append(record, seed=options.seed)


if __name__ == "__main__":
    main()
