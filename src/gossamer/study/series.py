"""What a study's records hold for each figure: points by line, or None where they hold too little.

A point is the mean over seeds of a method with its settings; a spread is the lowest and the highest of its
accuracies. Records of methods that failed hold neither and must be left out before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Record: TypeAlias = dict[str, Any]
Pairs: TypeAlias = dict[str, list[tuple[float, float]]]

_L1 = "l1"


class Series(NamedTuple):
    """Points by line, ascending in x, and the spread of each; no spreads where there is one seed alone."""

    points: Pairs
    spreads: Pairs | None


class Times(NamedTuple):
    """The series of times asked one by one, and its points with the times of queries asked in batches."""

    alone: Series
    in_batches: Pairs | None
    batch_size: int | None


class Evenness(NamedTuple):
    """Points of (nonzeros, sub-optimality ratio), and whether nonzeros are percents of the dimensions."""

    points: Pairs
    is_share: bool


class ListLengths(NamedTuple):
    """Quantiles of the lengths of posting lists by line, and what each line's index costs."""

    quantiles: dict[str, list[float]]
    flops_per_document: dict[str, float]


def widest(done: Sequence[Record]) -> int:
    """Return the number of distractors at which most methods and settings were measured, of those the largest."""
    labels: dict[int, set[str]] = {}
    for record in done:
        labels.setdefault(record["n_distractors"], set()).add(record["label"])
    return max(labels, key=lambda n: (len(labels[n]), n))


def times(done: Sequence[Record], accuracy: str, *, n_distractors: int) -> Times:
    """Return time against accuracy of every method, a line for each curve and regularizer."""
    cells = _cells(_among(done, n_distractors))
    cells = _line_by_line(cells, "query_us")
    alone = _series([(_line(cell[0]), _mean(cell, "query_us"), _accuracies(cell, accuracy)) for cell in cells])
    if not all("query_us_in_batches" in record for cell in cells for record in cell):
        return Times(alone, None, None)
    in_batches = _series(
        [(_line(cell[0]), _mean(cell, "query_us_in_batches"), _accuracies(cell, accuracy)) for cell in cells]
    )
    sizes = {record.get("batch_size") for cell in cells for record in cell}
    return Times(alone, in_batches.points, sizes.pop() if len(sizes) == 1 else None)


def distractors(done: Sequence[Record], accuracy: str) -> Series | None:
    """Return accuracy by number of distractors, of each line's most accurate setting at the most that it has.

    None unless there are two numbers of distractors. Of settings that are as accurate, the fastest counts.
    """
    numbers = sorted({record["n_distractors"] for record in done if record["n_distractors"]})
    if len(numbers) < 2:
        return None
    points = []
    for line in dict.fromkeys(map(_line, done)):
        of_line = [record for record in done if _line(record) == line]
        at_most = _cells(_among(of_line, max(record["n_distractors"] for record in of_line)))
        best = max(at_most, key=lambda cell: (np.mean(_accuracies(cell, accuracy)), -_mean(cell, "query_us")))
        own = [record for record in of_line if record["label"] == best[0]["label"]]
        for n in numbers:
            if cell := _among(own, n):
                points.append((line, float(n), _accuracies(cell, accuracy)))
    return _series(points)


def costs(done: Sequence[Record], accuracy: str) -> Series | None:
    """Return FLOPs per document against accuracy, a line for each regularizer; None if no record says what it costs."""
    cells = _cells([record for record in _among(done, widest(done)) if record.get("flops_per_document")])
    cells = _line_by_line(cells, "flops_per_document")
    points = [(_line(cell[0]), _mean(cell, "flops_per_document"), _accuracies(cell, accuracy)) for cell in cells]
    return _series(points) if points else None


def evenness(done: Sequence[Record]) -> Evenness | None:
    """Return sparsity against the sub-optimality ratio, a line for each regularizer; None if no record holds both.

    Sparsity is in percent of the dimensions if all records tell these, else in nonzeros per row.
    """
    held = [record for record in _among(done, widest(done))
            if record.get("nnz_per_row") and record.get("suboptimality_ratio")]  # fmt: skip
    is_share = all(_sparse_dim(record) for record in held)
    points: Pairs = {}
    for cell in _cells(held):
        nonzeros = _mean(cell, "nnz_per_row")
        x = 100 * nonzeros / (_sparse_dim(cell[0]) or math.nan) if is_share else nonzeros
        point = x, _mean(cell, "suboptimality_ratio")
        of_line = points.setdefault(_line(cell[0], with_rerank=False), [])
        if point not in of_line:  # the same model, searched with other settings
            of_line.append(point)
    return Evenness({line: sorted(each) for line, each in points.items()}, is_share) if points else None


def list_lengths(done: Sequence[Record]) -> ListLengths | None:
    """Return the posting lists of the ℓ1 model and the other model whose FLOPs are nearest; None without two such."""
    held = [record for record in _among(done, widest(done))
            if record.get("list_lengths") and record.get("flops_per_document") and _regularizer(record)]  # fmt: skip
    pairs = [(one, other) for one in held for other in held
             if _regularizer(one) == _L1 != _regularizer(other) and one["seed"] == other["seed"]]  # fmt: skip
    if not pairs:
        return None
    nearest = min(pairs, key=lambda pair: abs(math.log(pair[0]["flops_per_document"] / pair[1]["flops_per_document"])))
    both = {_line(record, with_rerank=False): record for record in reversed(nearest)}
    return ListLengths(
        {line: list(record["list_lengths"]["quantiles"]) for line, record in both.items()},
        {line: record["flops_per_document"] for line, record in both.items()},
    )


def _among(done: Sequence[Record], n_distractors: int) -> list[Record]:
    return [record for record in done if record["n_distractors"] == n_distractors]


def _cells(records: Sequence[Record]) -> list[list[Record]]:
    """Return the records of each method with its settings: one for each seed."""
    cells: dict[str, list[Record]] = {}
    for record in records:
        cells.setdefault(record["label"], []).append(record)
    return list(cells.values())


def _line_by_line(cells: Sequence[list[Record]], key: str) -> list[list[Record]]:
    """Return cells by line, lines in the order of the records, and within a line ascending by what ``key`` names."""
    order = list(dict.fromkeys(_line(cell[0]) for cell in cells))
    return sorted(cells, key=lambda cell: (order.index(_line(cell[0])), _mean(cell, key)))


def _series(points: Sequence[tuple[str, float, list[float]]]) -> Series:
    """Return lines through points of (line, x, accuracies over seeds), in their order."""
    lines, spreads = Pairs(), Pairs()
    for line, x, accuracies in points:
        lines.setdefault(line, []).append((x, float(np.mean(accuracies))))
        spreads.setdefault(line, []).append((min(accuracies), max(accuracies)))
    return Series(lines, spreads if any(len(accuracies) > 1 for _, _, accuracies in points) else None)


def _mean(cell: Sequence[Record], key: str) -> float:
    return float(np.mean([record[key] for record in cell]))


def _accuracies(cell: Sequence[Record], accuracy: str) -> list[float]:
    return [record["accuracy"][accuracy] for record in cell]


def _regularizer(record: Record) -> str | None:
    found: str | None = record.get("settings", {}).get("regularizer") or record.get("regularizer")
    return found


def _line(record: Record, *, with_rerank: bool = True) -> str:
    """Return the name of a record's line: its curve, with the regularizer unless the curve has a name of its own."""
    rerank = ", re-ranked" if record.get("rerank") else ""
    name = str(record["curve"]).removesuffix(rerank)
    if (regularizer := _regularizer(record)) and name == record["method"]:
        name += f" {regularizer}"
    return name + (rerank if with_rerank else "")


def _sparse_dim(record: Record) -> int | None:
    """Return how many dimensions the sparse embeddings have; ``dim`` of a record is that of the dense vectors."""
    found: int | None = record.get("model", {}).get("dim")
    return found
