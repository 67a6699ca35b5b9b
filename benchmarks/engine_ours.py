"""Gossamer as the benchmark of engines runs it: each plan, each effort, batches, the prediction of cost, the disk."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from data_sets import DataSet, K

from gossamer import InvertedIndex

PLANS = ("auto", "scan", "block-max", "split")
EFFORTS = (0.9, 0.7, 0.5)
EXACT = "exact"


class Gossamer:
    """`InvertedIndex`, built for one plan and searched as a user does."""

    n_timed = None
    is_swept = False  # every setting is reported

    def __init__(self, data: DataSet, plan: str) -> None:
        self.data, self._options = data, {"plan": plan}
        self.settings = (EXACT,)
        if plan == "auto":
            self.settings += tuple(f"effort {effort}" for effort in EFFORTS)
        self.n_batch = len(data.queries)
        self._rows = [data.queries[i : i + 1] for i in range(len(data.queries))]

    def warm_up(self) -> None:
        """Compile, or read what was compiled before: it is no part of the time to build."""
        # Of few rows blocks may not be worth trying, so that they would be compiled while many are indexed.
        for plan in {self._options["plan"], "block-max"}:
            small = InvertedIndex.build(self.data.documents[:5000], plan=plan)
            small.search(self._rows[0], K)
            small.search(self.data.queries[:20], K)

    def build(self) -> None:
        self.index = InvertedIndex.build(self.data.documents, **self._options)

    def searcher(self, setting: str) -> Callable:
        index, rows = self.index, self._rows
        if setting == EXACT:
            return lambda i: index.search(rows[i], K)
        effort = float(setting.removeprefix("effort "))
        return lambda i: index.search(rows[i], K, effort=effort)

    def doc_ids(self, found) -> list[int]:
        return [int(doc_id) for doc_id in found.doc_ids[0] if doc_id >= 0]

    def batch(self, n_threads: int) -> None:
        self.index.search(self.data.queries, K, n_threads=n_threads)

    def expected_us(self, n: int) -> list[float]:
        """Return the predicted microseconds of the first n queries."""
        return [float(us) for us in self.index.expected_cost(self.data.queries[:n]).microseconds]

    def size_bytes(self) -> int:
        return self.index.size_bytes

    def disk_bytes(self) -> int:
        with tempfile.TemporaryDirectory() as folder:
            self.index.save(Path(folder) / "index")
            return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())

    def remark(self) -> str:
        """Return the plan that the index chose, if it says."""
        return self.index.layout.plan
