"""Time how soon a search is answered: after `InvertedIndex.open` in a warm process, and from the start of a process.

Saves an index of a million rows, opens it anew in each round, and asks one query; then starts processes that import
gossamer, open the index and ask, with compiled kernels in the cache. Prints the record that it appends to
benchmarks/results/first_answer.jsonl. Times are medians of the rounds.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import records
import vectors

from gossamer import InvertedIndex, SparseEmbeddings

N_ROUNDS = 7

PROCESS = """
import sys
from gossamer import InvertedIndex, SparseEmbeddings
query = SparseEmbeddings([0, 2], [3, 700], [0.5, 0.5], dim=1024)
found = InvertedIndex.open(sys.argv[1]).search(query, k=10)
assert found.doc_ids.shape == (1, 10)
"""


def seconds_in_this_process(folder: Path, query: SparseEmbeddings) -> float:
    start = time.perf_counter()
    InvertedIndex.open(folder).search(query, k=10)
    return time.perf_counter() - start


def seconds_of_a_process(folder: Path, program: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=10**6)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = vectors.identities(arguments.documents, 1024, arguments.documents // 50, 10, seed=arguments.seed)
    documents, queries = rows[0], rows[1]
    with tempfile.TemporaryDirectory() as parent:
        for plan in ("scan", "block-max"):
            folder = Path(parent) / plan
            index = InvertedIndex.build(documents, plan=plan)
            index.save(folder)
            index.search(queries[:1], k=10)
            seconds_of_a_process(folder, PROCESS)  # compiles what another process would find in the cache
            opened = [seconds_in_this_process(folder, queries[i % 10 : i % 10 + 1]) for i in range(N_ROUNDS)]
            started = [seconds_of_a_process(folder, PROCESS) for _ in range(N_ROUNDS)]
            records.append(
                {
                    "benchmark": "first_answer",
                    "plan": plan,
                    "n_docs": len(documents),
                    "dim": documents.dim,
                    "nnz": documents.nnz,
                    "ms_from_open": round(statistics.median(opened) * 1e3, 2),
                    "s_from_start_of_process": round(statistics.median(started), 3),
                    "s_of_an_empty_process": round(seconds_of_a_process(folder, "pass"), 3),
                    "rounds": N_ROUNDS,
                },
                seed=arguments.seed,
            )


if __name__ == "__main__":
    main()
