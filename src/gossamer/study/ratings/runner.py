"""Run a study of ratings: train, search and judge every model for every seed, keep what is done, write it up.

All models of a seed learn from one split of the interactions and are asked in turns; their records are written
together. A study that was killed goes on with the first seed that has none, and trains no towers again that are in its
folder. A model that fails is recorded with its reason, and the others go on.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from gossamer.index import InvertedIndex
from gossamer.metrics import ndcg_at_k
from gossamer.study.evaluation import Timed, search_in_turns
from gossamer.study.protocols.recommendation import K, recommendation
from gossamer.study.ratings.cells import Cells, Ready, Split, cells_of, split_preferences
from gossamer.study.ratings.config import DENSE, RatingsStudyConfig, read_preferences
from gossamer.study.ratings.summary import write_summary
from gossamer.study.runner import RECORDS, OnProgress, StudyOutcome, circumstances, open_folder, reason, write_records

MODELS_FOLDER = "models"
_ROWS_FOR_ALL_PLANS = 4096


def run_ratings_study(
    config: RatingsStudyConfig, out: Path, *, on_progress: OnProgress | None = None, progress: bool = False
) -> StudyOutcome:
    """Measure what a study's records lack, and write records, table, figure and page.

    Parameters
    ----------
    config : RatingsStudyConfig
        What to measure.
    out : Path
        The study's folder; made if it is not there.
    on_progress : callable, optional
        Called with what is being done, how much of it is done, and how much there is.
    progress : bool
        Whether training draws progress bars on stderr.

    Raises
    ------
    OutputExistsError
        If the folder is there and holds another study, or none.
    NotFoundError, FormatError, DataError
        If the ratings cannot be read, or are too few; see `read_preferences`.
    """
    preferences = read_preferences(config)
    records = open_folder(out, {**config.as_json(), "digest": preferences.digest})
    n_resumed = len(records)
    todo = [seed for seed in config.seeds if all(record["seed"] != seed for record in records)]
    if todo:
        _rehearse()
    for seed in todo:
        split = split_preferences(preferences, seed=seed)
        cells = Cells(config, split, seed, out / MODELS_FOLDER, progress=progress)
        shared = {**circumstances(), "protocol": "recommendation", "data": preferences.digest, "seed": seed}
        shared |= {"n_users": preferences.n_users, "n_items": preferences.n_items, "n_asked": len(split.asked)}
        shared |= {"n_interactions": len(preferences.interactions.users), "k": K, "rounds": config.rounds}
        records += [{**shared, **record} for record in _measure(cells, on_progress or (lambda *_: None))]
        write_records(out / RECORDS, records)
    write_summary(out, records)
    return StudyOutcome(records=records, n_resumed=n_resumed)


def _rehearse() -> None:
    """Build an index by all plans, so that no clock sees what it compiles."""
    drawn = np.random.default_rng(0).random((_ROWS_FOR_ALL_PLANS, 16), np.float32)
    rows = sparse.csr_array(np.where(drawn > 0.8, drawn, np.float32(0)))
    InvertedIndex.build(rows).search(rows[:1], K)


def _measure(cells: Cells, on_progress: OnProgress) -> list[dict[str, Any]]:
    """Train, build and time all models of a seed, and return a record of each."""
    ready: dict[str, Ready] = {}
    errors: dict[str, str] = {}
    todo = cells_of(cells.config)
    for cell in todo:
        try:
            ready[cell.label] = cells.ready(cell)
        except Exception as error:  # whatever a library raises, the other models go on
            errors[cell.label] = reason(error)
    timed = search_in_turns(
        {label: (each.built.searcher, each.queries) for label, each in ready.items()},
        K,
        rounds=cells.config.rounds,
        on_progress=partial(on_progress, f"search, seed {cells.seed}"),
        on_error=lambda label, error: errors.update({label: reason(error)}),
    )
    records: list[dict[str, Any]] = []
    for cell in todo:
        outcome: dict[str, Any] = {"status": "failed", "error": errors.get(cell.label, "")}
        if cell.label not in errors:
            outcome = _outcome(cells.split, ready[cell.label], timed[cell.label])
        records.append({"model": cell.model, "label": cell.label, "flops_asked": cell.flops_per_item, **outcome})
    yardstick = next((r["query_us"] for r in records if r["model"] == DENSE and r["status"] == "done"), None)
    for record in records:
        if yardstick is not None and record["status"] == "done":
            record["speed_up"] = yardstick / record["query_us"]
    return records


def _outcome(split: Split, ready: Ready, timed: Timed) -> dict[str, Any]:
    """Return what was measured, the accuracy from the lists that were timed."""
    try:
        judged = recommendation(timed.found, split.held_out, seen=split.seen, n_items=split.histories.n_items)
    except Exception as error:  # lists that cannot be judged are this model's own
        return {"status": "failed", "error": reason(error)}
    lists = timed.found.doc_ids
    by_user = [ndcg_at_k(lists[row : row + 1], [wanted], K) for row, wanted in enumerate(split.held_out)]
    return {
        "status": "done",
        "accuracy": {f"nDCG@{K}": judged.ndcg, f"item recall@{K}": judged.item_recall},
        **ready.figures,
        "query_us": float(np.median(timed.query_us)),
        "query_us_p95": float(np.percentile(timed.query_us, 95)),
        "build_s": ready.built.build_s,
        "bytes_per_item": ready.built.searcher.size_bytes / split.histories.n_items,
        "ndcg_by_user": [round(value, 5) for value in by_user],
    }
