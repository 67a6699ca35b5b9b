"""The files of an index: atomic write, checked read, memory-mapped. Specification: docs/index-format.md."""

from __future__ import annotations

import json
import mmap
import os
import re
import uuid
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from gossamer.arrays import AnyArray, TextArray
from gossamer.catalog import Catalog
from gossamer.errors import FormatError, NotFoundError, OutputExistsError, VersionError
from gossamer.files import check_output, replaced_file, replaced_folder, sync

MANIFEST = "manifest.json"
FORMAT = "gossamer-index"
VERSION = 1
MAX_DOCS = 2**31 - 1
MAX_WINDOW = 1 << 16
"""Documents per window at most: as many as 16 bits can number."""
POSTINGS = ("postings.offsets", "postings.ids", "postings.values")

_MAGIC = b"GOSSAMER" + VERSION.to_bytes(4, "little")
_ALIGNMENT = 64
_PAYLOAD_NAME = re.compile(r"arrays-[0-9a-f]{8}\.bin")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class IndexContents:
    """What an index consists of, in memory or mapped from its files."""

    n_docs: int
    dim: int
    window: int
    fingerprint: str
    arrays: dict[str, AnyArray]
    path: Path | None = None  # of the mapped file

    @property
    def postings(self) -> tuple[AnyArray, ...]:
        """The arrays of the posting lists, in the order in which kernels take them."""
        return tuple(self.arrays[name] for name in POSTINGS)


def write(folder: Path, contents: IndexContents, catalog: Catalog, *, overwrite: bool) -> None:
    """Write an index folder; conditions and errors as in `gossamer.InvertedIndex.save`."""
    check_output(folder, overwrite=overwrite, marker=MANIFEST)
    if not folder.exists():
        with replaced_folder(folder) as partial:
            _write_files(partial, contents, catalog)
        return
    try:
        _parse_manifest(folder)
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
        size = os.fstat(file.fileno()).st_size
        expected = _field(manifest, "payload_bytes", int, folder / MANIFEST)
        if size != expected:
            raise _damaged(path, f"expected {expected} bytes; got {size}" + " (truncated)" * (size < expected))
        if file.read(len(_MAGIC)) != _MAGIC:
            raise _damaged(path, "does not begin as an index file")
        payload = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    contents = _contents(manifest, payload, path, verify=verify)
    _check_offsets(contents.postings[0], contents.postings[1].size, "postings.offsets", path)
    return contents


def read_catalog(contents: IndexContents) -> Catalog:
    """Read keys and labels; errors as in `gossamer.InvertedIndex.catalog`."""
    keys, labels = _read_texts(contents, "keys"), _read_texts(contents, "labels")
    return Catalog(n=contents.n_docs, keys=keys, labels=labels, fingerprint=contents.fingerprint)


def _write_files(folder: Path, contents: IndexContents, catalog: Catalog) -> str:
    """Write the payload, then the manifest that names it; return the payload's name."""
    arrays = dict(zip(POSTINGS, contents.postings, strict=True))
    arrays |= _text_arrays("keys", catalog.keys) | _text_arrays("labels", catalog.labels)
    path = folder / f"arrays-{uuid.uuid4().hex[:8]}.bin"
    try:
        with path.open("xb") as file:
            entries = _write_arrays(file, arrays)
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
        "nnz": contents.postings[1].size,
        "window": contents.window,
        "fingerprint": contents.fingerprint,
        "payload": path.name,
        "payload_bytes": path.stat().st_size,
        "arrays": entries,
    }
    with replaced_file(folder / MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return path.name


def _write_arrays(file: BinaryIO, arrays: dict[str, AnyArray]) -> dict[str, Any]:
    """Write the header and the arrays; return what the manifest says of each."""
    entries = {}
    file.write(_MAGIC)
    for name, values in arrays.items():
        array = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        file.write(bytes(-file.tell() % _ALIGNMENT))
        entries[name] = {
            "dtype": array.dtype.str,
            "shape": list(array.shape),
            "offset": file.tell(),
            "crc32": zlib.crc32(array.data),
        }
        file.write(array.data)
    return entries


def _parse_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"{path}: not found, so {folder} is no index; make one with `gossamer build`") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "expected JSON") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise FormatError(f"{path}: expected the manifest of an index (format {FORMAT!r}); this is another file")
    return manifest


def _read_manifest(folder: Path) -> dict[str, Any]:
    manifest, path = _parse_manifest(folder), folder / MANIFEST
    version = _field(manifest, "version", int, path)
    if version > VERSION:
        raise VersionError(
            f"{path}: expected format version {VERSION} at most; got {version}, which a newer Gossamer wrote. "
            "Upgrade with pip install --upgrade gossamer"
        )
    if version < 1:
        raise _damaged(path, f"expected a format version of at least 1; got {version}")
    return manifest


def _open_payload(folder: Path) -> tuple[dict[str, Any], Path, BinaryIO]:
    manifest = _read_manifest(folder)
    while True:
        name = _field(manifest, "payload", str, folder / MANIFEST)
        if not _PAYLOAD_NAME.fullmatch(name):
            raise _damaged(folder / MANIFEST, f"expected a payload named like arrays-0123abcd.bin; got {name!r}")
        try:
            return manifest, folder / name, (folder / name).open("rb")
        except FileNotFoundError as error:
            # Somebody may have replaced the index since its manifest was read.
            newer = _read_manifest(folder)
            if newer == manifest:
                raise _damaged(folder / name, "not found, though the manifest names it") from error
            manifest = newer


def _contents(manifest: dict[str, Any], payload: mmap.mmap, path: Path, *, verify: bool) -> IndexContents:
    """Map the arrays that this version knows; a reader passes over others."""
    source = path.parent / MANIFEST
    n_docs, dim, nnz, window = (_field(manifest, name, int, source) for name in ("n_docs", "dim", "nnz", "window"))
    if not (0 <= n_docs <= MAX_DOCS and 1 <= dim <= MAX_DOCS and 1 <= window <= MAX_WINDOW):
        raise _damaged(source, f"n_docs {n_docs}, dim {dim} or window {window} is out of range")
    known = {
        "postings.offsets": ("<i8", -(-n_docs // window) * dim + 1),
        "postings.ids": ("<u2", nnz),
        "postings.values": ("<f4", nnz),
        "keys.offsets": ("<i8", n_docs + 1),
        "keys.text": ("|u1", None),
        "labels.offsets": ("<i8", n_docs + 1),
        "labels.text": ("|u1", None),
    }
    entries = _field(manifest, "arrays", dict, source)
    arrays = {}
    for name, (dtype, size) in known.items():
        if name in entries:
            entry = _field(entries, name, dict, source)
            arrays[name] = _map_array(payload, name, entry, dtype, size, path=path)
            if verify and zlib.crc32(arrays[name].data) != entry.get("crc32"):
                raise _damaged(path, f"the checksum of {name} differs")
        elif name in POSTINGS or name.replace("text", "offsets") in entries:
            raise _damaged(source, f"expected an array {name}")
    return IndexContents(
        n_docs=n_docs,
        dim=dim,
        window=window,
        fingerprint=_field(manifest, "fingerprint", str, source),
        arrays=arrays,
        path=path,
    )


def _map_array(
    payload: mmap.mmap, name: str, entry: dict[str, Any], dtype: str, size: int | None, *, path: Path
) -> AnyArray:
    source = path.parent / MANIFEST
    shape, offset = _field(entry, "shape", list, source), _field(entry, "offset", int, source)
    if entry.get("dtype") != dtype or len(shape) != 1 or type(shape[0]) is not int or shape[0] < 0:
        raise _damaged(source, f"{name}: expected a vector of dtype {dtype}; got {entry.get('dtype')!r}, {shape}")
    if size is not None and shape[0] != size:
        raise _damaged(source, f"{name}: expected {size} entries; got {shape[0]}")
    end = offset + shape[0] * np.dtype(dtype).itemsize
    if offset < len(_MAGIC) or offset % _ALIGNMENT or end > len(payload):
        raise _damaged(path, f"{name}: expected to lie within the file's {len(payload)} bytes; got {offset} to {end}")
    return np.frombuffer(payload, dtype, count=shape[0], offset=offset)


def _check_offsets(offsets: AnyArray, end: int, name: str, path: Path) -> None:
    if offsets[0] != 0 or offsets[-1] != end or (offsets[1:] < offsets[:-1]).any():
        raise _damaged(path, f"{name}: expected offsets from 0 to {end} that never decrease; these do not")


def _text_arrays(name: str, texts: TextArray | None) -> dict[str, AnyArray]:
    if texts is None:
        return {}
    # File names that are not UTF-8 reach Python as lone surrogates; they pass, so that every key comes back.
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts.tolist()]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return {f"{name}.offsets": offsets, f"{name}.text": np.frombuffer(b"".join(encoded), np.uint8)}


def _read_texts(contents: IndexContents, name: str) -> TextArray | None:
    if f"{name}.offsets" not in contents.arrays:
        return None
    assert contents.path is not None, "an index in memory has its catalog"
    offsets, text = contents.arrays[f"{name}.offsets"], contents.arrays[f"{name}.text"].tobytes()
    _check_offsets(offsets, len(text), f"{name}.offsets", contents.path)
    bounds = offsets.tolist()
    try:
        texts = [text[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(bounds)]
    except UnicodeDecodeError as error:
        raise _damaged(contents.path, f"{name}.text: expected UTF-8") from error
    return np.array(texts, dtype=np.str_)


def _field(mapping: dict[str, Any], name: str, kind: type[T], path: Path) -> T:
    value = mapping.get(name)
    if type(value) is not kind:
        raise _damaged(path, f"{name}: expected {kind.__name__}; got {value!r}")
    return value


def _damaged(path: Path, problem: str) -> FormatError:
    return FormatError(f"{path}: {problem}. The index is damaged; build it again with `gossamer build`")
