"""Run a study: measure every method for every seed, keep what is done, and write it up.

All methods of one seed are built, and then timed in turns; their records are written together. A study that
was killed goes on with the first seed that has no records. A method that fails is recorded with its reason,
and the others go on.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import gossamer
from gossamer.arrays import FloatArray
from gossamer.baselines.exhaustive import ExhaustiveSearcher
from gossamer.datasets.embedding_files import read_dense
from gossamer.errors import DataError, FormatError, OutputExistsError, ShapeError
from gossamer.files import replaced_file
from gossamer.results import SearchResult
from gossamer.study.config import StudyConfig
from gossamer.study.evaluation import Built, Timed, build_timed, search_in_turns
from gossamer.study.methods import EXHAUSTIVE, MethodConfig, Prepared, Rows, prepare
from gossamer.study.protocols.nearest_neighbours import nearest_neighbours
from gossamer.study.summary import write_summary

RECORDS, SETTINGS = "records.jsonl", "study.json"

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class StudyOutcome:
    """What a study found."""

    records: list[dict[str, Any]]
    """One for each method and seed, failed ones included."""
    n_resumed: int
    """How many of them were there before."""

    @property
    def failures(self) -> list[str]:
        """The method and the reason of each that failed."""
        return [f"{record['label']}: {record['error']}" for record in self.records if record["status"] == "failed"]


@dataclass(frozen=True, kw_only=True)
class _Vectors:
    """The data of a study, read and checked."""

    documents: FloatArray
    queries: FloatArray | None
    digest: str


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
        If there are too few documents, or the queries have other dimensions.
    """
    on_progress = on_progress or _no_progress
    vectors = _read(config)
    settings = {**config.as_json(), "digest": vectors.digest}
    records = _open_folder(out, settings)
    n_resumed = len(records)
    for seed in config.seeds:
        if not any(record["seed"] == seed for record in records):
            records += _measure(config, vectors, seed, on_progress)
            _write_records(out / RECORDS, records)
    write_summary(out, records)
    return StudyOutcome(records=records, n_resumed=n_resumed)


def _read(config: StudyConfig) -> _Vectors:
    documents = np.ascontiguousarray(read_dense(config.documents)[0][: config.n_documents])
    queries = None if config.queries is None else read_dense(config.queries)[0][: config.n_queries]
    own = 0 if queries is not None else 1
    if len(documents) < config.k + own:
        raise DataError(f"documents: expected at least {config.k + own} for k = {config.k}; got {len(documents)}")
    if queries is not None and queries.shape[1] != documents.shape[1]:
        raise ShapeError(f"queries: expected {documents.shape[1]} dimensions; got {queries.shape[1]}")
    if queries is not None and len(queries) == 0:
        raise DataError("queries: expected at least one; there is none")
    digest = hashlib.sha256(np.ascontiguousarray(documents).data)
    if queries is not None:
        digest.update(np.ascontiguousarray(queries).data)
    return _Vectors(documents=documents, queries=queries, digest=digest.hexdigest()[:16])


def _open_folder(out: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records that are there; make the folder if there is none."""
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


def _measure(config: StudyConfig, vectors: _Vectors, seed: int, on_progress: OnProgress) -> list[dict[str, Any]]:
    """Build and time all methods, and return a record of each."""
    rows = _draw(config, vectors, seed)
    n_asked = config.k if rows.query_rows is None else config.k + 1  # each finds itself, too
    exact = ExhaustiveSearcher(rows.documents).search(rows.queries, n_asked)
    built: dict[str, tuple[Built, Any]] = {}
    errors: dict[str, str] = {}
    for done, method in enumerate(config.methods):
        on_progress(f"build, seed {seed}", done, len(config.methods))
        try:
            prepared = prepare(method, rows, seed=seed)
            built[method.label] = _built(prepared, n_asked), prepared.queries
        except Exception as error:  # whatever a library raises, the other methods go on
            errors[method.label] = f"{type(error).__name__}: {error}"
    on_progress(f"build, seed {seed}", len(config.methods), len(config.methods))
    searchers = {label: (each.searcher, queries) for label, (each, queries) in built.items()}
    alone, in_batches = (
        search_in_turns(
            searchers,
            n_asked,
            rounds=config.rounds,
            batch_size=size,
            on_progress=lambda done, total, stage=stage: on_progress(f"search {stage}, seed {seed}", done, total),  # type: ignore[misc]
        )
        for stage, size in (("one by one", 1), ("in batches", config.batch_size))
    )
    shared = {**_circumstances(), "protocol": config.protocol, "data": vectors.digest, "seed": seed, "k": config.k}
    shared |= {"n_docs": len(rows.documents), "dim": rows.documents.shape[1], "n_queries": len(rows.queries)}
    shared |= {"rounds": config.rounds, "batch_size": min(config.batch_size, len(rows.queries))}
    records = []
    for method in config.methods:
        record = {**shared, "method": method.name, "label": method.label, **_settings(method)}
        if method.label in errors:
            records.append({**record, "status": "failed", "error": errors[method.label]})
            continue
        each = built[method.label][0]
        times = alone[method.label], in_batches[method.label]
        records.append({**record, "status": "done", **_figures(each, *times, rows=rows, exact=exact, k=config.k)})
    return _with_speed_up(records)


def _draw(config: StudyConfig, vectors: _Vectors, seed: int) -> Rows:
    if vectors.queries is not None:
        return Rows(vectors.documents, vectors.queries, None)
    n = min(config.n_queries, len(vectors.documents))
    chosen = np.sort(np.random.default_rng(seed).choice(len(vectors.documents), n, replace=False))
    return Rows(vectors.documents, vectors.documents[chosen], chosen)


def _built(prepared: Prepared, k: int) -> Built:
    """Build, and search once, so that a method which cannot search fails here, alone."""
    built = build_timed(prepared.build)
    built.searcher.search(prepared.queries[:1], k)
    return built


def _settings(method: MethodConfig) -> dict[str, Any]:
    return {"settings": dict(method.settings), "rerank": method.rerank}


def _figures(
    built: Built, alone: Timed, in_batches: Timed, *, rows: Rows, exact: SearchResult, k: int
) -> dict[str, Any]:
    """Return what was measured: accuracy from the lists that were timed one by one."""
    quality = nearest_neighbours(alone.found, exact, rows.queries, rows.documents, own_ids=rows.query_rows, k=k)
    return {
        "recall": quality.recall,
        "query_us": float(np.median(alone.query_us)),
        "query_us_p95": float(np.percentile(alone.query_us, 95)),
        "query_us_in_batches": float(np.median(in_batches.query_us)),
        "build_s": built.build_s,
        "bytes_per_document": built.searcher.size_bytes / len(rows.documents),
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


def _circumstances() -> dict[str, Any]:
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


def _write_records(path: Path, records: list[dict[str, Any]]) -> None:
    with replaced_file(path) as partial:
        partial.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def _no_progress(stage: str, done: int, total: int) -> None:
    pass
