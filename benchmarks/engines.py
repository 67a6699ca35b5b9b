"""Compare engines on the same queries: one process each, one thread pinned to one CPU, in turns, never two at once.

Appends one record for each engine and setting to benchmarks/results/engines.jsonl; `engine_report.py` makes the tables
and the figure of docs/benchmarks.md from the last run. The time of a query is its median over the rounds, p50 the
median of those. Recall counts scores: what an engine found is right if its score, computed anew in float64, is at
least the exact 10th best less 0.001 (`recall`; `recall_strict`: less 0.000001).
"""

import argparse
import json
import os
import subprocess
import sys
import uuid
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import data_sets
import exact_scores
import numpy as np
import records
from data_sets import N_TIMED, SEED, K
from engine_ours import PLANS

from gossamer.metrics import flops_per_document

SUBSET = 200_000  # documents for engines that build too slowly for all
TOLERANCE, STRICT = 1e-3, 1e-6
SLICE = 100
N_PILOTS = 100  # queries that a setting is tried on first
OURS = ("gossamer", *(f"gossamer {plan}" for plan in PLANS[1:]))
SPARSE = (*OURS, "sindi", "seismic", "sparse_dot_topn", "scipy")
ON_SUBSET = ("gossamer", "kannolo")
DENSE = ("faiss flat", "faiss HNSW", "faiss IVF-PQ")
OURS_AND_SINDI_ONLY = ("positive", "identities-4m")  # beside another set, for one ratio each


class Worker:
    """An engine in its process, built and waiting."""

    def __init__(self, engine: str, data_name: str, n_docs: int, cpu: int) -> None:
        self.engine, self.n_docs = engine, n_docs
        command = [sys.executable, str(Path(__file__).with_name("engine_worker.py")), engine, data_name]
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")} if engine == "scipy" else {}
        self._process = subprocess.Popen(
            [*command, str(n_docs), str(cpu)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | threads,
        )  # fmt: skip
        self.built = self.answer()

    def ask(self, what: str, **request) -> dict:
        self.request(what, **request)
        return self.answer()

    def request(self, what: str, **request) -> None:
        self._process.stdin.write(json.dumps({"do": what, **request}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.engine}: the process ended with {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


class Contest:
    """The engines of one data set, and what they have answered."""

    def __init__(self, name: str, engines: list[str] | None, run: dict) -> None:
        self.name, self.run = name, run
        self.data = data_sets.load(name)
        self.cpu = max(os.sched_getaffinity(0))
        wanted = [(engine, 0) for engine in (("gossamer", "sindi") if name in OURS_AND_SINDI_ONLY else SPARSE)]
        if len(self.data.documents) > SUBSET and name not in OURS_AND_SINDI_ONLY:
            wanted += [(engine, SUBSET) for engine in ON_SUBSET]
        elif name not in OURS_AND_SINDI_ONLY:
            wanted += [("kannolo", 0)]
        wanted += [("seismic full", 0)] if name == "splade" else []
        wanted += [(engine, 0) for engine in DENSE if name in data_sets.WITH_DENSE]
        self.wanted = [pair for pair in wanted if engines is None or pair[0] in engines]
        self.workers: list[Worker] = []
        self.jobs: list[tuple[Worker, str, dict]] = []

    def start(self) -> None:
        for engine, n_docs in self.wanted:
            worker = Worker(engine, self.name, n_docs, self.cpu)
            self.workers.append(worker)
            print(f"{self.name}: {engine} built in {worker.built['build_s']} s", file=sys.stderr)
            self._choose_settings(worker)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()

    def _choose_settings(self, worker: Worker) -> None:
        """Keep all settings, or of many the fastest at a recall of 0.999 and at one of 0.99."""
        exact = self._exact_scores(worker)
        last, tried = worker.built["n_timed"] or N_TIMED, []
        n_pilots = N_PILOTS if worker.built["is_swept"] else last
        for setting in worker.built["settings"]:
            tried.append(self._try(worker, setting, n_pilots, exact))
        sweep = [[job["setting"], round(job["recall"], 5), round(job["us"], 1)] for job in tried]
        if worker.built["is_swept"]:
            tried.sort(key=lambda job: job["us"])
            kept = [self._fastest(worker, tried, recall, last, exact) for recall in (0.999, 0.99)]
            if not any(kept):
                best = max(tried, key=lambda job: job["recall"])
                kept = [self._try(worker, best["setting"], last, exact)]
            tried = list({job["setting"]: job for job in kept if job}.values())
        self.jobs += [(worker, job["setting"], {**job, "last": last, "sweep": sweep}) for job in tried]

    def _fastest(self, worker: Worker, tried: list[dict], recall: float, last: int, exact: Callable) -> dict | None:
        """Return the fastest setting that reaches the recall on all timed queries, judged by a pilot first."""
        for job in tried:
            if job["recall"] >= recall - 0.002:  # a pilot is a sample
                found = self._try(worker, job["setting"], last, exact)
                if found["recall"] >= recall:
                    return found
        return None

    def _try(self, worker: Worker, setting: str, last: int, exact: Callable) -> dict:
        answers = worker.ask("ask", setting=setting, first=0, last=last, answers=True)
        margins = [exact(i, np.array(doc_ids, np.int64)) for i, doc_ids in enumerate(answers["doc_ids"])]
        recall, strict = (
            float(np.mean([min(int((margin >= -allowed).sum()), K) / K for margin in margins]))
            for allowed in (TOLERANCE, STRICT)
        )
        us = float(np.median(answers["us"]))
        return {"setting": setting, "us": us, "recall": recall, "strict": strict, "cpus": answers["cpus"]}

    def _exact_scores(self, worker: Worker) -> Callable:
        """Return a function of a query and what was found: exact scores less the exact 10th best."""
        if worker.engine in DENSE:
            documents, queries = data_sets.load_dense(self.name)
            dense_kth = exact_scores.dense_kth_scores(self.name)
            return lambda i, doc_ids: documents[doc_ids] @ queries[i] - dense_kth[i]
        data = self.data._replace(documents=self.data.documents[: worker.n_docs or None])
        kth = exact_scores.kth_scores(self.name, data)
        return lambda i, doc_ids: exact_scores.scores_of(data, i, doc_ids) - kth[i]

    def take_turns(self, n_rounds: int) -> None:
        times = defaultdict(list)
        for _ in range(n_rounds):
            us = defaultdict(list)
            for first in range(0, N_TIMED, SLICE):
                for at, (worker, setting, job) in enumerate(self.jobs):
                    last = min(first + SLICE, job["last"])
                    if first < last:
                        us[at] += worker.ask("ask", setting=setting, first=first, last=last, answers=False)["us"]
            for at, found in us.items():
                times[at].append(found)
        for at, rounds in times.items():
            self.jobs[at][2]["times"] = np.median(rounds, axis=0)

    def records(self) -> list[dict]:
        return [self._record(*job) for job in self.jobs]

    def _record(self, worker: Worker, setting: str, job: dict) -> dict:
        documents = self.data.documents[: worker.n_docs or None]
        p50, p95, p99 = (round(float(us), 1) for us in np.percentile(job["times"], [50, 95, 99]))
        record = {
            "benchmark": "engines", **self.run, "data": self.name, "engine": worker.engine, "setting": setting,
            "n": len(documents), "dim": documents.dim, "nnz": round(documents.nnz / len(documents), 2), "k": K,
            "n_queries": job["last"], "recall": round(job["recall"], 5), "recall_strict": round(job["strict"], 5),
            "flops_per_document": round(flops_per_document(self.data.queries[:N_TIMED], documents), 4),
            "p50_us": p50, "p95_us": p95, "p99_us": p99, "mean_us": round(float(job["times"].mean()), 1),
            "cpus_used": job["cpus"], "threads": 1, "sweep": job["sweep"],
        }  # fmt: skip
        for key in ("build_s", "size_bytes", "build_peak_bytes", "csr_bytes", "disk_bytes", "remark"):
            record[key] = worker.built[key]
        if worker.engine.startswith("gossamer") and setting == "exact":
            record["disk_bytes_per_nonzero"] = round(record["disk_bytes"] / max(1, documents.nnz), 2)
            record["build_peak_over_csr"] = round(record["build_peak_bytes"] / record["csr_bytes"], 2)
            if (expected := worker.ask("expect", last=job["last"])["us"]) is not None:
                errors = np.abs(np.array(expected) / job["times"] - 1)
                record["expected_median_error"] = round(float(np.median(errors)), 3)
        return record

    def batches(self, n_rounds: int) -> list[dict]:
        """Time queries as one batch, on one thread and on two, beside what two busy loops gain."""
        workers = [w for w in self.workers if w.built["n_batch"] and not w.n_docs and w.engine not in OURS[1:]]
        loops = [Worker("busy", self.name, 0, cpu) for cpu in sorted(os.sched_getaffinity(0))[-2:]]
        found = []
        for worker in workers:
            rounds = [self._batch_round(worker, loops) for _ in range(n_rounds)]
            alone, batch, two_threads, busy = (float(np.median(column)) for column in zip(*rounds, strict=True))
            found.append({
                "benchmark": "engines", **self.run, "data": self.name, "engine": worker.engine, "setting": "batch",
                "n": len(self.data.documents), "k": K, "n_queries": worker.built["n_batch"], "threads": 1,
                "us_per_query": round(batch, 1), "over_one_by_one": round(batch / alone, 3),
                "gain_of_2_threads": round(batch / two_threads, 3), "gain_of_2_busy_loops": round(busy, 3),
            })  # fmt: skip
        for loop in loops:
            loop.close()
        return found

    def _batch_round(self, worker: Worker, loops: list[Worker]) -> tuple[float, float, float, float]:
        """Return the microseconds a query one by one, in a batch, in a batch on two threads; and the loops' gain."""
        n = worker.built["n_batch"]
        one_by_one = worker.ask("ask", setting="exact", first=0, last=n, answers=False)["us"]
        batch, two_threads = (worker.ask("batch", n_threads=threads)["seconds"] * 1e6 / n for threads in (1, 2))
        alone = loops[0].ask("busy")["seconds"]
        for loop in loops:
            loop.request("busy")
        gain = len(loops) * alone / max([loop.answer()["seconds"] for loop in loops])
        return float(np.mean(one_by_one)), batch, two_threads, gain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=data_sets.NAMES, default=data_sets.NAMES)
    parser.add_argument("--engines", nargs="+", help=f"of {', '.join((*SPARSE, 'kannolo', *DENSE))}; all if not given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--run", help="the id of an earlier run, whose records these complete or replace")
    parser.add_argument("--dry", action="store_true", help="print the records, and do not append them")
    options = parser.parse_args()
    run = {"run": options.run or uuid.uuid4().hex[:8], "rounds": options.rounds}
    for name in options.data:
        contest = Contest(name, options.engines, run)
        contest.start()
        contest.take_turns(options.rounds)
        report(contest.records(), is_dry=options.dry)
        if name not in OURS_AND_SINDI_ONLY:
            report(contest.batches(options.rounds), is_dry=options.dry)
        contest.close()


def report(found: list[dict], *, is_dry: bool) -> None:
    shown = "p50_us", "p95_us", "recall", "us_per_query", "build_s"
    for record in found:
        print(*(record[key] for key in ("data", "engine", "setting")), {k: record[k] for k in shown if k in record})
        if not is_dry:
            records.append(record, seed=SEED, is_quiet=True)


if __name__ == "__main__":
    main()
