"""Time sparse and exhaustive search of ever larger collections, to see from which size on sparse search pays.

Documents and queries are learned embeddings of Omniglot (see omniglot_codes.py), sparse and dense ones of the same
images, drawn at random. Prints the records that it appends to benchmarks/results/small_collections.jsonl.
"""

import argparse

import data_sets
import numpy as np
import records

from gossamer import InvertedIndex
from gossamer.baselines.exhaustive import ExhaustiveSearcher
from gossamer.study.evaluation import search_in_turns

SIZES = (30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)
N_ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sparse, dense = data_sets.load("omniglot"), data_sets.load_dense("omniglot")
    drawn = np.random.default_rng(options.seed).permutation(len(dense[0]))
    queries, vectors = sparse.queries[: options.queries], dense[1][: options.queries]
    for size in SIZES:
        kept = np.sort(drawn[:size])
        index, exhaustive = InvertedIndex.build(sparse.documents[kept]), ExhaustiveSearcher(dense[0][kept])
        searchers = {"sparse": (index, queries), "exhaustive": (exhaustive, vectors)}
        timed = search_in_turns(searchers, options.k, rounds=N_ROUNDS)
        found = {name: round(float(np.median(each.query_us)), 1) for name, each in timed.items()}
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
