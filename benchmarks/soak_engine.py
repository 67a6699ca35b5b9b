"""Compare 200,000 searches, of every kind of rows under every plan, with the reference: ids and scores, to the bit.

A case is one query under one index and one setting; the cases are those of the tests, from other seeds. Prints what
differs, with the command that repeats it, and appends a record to benchmarks/results/soak_engine.jsonl. Exits with 1 if
anything differs.
"""

import argparse
import itertools
import multiprocessing
import os
import sys
import time
from collections import Counter
from pathlib import Path

import records
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from search_cases import Outcome, compare_searches

N_CASES = 200_000
_SEEDS_PER_TASK = 20
_MOST_PRINTED = 20


def outcome_of(seed: int) -> tuple[int, Outcome]:
    """Return the outcome of the searches that are drawn from a seed; an error is a failure too."""
    try:
        return seed, compare_searches(seed)
    except Exception as error:
        return seed, Outcome("unknown", 0, f"seed {seed}: {type(error).__name__}: {error}")


def run(n_cases: int, seed: int, n_processes: int) -> dict:
    """Compare at least ``n_cases`` and return the record."""
    console, start = Console(), time.perf_counter()
    columns = BarColumn(), MofNCompleteColumn(), TextColumn("cases"), TimeElapsedColumn(), TimeRemainingColumn()
    failures, kinds, n_indexes = [], Counter(), 0
    compare_searches(seed)  # compiles in one process what the others find in the cache
    with multiprocessing.get_context("spawn").Pool(n_processes) as pool, Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=n_cases)
        while kinds.total() < n_cases:
            seeds = itertools.islice(itertools.count(seed + n_indexes), n_processes * 10 * _SEEDS_PER_TASK)
            for own_seed, outcome in pool.imap_unordered(outcome_of, seeds, _SEEDS_PER_TASK):
                n_indexes += 1
                kinds[outcome.kind] += outcome.n_cases
                bar.update(task, completed=min(kinds.total(), n_cases))
                if outcome.failure:
                    failures.append(own_seed)
                    if len(failures) <= _MOST_PRINTED:
                        console.print(
                            f"[red]{outcome.failure}[/]\n  python benchmarks/soak_engine.py --only {own_seed}"
                        )
    return {
        "benchmark": "soak_engine",
        "n_cases": kinds.total(),
        "n_indexes": n_indexes,
        "n_failures": len(failures),
        "failing_seeds": sorted(failures)[:_MOST_PRINTED],
        "cases_of_kinds": dict(sorted(kinds.items())),
        "processes": n_processes,
        "seconds": round(time.perf_counter() - start, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=N_CASES)
    parser.add_argument("--seed", type=int, default=1_000_000, help="the first one; an index takes one")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", type=int, metavar="SEED", help="repeat the searches of one seed")
    arguments = parser.parse_args()
    if arguments.only is not None:
        outcome = compare_searches(arguments.only)
        print(outcome.failure or f"{outcome.n_cases} cases of {outcome.kind} are equal")
        sys.exit(outcome.failure is not None)
    record = run(arguments.cases, arguments.seed, arguments.processes)
    records.append(record, seed=arguments.seed)
    sys.exit(record["n_failures"] > 0)


if __name__ == "__main__":
    main()
