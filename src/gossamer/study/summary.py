"""What a study's records say: a table, the figures that they hold enough for, and a page with both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gossamer.files import replaced_file
from gossamer.study.config import CLASS_RETRIEVAL, IDENTIFICATION, NEAREST_NEIGHBOURS, VERIFICATION
from gossamer.study.methods import SPARSE, SPARSIFIER
from gossamer.study.report import Report, ReportFigure, ReportRow, write_report
from gossamer.study.study_figures import draw_study

TABLE, REPORT = "table.md", "report.html"

_COSTS = (
    ("query_us", "µs per query", "{:.0f}"),
    ("query_us_p95", "µs, 95 of 100 below", "{:.0f}"),
    ("query_us_in_batches", "µs in batches of {batch_size:,}", "{:.0f}"),
    ("speed_up", "speed-up", "{:.1f}×"),
    ("build_s", "build, s", "{:.2f}"),
    ("bytes_per_document", "bytes per document", "{:.0f}"),
)
_OF_SOME = (
    ("flops_per_document", "FLOPs per document", "{:.2f}"),
    ("nnz_per_row", "nnz per row", "{:.1f}"),
    ("suboptimality_ratio", "R_sub", "{:.2f}"),
    ("training_minutes", "training, minutes", "{:.1f}"),
)
"""Columns that are there if a record holds them."""
_EXPLANATIONS = {
    NEAREST_NEIGHBOURS: "recall@k is the share of results that score as much, by the inner product of the dense "
    "vectors, as the kth best document does; a tie is not a miss.",
    CLASS_RETRIEVAL: "precision@k is the share of the query's class among the first k results.",
    IDENTIFICATION: "hit rate@k is the share of probes with a gallery picture of their class among the first k "
    "results; distractors, of other classes, are never right.",
    VERIFICATION: "true accepts at r are the share of the pairs of one class that score above a threshold, which at "
    "most the share r of all other pairs exceeds.",
}
_OF_KINDS = (
    " Distractors are pictures as they are, then pictures turned or mirrored, which count as new classes, then warped "
    "copies of all these, which are easier than new classes would be."
)
_OF_COLUMNS = {
    "FLOPs per document": " FLOPs per document are the postings that a query touches, divided by the number of "
    "documents.",
    "R_sub": " R_sub is how many times more that is than for perfectly even embeddings of as many nonzeros.",
}


def table(records: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Return a line for each method and number of distractors, in the order of the records: titles and cells.

    Over several seeds a cell is the mean, and for accuracies also the lowest and the highest; a method that
    failed for a seed says so, and its figures are of the others. What only some methods have, as FLOPs per document
    or minutes of training, is a column if any record holds it.
    """
    records = [_with_minutes(record) for record in records]
    names = list(dict.fromkeys(name for record in records for name in record.get("accuracy", ())))
    costs = [*_COSTS, *(cost for cost in _OF_SOME if any(_holds(record, cost[0]) for record in records))]
    has_distractors = any(record["n_distractors"] for record in records)
    lines = []
    for n, label in dict.fromkeys((record["n_distractors"], record["label"]) for record in records):
        own = [record for record in records if (record["n_distractors"], record["label"]) == (n, label)]
        done = [record for record in own if record["status"] == "done"]
        failed = f" (failed for {len(own) - len(done)} of {len(own)})" if len(done) < len(own) else ""
        line = {"method": label + failed, **({"distractors": _distractors(own[0])} if has_distractors else {})}
        for name in names:
            values = [record["accuracy"][name] for record in done]
            spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
            line[name] = f"{np.mean(values):.3f}{spread}" if values else "–"
        for name, title, form in costs:
            values = [record[name] for record in done if _holds(record, name)]
            line[title.format(**own[0])] = form.format(np.mean(values)) if values else "–"
        lines.append(line)
    return lines


def _distractors(record: dict[str, Any]) -> str:
    """Return how many distractors there are, and how many of each kind where they were made of pictures."""
    kinds = record.get("distractors") or {}
    parts = [f"{count:,} {kind}" for kind, count in kinds.items() if count]
    return f"{record['n_distractors']:,}" + (f" ({', '.join(parts)})" if parts else "")


def write_summary(out: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write the table, the figures and the page of a study to its folder."""
    lines = table(records)
    _write_table(out / TABLE, lines, _remarks(records))
    figures = draw_study(out, [record for record in records if record["status"] == "done"])
    write_report(out / REPORT, _report(records, lines, figures))


def _with_minutes(record: dict[str, Any]) -> dict[str, Any]:
    """Add how long the training of a record's encoder took: the method's own, or else the dense one."""
    model = record.get("model") or record.get("dense_model")
    return record if model is None else {**record, "training_minutes": model["training_seconds"] / 60}


def _holds(record: dict[str, Any], name: str) -> bool:
    return record.get(name) is not None


def _write_table(path: Path, lines: Sequence[dict[str, str]], remarks: str) -> None:
    titles = list(lines[0])
    rows = [titles, ["---", *["---:"] * (len(titles) - 1)], *(list(line.values()) for line in lines)]
    text = "\n".join(f"| {' | '.join(cell.replace('|', ' ') for cell in row)} |" for row in rows)
    with replaced_file(path) as partial:
        partial.write_text(f"{text}\n\n{remarks}\n", encoding="utf-8")


def _remarks(records: Sequence[dict[str, Any]]) -> str:
    first, seeds = records[0], sorted({record["seed"] for record in records})
    failures = [f" {record['label']} failed: {record['error']}." for record in records if record["status"] == "failed"]
    n_rounds = f"{first['rounds']} round{'s' if first['rounds'] > 1 else ''}"
    n_docs = max(record["n_docs"] for record in records)
    return (
        f"{n_docs:,} documents of {first['dim']:,} dimensions, {first['n_queries']:,} queries, "
        f"{'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}. Times are medians over queries of "
        f"{n_rounds} in which the methods took turns, on one thread, one query at a time unless in batches. "
        f"Data {first['data']}, gossamer {first['gossamer']}, {first['cpu']}, {first['machine']}." + "".join(failures)
    )


def _report(
    records: Sequence[dict[str, Any]], lines: Sequence[dict[str, str]], figures: Sequence[ReportFigure]
) -> Report:
    protocol = records[0]["protocol"]
    explanation = (
        f"{_EXPLANATIONS[protocol]} The speed-up is over exhaustive search by FAISS, one query at a time; "
        "exhaustive search gains most from batches."
    )
    if any(record.get("distractors") for record in records):
        explanation += _OF_KINDS
    explanation += "".join(text for title, text in _OF_COLUMNS.items() if title in lines[0])
    return Report(
        title=f"Gossamer: a study of {protocol.replace('-', ' ')}",
        summary="How right each method's results are, and what it takes to find them.",
        notice="",
        columns=list(lines[0]),
        rows=[
            ReportRow(cells=list(line.values()), is_sparse=line["method"].startswith((SPARSE, SPARSIFIER)))
            for line in lines
        ],
        explanation=explanation,
        figures=figures,
        provenance=_remarks(records),
    )
