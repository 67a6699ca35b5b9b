"""The files of an index: atomic write, checked read, memory-mapped. Specification: docs/index-format.md."""

from __future__ import annotations

import dataclasses
import json
import mmap
import re
import uuid
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gossamer.arrays import AnyArray
from gossamer.catalog import Catalog
from gossamer.errors import DataError, FormatError, OutputExistsError
from gossamer.files import check_output, replaced_file, replaced_folder, sync
from gossamer.index.contents import BLOCKS, LISTS, MAX_WINDOW, PARTS, ROWS, IndexContents
from gossamer.index.manifest import (
    FORMAT,
    MANIFEST,
    VERSION,
    damaged,
    field,
    layout_in,
    parse_manifest,
    read_manifest,
    shape_in,
)
from gossamer.index.payload import (
    Known,
    check_offsets,
    map_arrays,
    map_payload,
    read_texts,
    text_arrays,
    write_arrays,
)
from gossamer.index.version_1 import upgraded

_PAYLOAD_NAME = re.compile(r"arrays-[0-9a-f]{8}\.bin")


def write(folder: Path, contents: IndexContents, catalog: Catalog, *, overwrite: bool) -> None:
    """Write an index folder; conditions and errors as in `gossamer.InvertedIndex.save`."""
    check_output(folder, overwrite=overwrite, marker=MANIFEST)
    if not folder.exists():
        with replaced_folder(folder) as partial:
            _write_files(partial, contents, catalog)
        return
    try:
        parse_manifest(folder)
    except FormatError as error:
        raise OutputExistsError(f"output: {folder} holds no index, so it is not replaced; name another path") from error
    payload = _write_files(folder, contents, catalog)
    for path in folder.iterdir():
        if _PAYLOAD_NAME.fullmatch(path.name) and path.name != payload:
            path.unlink()


def read(folder: Path, *, verify: bool) -> IndexContents:
    """Map an index folder; conditions and errors as in `gossamer.InvertedIndex.open`."""
    manifest, path, file = _open_payload(folder)
    with file:
        payload = map_payload(file, manifest, path)
    if manifest["version"] == 1:
        return upgraded(payload, manifest, path, verify=verify)
    contents = _map_contents(payload, manifest, path, verify=verify)
    _check_contents(contents, path)
    return contents


def read_catalog(contents: IndexContents) -> Catalog:
    """Read keys and labels; errors as in `gossamer.InvertedIndex.catalog`."""
    assert contents.path is not None, "an index in memory has its catalog"
    keys, labels = (read_texts(contents.arrays, name, contents.path) for name in ("keys", "labels"))
    try:
        return Catalog(n=contents.n_docs, keys=keys, labels=labels, fingerprint=contents.fingerprint)
    except DataError as error:
        raise damaged(contents.path, str(error)) from error


def _write_files(folder: Path, contents: IndexContents, catalog: Catalog) -> str:
    """Write the payload, then the manifest that names it; return the payload's name."""
    groups = ROWS + LISTS + (BLOCKS + PARTS if contents.layout.plan == "block-max" else ())
    arrays = {name: contents.arrays[name] for name in groups}
    arrays |= text_arrays("keys", catalog.keys) | text_arrays("labels", catalog.labels)
    path = folder / f"arrays-{uuid.uuid4().hex[:8]}.bin"
    try:
        with path.open("xb") as file:
            entries = write_arrays(file, arrays)
        sync(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    sync(folder)
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "n_docs": contents.n_docs,
        "dim": contents.dim,
        "nnz": contents.arrays["rows.values"].size,
        "window": contents.window,
        "layout": dataclasses.asdict(contents.layout),
        "fingerprint": contents.fingerprint,
        "payload": path.name,
        "payload_bytes": path.stat().st_size,
        "arrays": entries,
    }
    with replaced_file(folder / MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path.name


def _open_payload(folder: Path) -> tuple[dict[str, Any], Path, BinaryIO]:
    manifest = read_manifest(folder)
    while True:
        name = field(manifest, "payload", str, folder / MANIFEST)
        if not _PAYLOAD_NAME.fullmatch(name):
            raise damaged(folder / MANIFEST, f"expected a payload named like arrays-0123abcd.bin; got {name!r}")
        try:
            return manifest, folder / name, (folder / name).open("rb")
        except FileNotFoundError as error:
            # Somebody may have replaced the index since its manifest was read.
            newer = read_manifest(folder)
            if newer == manifest:
                raise damaged(folder / name, "not found, though the manifest names it") from error
            manifest = newer


def _map_contents(payload: mmap.mmap, manifest: dict[str, Any], path: Path, *, verify: bool) -> IndexContents:
    source = path.parent / MANIFEST
    n_docs, dim, nnz, window = shape_in(manifest, source)
    layout = layout_in(manifest, source)
    dims = "<u2" if dim <= MAX_WINDOW else "<i4"
    rows = ("<i8", n_docs + 1), (dims, nnz), ("<f4", nnz), ("<i4", None)
    required: Known = dict(zip(ROWS, rows, strict=True)) | _known_lists(LISTS, -(-n_docs // window))
    if layout.plan == "block-max":
        n_blocks, n_parts = -(-n_docs // layout.block_size), -(-n_docs // layout.part_size)
        parts = ("<i8", n_parts + 1), (dims, None), ("|u1", None), ("|u1", None), ("<f4", n_parts)
        required |= _known_lists(BLOCKS, -(-n_blocks // window)) | dict(zip(PARTS, parts, strict=True))
    return IndexContents(
        n_docs=n_docs,
        dim=dim,
        window=window,
        fingerprint=field(manifest, "fingerprint", str, source),
        layout=layout,
        arrays=map_arrays(payload, manifest, path, required, verify=verify),
        path=path,
    )


def _known_lists(names: tuple[str, ...], n_windows: int) -> Known:
    dtypes = "<i8", "<i8", "<i4", "<i8", "<u4", "<u2"
    sizes = n_windows + 1, n_windows + 1, None, None, None, None
    return dict(zip(names, zip(dtypes, sizes, strict=True), strict=True))


def _check_contents(contents: IndexContents, path: Path) -> None:
    """Check what leads from one array into another, so that no search can leave them."""
    indptr, dims, values, doc_ids = contents.group(ROWS)
    check_offsets(indptr, values.size, "rows.indptr", path)
    _check_dims(dims, contents.dim, "rows.dims", path)
    if doc_ids.size and not _is_order(doc_ids, contents.n_docs):
        raise damaged(path, f"rows.doc_ids: expected each number below {contents.n_docs} once, or none at all")
    _check_lists(contents, LISTS, path)
    if contents.layout.plan == "block-max":
        _check_lists(contents, BLOCKS, path)
        indptr, dims, highs, lows, _ = contents.group(PARTS)
        check_offsets(indptr, dims.size, "parts.indptr", path)
        _check_dims(dims, contents.dim, "parts.dims", path)
        if highs.size != dims.size or lows.size not in (0, dims.size):
            raise damaged(path, "parts: expected as many highs as dims, and as many lows or none")


def _check_lists(contents: IndexContents, names: tuple[str, ...], path: Path) -> None:
    window_starts, window_lists, list_dims, list_segments, segments, ids = contents.group(names)
    n_lists, dim = list_segments.size - 1, contents.dim
    check_offsets(window_starts, ids.size, names[0], path)
    check_offsets(window_lists, n_lists, names[1], path)
    check_offsets(list_segments, segments.size // 3, names[3], path)
    if list_dims.size == 0 and n_lists:
        # Lists of every dimension are found by counting.
        if (np.diff(window_lists) != dim).any():
            raise damaged(path, f"{names[1]}: expected {dim} lists in each window, or the dimension of each list")
    elif list_dims.size != n_lists:
        raise damaged(path, f"{names[2]}: expected the dimension of each of {n_lists} lists; got {list_dims.size}")
    _check_dims(list_dims, dim, names[2], path)
    if segments.size % 3:
        raise damaged(path, f"{names[4]}: expected three numbers a segment; got {segments.size} in all")


def _check_dims(dims: AnyArray, dim: int, name: str, path: Path) -> None:
    # 16 bits lead to a place that searches have, whatever they hold. As unsigned, negative numbers are too large.
    if dims.dtype != np.uint16 and dims.size and int(dims.view(np.uint32).max()) >= dim:
        raise damaged(path, f"{name}: expected dimensions from 0 to {dim - 1}")


def _is_order(doc_ids: AnyArray, n_docs: int) -> bool:
    """Tell whether each document is there once."""
    if doc_ids.size != n_docs or int(doc_ids.view(np.uint32).max()) >= n_docs:
        return False
    is_there = np.zeros(n_docs, np.bool_)
    is_there[doc_ids] = True
    return bool(is_there.all())
