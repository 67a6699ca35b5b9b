"""Records of benchmarks: on what a figure was measured, and the file that it is appended to."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numba
import numpy as np

RESULTS = Path(__file__).parent / "results"
_NO_RECORDS = ":(top,exclude)benchmarks/results"


def append(record: dict, *, seed: int, is_quiet: bool = False) -> None:
    """Append the record with the machine and the commit to results/BENCHMARK.jsonl, and print it unless quiet."""
    record |= {
        "cpu": cpu_model(),
        "n_cpus": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "commit": commit(),
        "seed": seed,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{record['benchmark']}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    if not is_quiet:
        print(json.dumps(record, indent=2))


def cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def commit() -> str | None:
    """Return the commit, with "-dirty" if a tracked file other than a record differs from it."""
    described = _git("describe", "--always")
    return described and described + "-dirty" * bool(_git("status", "--porcelain", "-uno", "--", ":/", _NO_RECORDS))


def _git(*arguments: str) -> str | None:
    run = subprocess.run(["git", *arguments], cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    return run.stdout.strip() or None
