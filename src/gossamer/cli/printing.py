"""Results on stdout: a table for people, JSON for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNBROKEN_WIDTH = 10_000


def print_record(record: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what a command found out: name and value of each line, or one JSON object."""
    if as_json:
        print_json(record)
    else:
        print_table(("", ""), ((name.replace("_", " "), _cell(value)) for name, value in record.items()), header=False)


def print_json(record: Mapping[str, Any]) -> None:
    """Print one JSON object on one line; NaN, which JSON lacks, as null."""
    print(json.dumps(_without_nan(record), ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, header: bool = True) -> None:
    """Print a table, as wide as it needs to be where stdout is no terminal."""
    table = Table(show_header=header)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # as Text, a key with [brackets] is no markup
    Console(width=None if sys.stdout.isatty() else _UNBROKEN_WIDTH).print(table)


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_cell(part)}" for name, part in value.items())
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
