"""Run a study: measure every method for every seed, keep what is done, and write it up.

All methods of one seed, and number of distractors, are built and then timed in turns; their records are written
together. A study that was killed goes on with the first that has no records. A method that fails is recorded with
its reason, and the others go on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gossamer.study.config import StudyConfig
from gossamer.study.evaluation import Built, Timed, build_timed, search_in_turns
from gossamer.study.methods import EXHAUSTIVE, MethodConfig
from gossamer.study.prepared import Prepared, prepare
from gossamer.study.records import RECORDS, circumstances, file_digests, open_records, write_records
from gossamer.study.summary import write_summary
from gossamer.study.tasks import Sizes, Task, VectorTasks

if TYPE_CHECKING:
    from gossamer.study.image_tasks import ImageTasks

_REHEARSED = 512
MODELS = Path(".cache") / "models"
"""Where models are kept unless told otherwise: below the folder that the command is run in."""

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


def run_study(
    config: StudyConfig, out: Path, *, models: Path = MODELS, on_progress: OnProgress | None = None
) -> StudyOutcome:
    """Measure what a study's records lack, and write records, table, figure and page.

    Parameters
    ----------
    config : StudyConfig
        What to measure.
    out : Path
        The study's folder; made if it is not there.
    models : Path
        Where encoders of images, and what they made of the images, are kept and found again.
    on_progress : callable, optional
        Called with what is being done, how much of it is done, and how much there is. Training draws bars of its
        own on stderr then.

    Raises
    ------
    OutputExistsError
        If the folder is there and holds another study, or none.
    NotFoundError, FormatError, EmbeddingsError
        If the data cannot be read.
    DataError, ShapeError
        If there are too few rows or no labels, or files have different dimensions (see `read_vectors`), or classes
        do not suit the protocol (see `gossamer.study.image_data`).
    """
    tasks = _open_tasks(config, models, on_progress)
    on_progress = on_progress or _no_progress
    settings = {**config.as_json(), "digest": tasks.digest, "files": file_digests(config)}
    records = open_records(out, settings)
    n_resumed, rehearsed = len(records), False
    for seed, n_distractors in config.places():
        place = {"seed": seed, "n_distractors": n_distractors}
        if any(place.items() <= record.items() for record in records):
            continue
        here = dataclasses.replace(config, methods=config.methods_at(**place))
        shared = {**circumstances(), "protocol": config.protocol, "data": tasks.digest, **place}
        shared |= _shared(config, tasks.sizes(**place))
        try:
            task = tasks.make(here.methods, **place)
        except tasks.recoverable as error:
            failed = {"status": "failed", "error": reason(error)}
            records += [{**shared, **_named(method), **failed} for method in here.methods]
        else:
            if not rehearsed:
                _rehearse(here, task, seed)
                rehearsed = True
            records += [{**shared, **record} for record in _measure(here, task, seed, on_progress)]
        write_records(out / RECORDS, records)
    write_summary(out, records)
    return StudyOutcome(records=records, n_resumed=n_resumed)


def _open_tasks(config: StudyConfig, models: Path, on_progress: OnProgress | None) -> VectorTasks | ImageTasks:
    if config.images is None:
        return VectorTasks(config, models)
    from gossamer.study.image_tasks import ImageTasks  # with torch

    return ImageTasks(config, models, on_progress=on_progress or _no_progress, progress=on_progress is not None)


def _measure(config: StudyConfig, task: Task, seed: int, on_progress: OnProgress) -> list[dict[str, Any]]:
    """Build and time all methods, and return a record of each."""
    built: dict[str, tuple[Built, Any]] = {}
    errors: dict[str, str] = {}
    about: dict[str, dict[str, Any]] = {}
    for done, method in enumerate(config.methods):
        on_progress(f"build, seed {seed}", done, len(config.methods))
        try:
            codes = task.codes(method, task.rows) if method.has_codes else None
            prepared = prepare(method, task.rows, seed=seed, codes=codes)
            built[method.label] = _built(prepared, task.k), prepared.queries
            about[method.label] = {**({} if codes is None else codes.about), **prepared.about}
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
    records = []
    for method in config.methods:
        label, outcome = method.label, {"status": "failed", "error": errors.get(method.label, "")}
        if label not in errors:
            outcome = _outcome(built[label][0], *(each[label] for each in times), task=task)
        records.append({"k": task.k, **_named(method), **task.about, **about.get(label, {}), **outcome})
    return _with_speed_up(records)


def _shared(config: StudyConfig, sizes: Sizes) -> dict[str, Any]:
    """Return what records of one seed and number of distractors share, failed ones too."""
    batch_size = min(config.batch_size, sizes.n_queries)
    return {**sizes._asdict(), "rounds": config.rounds, "batch_size": batch_size}


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
    kinds = {(method.name, method.rerank is None): method for method in config.methods}
    for method in kinds.values():
        with suppress(Exception):  # settings for many rows may not do for few; what is wrong with them shows later
            codes = task.codes(method, task.rows).first(_REHEARSED, 1) if method.has_codes else None
            prepared = prepare(method, rows, seed=seed, codes=codes)
            prepared.build().search(prepared.queries, task.k)


def _built(prepared: Prepared, k: int) -> Built:
    """Build, and search once, so that a method which cannot search fails here, alone."""
    built = build_timed(prepared.build)
    built.searcher.search(prepared.queries[:1], k)
    return built


def _named(method: MethodConfig) -> dict[str, Any]:
    """Return what records say of a method's settings."""
    curve = " ".join((method.name, method.settings.get("regularizer", ""))).strip()
    curve = method.curve or curve + (", re-ranked" if method.rerank else "")
    return {
        "method": method.name,
        "label": method.label,
        "settings": dict(method.settings),
        "rerank": method.rerank,
        "curve": curve,
    }


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


def _no_progress(stage: str, done: int, total: int) -> None:
    pass
