"""The file of arrays: written one after the other, mapped by what the manifest says of each."""

from __future__ import annotations

import mmap
import os
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gossamer.arrays import AnyArray, TextArray
from gossamer.index.manifest import MANIFEST, VERSION, damaged, field

Known = dict[str, tuple[str, int | None]]
"""The dtype of each array, and its size unless that is free."""

_MAGIC = b"GOSSAMER"
_HEADER_BYTES = 12  # the magic, and the version
_ALIGNMENT = 64


def write_arrays(file: BinaryIO, arrays: dict[str, AnyArray]) -> dict[str, Any]:
    """Write the header and the arrays; return what the manifest says of each."""
    entries = {}
    file.write(_MAGIC + VERSION.to_bytes(4, "little"))
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


def map_payload(file: BinaryIO, manifest: dict[str, Any], path: Path) -> mmap.mmap:
    """Map a file that is as long as the manifest says and begins as it should."""
    size, expected = os.fstat(file.fileno()).st_size, field(manifest, "payload_bytes", int, path.parent / MANIFEST)
    if size != expected:
        raise damaged(path, f"expected {expected} bytes; got {size}" + " (truncated)" * (size < expected))
    if file.read(_HEADER_BYTES) != _MAGIC + manifest["version"].to_bytes(4, "little"):
        raise damaged(path, "does not begin as an index file")
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def map_arrays(
    payload: mmap.mmap, manifest: dict[str, Any], path: Path, required: Known, *, verify: bool
) -> dict[str, AnyArray]:
    """Return the required arrays, and those of keys and labels if there are any; others are passed over."""
    entries = field(manifest, "arrays", dict, path.parent / MANIFEST)
    known = dict(required)
    for name in ("keys", "labels"):
        if f"{name}.offsets" in entries or f"{name}.text" in entries:
            known |= {f"{name}.offsets": ("<i8", manifest["n_docs"] + 1), f"{name}.text": ("|u1", None)}
    arrays = {}
    for name, (dtype, size) in known.items():
        if name not in entries:
            raise damaged(path.parent / MANIFEST, f"expected an array {name}")
        entry = field(entries, name, dict, path.parent / MANIFEST)
        arrays[name] = _map_array(payload, name, entry, dtype, size, path=path)
        if verify and zlib.crc32(arrays[name].data) != entry.get("crc32"):
            raise damaged(path, f"the checksum of {name} differs")
    return arrays


def _map_array(
    payload: mmap.mmap, name: str, entry: dict[str, Any], dtype: str, size: int | None, *, path: Path
) -> AnyArray:
    source = path.parent / MANIFEST
    shape, offset = field(entry, "shape", list, source), field(entry, "offset", int, source)
    if entry.get("dtype") != dtype or len(shape) != 1 or type(shape[0]) is not int or shape[0] < 0:
        raise damaged(source, f"{name}: expected a vector of dtype {dtype}; got {entry.get('dtype')!r}, {shape}")
    if size is not None and shape[0] != size:
        raise damaged(source, f"{name}: expected {size} entries; got {shape[0]}")
    end = offset + shape[0] * np.dtype(dtype).itemsize
    if offset < _HEADER_BYTES or offset % _ALIGNMENT or end > len(payload):
        raise damaged(path, f"{name}: expected to lie within the file's {len(payload)} bytes; got {offset} to {end}")
    return np.frombuffer(payload, dtype, count=shape[0], offset=offset)


def check_offsets(offsets: AnyArray, end: int, name: str, path: Path) -> None:
    """Check that offsets cut an array of size ``end`` into parts."""
    if offsets.size == 0 or offsets[0] != 0 or offsets[-1] != end or (offsets[1:] < offsets[:-1]).any():
        raise damaged(path, f"{name}: expected offsets from 0 to {end} that never decrease; these do not")


def text_arrays(name: str, texts: TextArray | None) -> dict[str, AnyArray]:
    """Return the arrays that hold texts; none if there are no texts."""
    if texts is None:
        return {}
    # File names that are not UTF-8 reach Python as lone surrogates; they pass, so that every key comes back.
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts.tolist()]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return {f"{name}.offsets": offsets, f"{name}.text": np.frombuffer(b"".join(encoded), np.uint8)}


def read_texts(arrays: dict[str, AnyArray], name: str, path: Path) -> TextArray | None:
    """Return texts; None if there are none."""
    if f"{name}.offsets" not in arrays:
        return None
    offsets, text = arrays[f"{name}.offsets"], arrays[f"{name}.text"].tobytes()
    check_offsets(offsets, len(text), f"{name}.offsets", path)
    try:
        texts = [text[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(offsets.tolist())]
    except UnicodeDecodeError as error:
        raise damaged(path, f"{name}.text: expected UTF-8") from error
    return np.array(texts, dtype=np.str_)
