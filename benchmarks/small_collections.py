"""Time sparse and exhaustive search of ever larger collections, to see from which size on sparse search pays.

Documents and queries are learned embeddings of Omniglot (see omniglot_codes.py), sparse and dense ones of the same
images, drawn at random. Prints the records that it appends to benchmarks/results/small_collections.jsonl.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import data_sets
import numpy as np
import records

from gossamer import InvertedIndex
from gossamer.baselines.exhaustive import ExhaustiveSearcher

SIZES = (30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)
N_ROUNDS, TURN = 5, 50


def times_in_turns(searches: dict[str, Callable[[int], object]], n_queries: int) -> dict[str, float]:
    """Return the median time of a search by each, in microseconds; they take turns of some queries."""
    times: dict[str, list[float]] = {name: [] for name in searches}
    for number in range(N_ROUNDS + 1):  # the first to warm up
        for start in range(0, n_queries, TURN):
            for name, search in searches.items():
                for query in range(start, min(start + TURN, n_queries)):
                    began = time.perf_counter()
                    search(query)
                    if number:
                        times[name].append(time.perf_counter() - began)
    return {name: round(statistics.median(each) * 1e6, 1) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sparse, dense = data_sets.load("omniglot"), data_sets.load_dense("omniglot")
    drawn = np.random.default_rng(options.seed).permutation(len(dense[0]))
    rows = [sparse.queries[i : i + 1] for i in range(options.queries)]
    vectors = [dense[1][i : i + 1] for i in range(options.queries)]
    for size in SIZES:
        kept = np.sort(drawn[:size])
        index, exhaustive = InvertedIndex.build(sparse.documents[kept]), ExhaustiveSearcher(dense[0][kept])
        searches = {
            "sparse": lambda i, index=index: index.search(rows[i], options.k),
            "exhaustive": lambda i, exhaustive=exhaustive: exhaustive.search(vectors[i], options.k),
        }
        found = times_in_turns(searches, options.queries)
        record = {
            "benchmark": "small_collections",
            "data": "omniglot",
            "n": size,
            "dim": sparse.documents.dim,
            "nnz": round(sparse.documents.nnz / len(sparse.documents), 1),
            "dense_dim": dense[0].shape[1],
            "k": options.k,
            "plan": index.layout.plan,
            "us_per_query": found,
            "speed_up": round(found["exhaustive"] / found["sparse"], 2),
        }
        records.append(record, seed=options.seed)


if __name__ == "__main__":
    main()
