"""What ``manifest.json`` says, checked: types, ranges, and nothing left out. Specification: docs/index-format.md."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, TypeVar

from gossamer.errors import FormatError, NotFoundError, VersionError
from gossamer.index.contents import MAX_DOCS, MAX_WINDOW, PLANS, Layout

MANIFEST = "manifest.json"
FORMAT = "gossamer-index"
VERSION = 2

_KINDS = {"int": int, "float": float, "Plan": str, "dict[str, float]": dict}

T = TypeVar("T")


def parse_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of an index of any version.

    Raises
    ------
    NotFoundError
        If there is none.
    FormatError
        If it is not JSON, or not the manifest of an index.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"{path}: not found, so {folder} is no index; make one with `gossamer build`") from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, "expected JSON") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise FormatError(f"{path}: expected the manifest of an index (format {FORMAT!r}); this is another file")
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of an index of a version that this Gossamer reads.

    Raises
    ------
    NotFoundError, FormatError
        As `parse_manifest` does, and if the version is below 1.
    VersionError
        If a newer Gossamer wrote it.
    """
    manifest, path = parse_manifest(folder), folder / MANIFEST
    version = field(manifest, "version", int, path)
    if version > VERSION:
        raise VersionError(
            f"{path}: expected format version {VERSION} at most; got {version}, which a newer Gossamer wrote. "
            "Upgrade with pip install --upgrade gossamer"
        )
    if version < 1:
        raise damaged(path, f"expected a format version of at least 1; got {version}")
    return manifest


def shape_in(manifest: dict[str, Any], path: Path) -> tuple[int, int, int, int]:
    """Return n_docs, dim, nnz and window."""
    n_docs, dim, nnz, window = (field(manifest, name, int, path) for name in ("n_docs", "dim", "nnz", "window"))
    if not (0 <= n_docs <= MAX_DOCS and 1 <= dim <= MAX_DOCS and 1 <= window <= MAX_WINDOW and nnz >= 0):
        raise damaged(path, f"n_docs {n_docs}, dim {dim}, nnz {nnz} or window {window} is out of range")
    return n_docs, dim, nnz, window


def layout_in(manifest: dict[str, Any], path: Path) -> Layout:
    """Return the layout; it has every member, each of its type and in its range. Others are passed over."""
    members = {"sum_bits": Layout.sum_bits} | field(manifest, "layout", dict, path)  # not in the first files
    values: dict[str, Any] = {
        member.name: field(members, member.name, _KINDS[str(member.type)], path, within="layout.")
        for member in dataclasses.fields(Layout)
    }
    layout = Layout(**values)
    if layout.plan not in PLANS:
        raise damaged(path, f"layout.plan: expected one of {', '.join(PLANS)}; got {layout.plan!r}")
    if layout.sum_bits not in (8, 16):
        raise damaged(path, f"layout.sum_bits: expected 8 or 16; got {layout.sum_bits}")
    numbers = {name: value for name, value in values.items() if type(value) in (int, float)}
    numbers |= {f"measured_us.{plan}": us for plan, us in layout.measured_us.items()}
    numbers["lowest"] = -layout.lowest  # a lowest value above 0 counts as 0
    for name, number in numbers.items():
        most = MAX_DOCS if type(number) is int else 1.0 if name == "share" else math.inf
        if type(number) not in (int, float) or not 0 <= number <= most or number == math.inf:
            raise damaged(path, f"layout.{name}: expected a finite number in its range; got {number!r}")
    if layout.plan == "block-max" and not (
        1 <= layout.part_size <= layout.block_size <= MAX_WINDOW and layout.block_size % layout.part_size == 0
    ):
        raise damaged(
            path, f"layout: expected blocks of whole parts; got {layout.block_size} rows, parts of {layout.part_size}"
        )
    return layout


def field(mapping: dict[str, Any], name: str, kind: type[T], path: Path, *, within: str = "") -> T:
    """Return a member of a JSON object, which must be exactly of a type."""
    value = mapping.get(name)
    if type(value) is not kind:
        raise damaged(path, f"{within}{name}: expected {kind.__name__}; got {value!r}")
    return value


def damaged(path: Path, problem: str) -> FormatError:
    """Return the error that says what is wrong with a file, and what to do."""
    return FormatError(f"{path}: {problem}. The index is damaged; build it again with `gossamer build`")
