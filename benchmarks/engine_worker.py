"""One engine in a process of its own: builds, says what that took, then does what its standard input asks.

Usage: engine_worker.py ENGINE DATA N_DOCS CPU. Answers are JSON, one a line. While it builds, an engine may use every
CPU; after that all its threads are pinned to one.
"""

import contextlib
import ctypes
import json
import os
import sys
import time
from pathlib import Path

ALL_CPUS = os.sched_getaffinity(0)


def make_engine(name: str, data_name: str, n_docs: int):
    import data_sets

    if name.startswith("faiss"):
        import engine_dense

        kind = {"faiss flat": engine_dense.Flat, "faiss HNSW": engine_dense.Hnsw, "faiss IVF-PQ": engine_dense.IvfPq}
        return kind[name](*data_sets.load_dense(data_name)), 0
    data = data_sets.load(data_name)
    if n_docs:
        data = data._replace(documents=data.documents[:n_docs])
    csr_bytes = sum(array.nbytes for array in (data.documents.indptr, data.documents.dims, data.documents.values))
    if name.startswith("gossamer"):
        from engine_ours import Gossamer

        return Gossamer(data, name.removeprefix("gossamer").strip() or "auto"), csr_bytes
    import engine_peers as peers

    kind = {
        "sindi": peers.Sindi, "seismic": peers.Seismic, "seismic full": peers.SeismicFull, "kannolo": peers.Kannolo,
        "sparse_dot_topn": peers.SparseDotTopn, "scipy": peers.Scipy,
    }  # fmt: skip
    return kind[name](data), csr_bytes


def pin(cpus: set[int]) -> None:
    """Pin every thread of this process, those of libraries too."""
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # a thread of a pool that has just ended
            os.sched_setaffinity(int(task.name), cpus)


def resident_bytes(field: str) -> int:
    """Return VmRSS, what is resident now, or VmHWM, the most that was since `reset_peak`."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def reset_peak() -> None:
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def build(engine, csr_bytes: int) -> dict:
    engine.warm_up()
    reset_peak()
    before, start = resident_bytes("VmRSS"), time.perf_counter()
    engine.build()
    seconds = time.perf_counter() - start
    peak = resident_bytes("VmHWM") - before
    reset_peak()
    return {
        "build_s": round(seconds, 2),
        "build_peak_bytes": peak,
        "csr_bytes": csr_bytes,
        "size_bytes": engine.size_bytes() or resident_bytes("VmRSS") - before,
        "disk_bytes": engine.disk_bytes() if hasattr(engine, "disk_bytes") else None,
        "settings": engine.settings,
        "n_timed": engine.n_timed,
        "n_batch": getattr(engine, "n_batch", 0),
        "is_swept": engine.is_swept,
        "remark": engine.remark(),
    }


def ask(engine, request: dict) -> dict:
    """Time queries one by one, and return what was found if that is asked for."""
    search, clock = engine.searcher(request["setting"]), time.perf_counter_ns
    us, found, cpu_start, start = [], [], time.process_time(), clock()
    for i in range(request["first"], request["last"]):
        asked = clock()
        answer = search(i)
        us.append((clock() - asked) / 1e3)
        if request["answers"]:
            found.append(answer)
    cpus = (time.process_time() - cpu_start) / max((clock() - start) / 1e9, 1e-9)
    return {"us": us, "doc_ids": [engine.doc_ids(answer) for answer in found], "cpus": round(cpus, 2)}


def batch(engine, n_threads: int, cpu: int) -> dict:
    pin(ALL_CPUS if n_threads > 1 else {cpu})
    start = time.perf_counter()
    engine.batch(n_threads)
    seconds = time.perf_counter() - start
    pin({cpu})
    return {"seconds": seconds}


def busy() -> dict:
    """Do work that needs nothing but a CPU, for about a third of a second."""
    start, total = time.perf_counter(), 0
    for i in range(8_000_000):
        total += i & 3
    return {"seconds": time.perf_counter() - start}


def main() -> None:
    name, data_name, n_docs, cpu = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    # Libraries print to standard output; answers go where nobody else writes.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def answer(result: dict) -> None:
        answers.write(json.dumps(result) + "\n")
        answers.flush()

    engine = None
    if name == "busy":
        answer({})
    else:
        engine, csr_bytes = make_engine(name, data_name, n_docs)
        answer(build(engine, csr_bytes))
    pin({cpu})
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "ask":
            answer(ask(engine, request))
        elif request["do"] == "batch":
            answer(batch(engine, request["n_threads"], cpu))
        elif request["do"] == "expect":
            answer({"us": engine.expected_us(request["last"])})
        elif request["do"] == "busy":
            answer(busy())


if __name__ == "__main__":
    main()
