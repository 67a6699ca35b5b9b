"""The HTML page of a study, in one file: a table, the figures in it, and how they were made."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from gossamer.files import replaced_file


@dataclass(frozen=True, kw_only=True)
class ReportRow:
    """One line of the report's table, its cells as text."""

    cells: Sequence[str]
    is_sparse: bool


@dataclass(frozen=True, kw_only=True)
class ReportFigure:
    """One figure: a PNG beside the page, which is copied into it; its title, and what it shows in two sentences."""

    file: str
    title: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the page says, from top to bottom."""

    title: str
    summary: str
    notice: str
    columns: Sequence[str]
    rows: Sequence[ReportRow]
    explanation: str
    figures: Sequence[ReportFigure]
    provenance: str


def write_report(path: Path, report: Report) -> None:
    """Write the page as one file that opens anywhere: the figures, PNGs beside ``path``, are in it."""
    from jinja2 import Environment

    template = resources.files("gossamer.study").joinpath("report.html.jinja").read_text(encoding="utf-8")
    images = {
        figure.file: base64.b64encode((path.parent / figure.file).read_bytes()).decode("ascii")
        for figure in report.figures
    }
    page = Environment(autoescape=True).from_string(template).render(vars(report), images=images)
    with replaced_file(path) as partial:
        partial.write_text(page, encoding="utf-8")
