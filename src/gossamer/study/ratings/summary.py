"""What the records of a study of ratings say: a table, a figure of time against accuracy, and a page with both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gossamer.files import replaced_file
from gossamer.study.figures import draw_curves
from gossamer.study.ratings.config import DENSE, SPARSE
from gossamer.study.ratings.intervals import Interval, paired_interval
from gossamer.study.report import Report, ReportFigure, ReportRow, write_report
from gossamer.study.study_figures import SPEED
from gossamer.study.summary import REPORT, TABLE

DIFFERENCE = "nDCG@20 − dense (95 % interval)"

_CURVES = {SPARSE: "sparse towers, inverted index", DENSE: "dense towers, exhaustive"}
_FIGURES = (
    ("flops_per_item", "FLOPs per item", "{:.2f}"),
    ("nnz_per_user", "nonzeros of a user", "{:.1f}"),
    ("nnz_per_item", "nonzeros of an item", "{:.1f}"),
    ("query_us", "µs per user", "{:.0f}"),
    ("query_us_p95", "µs, 95 of 100 below", "{:.0f}"),
    ("speed_up", "speed-up", "{:.1f}×"),
    ("bytes_per_item", "bytes per item", "{:.0f}"),
    ("build_s", "build, s", "{:.2f}"),
    ("training_s", "training, s", "{:.0f}"),
)


def ratings_table(records: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Return a line for each model, in the order of the records: titles and cells.

    A cell is the mean over seeds, and for accuracies also the lowest and the highest; a model that failed for a seed
    says so, and its figures are of the others.
    """
    names = list(dict.fromkeys(name for record in records for name in record.get("accuracy", ())))
    lines = []
    for label in dict.fromkeys(record["label"] for record in records):
        own = [record for record in records if record["label"] == label]
        done = [record for record in own if record["status"] == "done"]
        failed = f" (failed for {len(own) - len(done)} of {len(own)})" if len(done) < len(own) else ""
        line = {"model": label + failed}
        for name in names:
            values = [record["accuracy"][name] for record in done]
            spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
            line[name] = f"{np.mean(values):.3f}{spread}" if values else "–"
        interval = difference_to_dense(records, label)
        line[DIFFERENCE] = "–" if interval is None else str(interval)
        for name, title, form in _FIGURES:
            values = [record[name] for record in done if name in record]
            line[title] = form.format(np.mean(values)) if values else "–"
        lines.append(line)
    return lines


def difference_to_dense(records: Sequence[dict[str, Any]], label: str) -> Interval | None:
    """Return by how much a model's nDCG@20 is above that of the dense towers, paired over users and seeds.

    None for the dense towers themselves, and where no seed has both.
    """
    done = [record for record in records if record["status"] == "done"]
    dense = {record["seed"]: record["ndcg_by_user"] for record in done if record["model"] == DENSE}
    own = [r for r in done if r["label"] == label and r["model"] != DENSE and r["seed"] in dense]
    if not own:
        return None
    return paired_interval(np.array([np.subtract(r["ndcg_by_user"], dense[r["seed"]]) for r in own]))


def write_summary(out: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write the table, the figure and the page of a study of ratings to its folder."""
    lines, remarks = ratings_table(records), _remarks(records)
    titles = list(lines[0])
    rows = [titles, ["---", *["---:"] * (len(titles) - 1)], *(list(line.values()) for line in lines)]
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    with replaced_file(out / TABLE) as partial:
        partial.write_text(f"{text}\n\n{remarks}\n", encoding="utf-8")
    done = [record for record in records if record["status"] == "done"]
    if done:
        draw_curves(out / SPEED, _points(done), accuracy="nDCG@20 on held-out items")
    figure = ReportFigure(
        file=SPEED,
        title="Time against accuracy",
        caption="Each line is a model, each point one budget of it, a mean over seeds; up and to the left is better. "
        "The time, on a logarithmic scale, is that of one user on one thread, with leaving out what the user has.",
    )
    report = Report(
        title="Gossamer: a study of recommendation",
        summary="How well each model finds the items that were held out of what users have, and what that costs.",
        notice="",
        columns=titles,
        rows=[ReportRow(cells=list(line.values()), is_sparse=line["model"].startswith(SPARSE)) for line in lines],
        explanation=_EXPLANATION,
        figures=[figure] if done else [],
        provenance=remarks,
    )
    write_report(out / REPORT, report)


_EXPLANATION = (
    "nDCG@20 counts held-out items among the first 20, the more the higher they stand; item recall@20 is the share of "
    "a user's held-out items there; both are means over users. The interval is of the difference to the dense towers "
    "for the same user and seed, by a bootstrap over users and seeds. The speed-up is over exhaustive search of the "
    "dense towers by FAISS. FLOPs per item are multiply-adds to score one item for one user, on average."
)


def _points(done: Sequence[dict[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Return time and accuracy of each model's budgets, in the order of time, means over seeds."""
    points: dict[str, list[tuple[float, float]]] = {}
    for label in dict.fromkeys(record["label"] for record in done):
        own = [record for record in done if record["label"] == label]
        query_us = float(np.mean([record["query_us"] for record in own]))
        reached = float(np.mean([next(iter(record["accuracy"].values())) for record in own]))
        points.setdefault(_CURVES.get(own[0]["model"], label), []).append((query_us, reached))
    return {name: sorted(each) for name, each in points.items()}


def _remarks(records: Sequence[dict[str, Any]]) -> str:
    first, seeds = records[0], sorted({record["seed"] for record in records})
    failures = [f" {r['label']} failed for seed {r['seed']}: {r['error']}." for r in records if r["status"] == "failed"]
    n_rounds = f"{first['rounds']} round{'s' if first['rounds'] > 1 else ''}"
    return (
        f"{first['n_interactions']:,} interactions of {first['n_users']:,} users and {first['n_items']:,} items; asked "
        f"for {first['n_asked']:,} users, {'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}. Times "
        f"are medians over users of {n_rounds} in which the models took turns, on one thread, one user at a time. Data "
        f"{first['data']}, gossamer {first['gossamer']}, {first['cpu']}, {first['machine']}." + "".join(failures)
    )
