"""Run a study: measure every method for every seed, keep what is done, and write it up.

All methods of one seed, and number of distractors, are built and then timed in turns; their records are written
together. A study that was killed goes on with the first that has no records. A method that fails is recorded with
its reason, and the others go on.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import gossamer
from gossamer.errors import FormatError, OutputExistsError
from gossamer.files import replaced_file
from gossamer.study.config import StudyConfig
from gossamer.study.evaluation import Built, Timed, build_timed, search_in_turns
from gossamer.study.methods import EXHAUSTIVE, MethodConfig, Prepared, prepare
from gossamer.study.summary import write_summary
from gossamer.study.tasks import Task, make_task, read_vectors

_REHEARSED = 512
RECORDS, SETTINGS = "records.jsonl", "study.json"

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class StudyOutcome:
    """What a study found."""

    records: list[dict[str, Any]]
    """One for each method, seed and number of distractors, failed ones included."""
    n_resumed: int
    """How many of them were there before."""

    @property
    def failures(self) -> list[str]:
        """The method and the reason of each that failed."""
        return [f"{record['label']}: {record['error']}" for record in self.records if record["status"] == "failed"]


def run_study(config: StudyConfig, out: Path, *, on_progress: OnProgress | None = None) -> StudyOutcome:
    """Measure what a study's records lack, and write records, table, figure and page.

    Parameters
    ----------
    config : StudyConfig
        What to measure.
    out : Path
        The study's folder; made if it is not there.
    on_progress : callable, optional
        Called with what is being done, how much of it is done, and how much there is.

    Raises
    ------
    OutputExistsError
        If the folder is there and holds another study, or none.
    NotFoundError, FormatError, EmbeddingsError
        If the data cannot be read.
    DataError, ShapeError
        If there are too few rows or no labels, or files have different dimensions (see `read_vectors`).
    """
    on_progress = on_progress or _no_progress
    vectors = read_vectors(config)
    settings = {**config.as_json(), "digest": vectors.digest, "files": _digests(config)}
    records = open_folder(out, settings)
    n_resumed, is_rehearsed = len(records), False
    for seed in config.seeds:
        for n_distractors in config.n_distractors or (0,):
            place = {"seed": seed, "n_distractors": n_distractors}
            if not any(place.items() <= record.items() for record in records):
                task = make_task(config, vectors, **place)
                if not is_rehearsed:
                    _rehearse(config, task, seed)
                    is_rehearsed = True
                shared = {**circumstances(), "protocol": config.protocol, "data": vectors.digest, **place}
                records += [{**shared, **record} for record in _measure(config, task, seed, on_progress)]
                write_records(out / RECORDS, records)
    write_summary(out, records)
    return StudyOutcome(records=records, n_resumed=n_resumed)


def _digests(config: StudyConfig) -> dict[str, str | None]:
    """Return the SHA-256 of each file that a method takes; None where there is none, and the method will fail."""
    digests: dict[str, str | None] = {}
    for path in (path for method in config.methods for path in method.given_files):
        digests[str(path)] = None
        if path.is_file():
            with path.open("rb") as file:
                digests[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def open_folder(out: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records that a study's folder holds; make it, with its settings, if it is not there.

    Raises
    ------
    OutputExistsError
        If it is there and holds a study with other settings, or none.
    FormatError
        If its records are damaged.
    """
    if not out.exists():
        out.mkdir()
        with replaced_file(out / SETTINGS) as partial:
            partial.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return []
    try:
        before = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputExistsError(f"output: {out} exists and holds no study to go on with; name another path") from error
    if before != settings:
        changed = [key for key in settings if before.get(key) != settings[key]]
        raise OutputExistsError(
            f"output: {out} holds a study with other settings ({', '.join(changed) or 'more of them'}); "
            "name another path"
        )
    path = out / RECORDS
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise FormatError(f"{path}: expected one JSON record a line; it is damaged ({error})") from error


def _measure(config: StudyConfig, task: Task, seed: int, on_progress: OnProgress) -> list[dict[str, Any]]:
    """Build and time all methods, and return a record of each."""
    built: dict[str, tuple[Built, Any]] = {}
    errors: dict[str, str] = {}
    for done, method in enumerate(config.methods):
        on_progress(f"build, seed {seed}", done, len(config.methods))
        try:
            prepared = prepare(method, task.rows, seed=seed)
            built[method.label] = _built(prepared, task.k), prepared.queries
        except Exception as error:  # whatever a library raises, the other methods go on
            errors[method.label] = reason(error)
    on_progress(f"build, seed {seed}", len(config.methods), len(config.methods))
    n_queries = len(task.rows.queries)
    batch_size = min(config.batch_size, n_queries)
    times = [
        search_in_turns(
            {label: (each.searcher, queries) for label, (each, queries) in built.items() if label not in errors},
            task.k,
            rounds=config.rounds,
            batch_size=size,
            on_progress=partial(on_progress, f"{stage}, seed {seed}"),
            on_error=lambda label, error: errors.update({label: reason(error)}),
        )
        for stage, size in (("search one by one", 1), ("search in batches", batch_size))
    ]
    shared = {"n_docs": len(task.rows.documents), "dim": task.rows.documents.shape[1], "n_queries": n_queries}
    shared |= {"k": task.k, "rounds": config.rounds, "batch_size": batch_size}
    records = []
    for method in config.methods:
        label, outcome = method.label, {"status": "failed", "error": errors.get(method.label, "")}
        if label not in errors:
            outcome = _outcome(built[label][0], *(each[label] for each in times), task=task)
        records.append({**shared, "method": method.name, "label": label, **_settings(method), **outcome})
    return _with_speed_up(records)


def _outcome(built: Built, alone: Timed, in_batches: Timed, *, task: Task) -> dict[str, Any]:
    try:
        return {"status": "done", **_figures(built, alone, in_batches, task=task)}
    except Exception as error:  # lists that cannot be judged are this method's own
        return {"status": "failed", "error": reason(error)}


def reason(error: Exception) -> str:
    """Return what a record says of a failure: the kind of error, and its sentence."""
    return f"{type(error).__name__}: {error}"


def _rehearse(config: StudyConfig, task: Task, seed: int) -> None:
    """Build and search a few rows by each kind of method, so that no clock sees what it imports and compiles."""
    rows = task.rows._replace(documents=task.rows.documents[:_REHEARSED], queries=task.rows.queries[:1])
    if rows.query_rows is None:
        assert rows.asked_rows is not None
        rows = rows._replace(asked_rows=rows.asked_rows[:1])
    else:
        rows = rows._replace(query_rows=np.zeros(1, np.int64))
    kinds = {(method.name, method.rerank is None): method for method in config.methods}
    for method in kinds.values():
        with suppress(Exception):  # settings for many rows may not do for few; what is wrong with them shows later
            prepared = prepare(method, rows, seed=seed)
            prepared.build().search(prepared.queries, task.k)


def _built(prepared: Prepared, k: int) -> Built:
    """Build, and search once, so that a method which cannot search fails here, alone."""
    built = build_timed(prepared.build)
    built.searcher.search(prepared.queries[:1], k)
    return built


def _settings(method: MethodConfig) -> dict[str, Any]:
    curve = method.curve or method.name + (", re-ranked" if method.rerank else "")
    return {"settings": dict(method.settings), "rerank": method.rerank, "curve": curve}


def _figures(built: Built, alone: Timed, in_batches: Timed, *, task: Task) -> dict[str, Any]:
    """Return what was measured: accuracy from the lists that were timed one by one."""
    return {
        "accuracy": task.judge(alone.found),
        "query_us": float(np.median(alone.query_us)),
        "query_us_p95": float(np.percentile(alone.query_us, 95)),
        "query_us_in_batches": float(np.median(in_batches.query_us)),
        "build_s": built.build_s,
        "bytes_per_document": built.searcher.size_bytes / len(task.rows.documents),
    }


def _with_speed_up(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add how many times faster than exhaustive search of the same seed each is, if that is among them."""
    yardstick = next((r for r in records if r["label"] == EXHAUSTIVE and r["status"] == "done"), None)
    if yardstick is None:
        return records
    return [
        {**record, "speed_up": yardstick["query_us"] / record["query_us"]} if record["status"] == "done" else record
        for record in records
    ]


def circumstances() -> dict[str, Any]:
    """Return what every record says of the machine, the versions and the day."""
    return {
        "gossamer": gossamer.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "n_cpus": os.cpu_count(),
        "n_threads": 1,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu_model() -> str:
    """Return what the processor is called, where the system says so."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def write_records(path: Path, records: list[dict[str, Any]]) -> None:
    """Write all records, a line of JSON each, in place of those that are there."""
    with replaced_file(path) as partial:
        partial.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def _no_progress(stage: str, done: int, total: int) -> None:
    pass
