"""The figures of a study, each drawn if its records hold what it needs, with its title and what it shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gossamer.study import series
from gossamer.study.figures import draw_costs, draw_curves, draw_distractors, draw_evenness, draw_list_lengths
from gossamer.study.report import ReportFigure

SPEED, SPEED_AT_MOST, DISTRACTORS = "speed.png", "speed-at-most.png", "distractors.png"
COSTS, EVENNESS, LIST_LENGTHS = "flops.png", "evenness.png", "posting-lists.png"


def draw_study(out: Path, done: Sequence[dict[str, Any]]) -> list[ReportFigure]:
    """Draw the figures that records hold enough for, as PNGs in a folder.

    Parameters
    ----------
    out : Path
        The folder.
    done : sequence of records
        Of methods that were measured; without any, there are no figures.

    Returns
    -------
    list of ReportFigure
        What was drawn, in the order of the report.
    """
    if not done:
        return []
    shown = next(iter(done[0]["accuracy"]))
    return [*_speed(out, done, shown), *_distractors(out, done, shown), *_costs(out, done, shown),
            *_evenness(out, done), *_list_lengths(out, done)]  # fmt: skip


def _speed(out: Path, done: Sequence[dict[str, Any]], shown: str) -> Iterator[ReportFigure]:
    """Draw all methods among as many distractors as most had, and those that had more of them among these."""
    widest, most = series.widest(done), max(record["n_distractors"] for record in done)
    for n, file in {widest: SPEED, **({most: SPEED_AT_MOST} if most > widest else {})}.items():
        alone, in_batches, batch_size = series.times(done, shown, n_distractors=n)
        draw_curves(
            out / file,
            alone.points,
            accuracy=shown,
            spreads=alone.spreads,
            in_batches=in_batches,
            batch_size=batch_size,
        )
        below = "" if in_batches is None else ", which gains most where queries come in batches, as below"
        yield ReportFigure(
            file=file,
            title=f"Time against accuracy{_among(n)}",
            caption="Each line is a method and each point one setting of it, better up and to the left, hollow where "
            f"another is no worse in either{_bars(alone)}. The star is exhaustive search{below}.",
        )


def _distractors(out: Path, done: Sequence[dict[str, Any]], shown: str) -> Iterator[ReportFigure]:
    found = series.distractors(done, shown)
    if found is None:
        return
    draw_distractors(out / DISTRACTORS, found.points, accuracy=shown, spreads=found.spreads)
    yield ReportFigure(
        file=DISTRACTORS,
        title="Accuracy against the number of distractors",
        caption=f"Each line is a method, with the setting that is most accurate at its most distractors{_bars(found)}. "
        "The more others are searched, the more often one of them is nearer than the right one: flatter is better.",
    )


def _costs(out: Path, done: Sequence[dict[str, Any]], shown: str) -> Iterator[ReportFigure]:
    found = series.costs(done, shown)
    if found is None:
        return
    draw_costs(out / COSTS, found.points, accuracy=shown, spreads=found.spreads)
    yield ReportFigure(
        file=COSTS,
        title=f"FLOPs per document against accuracy{_among(series.widest(done))}",
        caption=f"Each line is a regularizer, each point a model or a setting of its search{_bars(found)}. "
        "FLOPs per document are the multiply-adds that scoring one document takes: better up and to the left.",
    )


def _evenness(out: Path, done: Sequence[dict[str, Any]]) -> Iterator[ReportFigure]:
    found = series.evenness(done)
    if found is None:
        return
    draw_evenness(out / EVENNESS, found.points, is_share=found.is_share)
    yield ReportFigure(
        file=EVENNESS,
        title="Sub-optimality ratio against sparsity",
        caption="How many times more a search costs than if the same nonzeros were spread evenly over the dimensions; "
        "1 is perfectly even. The penalty l1 adds up magnitudes wherever they are, and has no reason to spread them.",
    )


def _list_lengths(out: Path, done: Sequence[dict[str, Any]]) -> Iterator[ReportFigure]:
    found = series.list_lengths(done)
    if found is None:
        return
    draw_list_lengths(out / LIST_LENGTHS, found.quantiles)
    costs = " and ".join(f"{line} at {flops:.2f}" for line, flops in found.flops_per_document.items())
    yield ReportFigure(
        file=LIST_LENGTHS,
        title="Lengths of the posting lists",
        caption="How many documents hold each dimension, in ascending order; a flat line is an even index. Of the "
        f"models, these two cost most nearly the same: {costs} FLOPs per document.",
    )


def _bars(found: series.Series) -> str:
    return "" if found.spreads is None else "; bars reach from the lowest to the highest over seeds"


def _among(n_distractors: int) -> str:
    return f", {n_distractors:,} distractors" if n_distractors else ""
