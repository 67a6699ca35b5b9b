"""One checkpoint on the disk: a folder of ``state.json`` and ``tensors.safetensors``; nothing is pickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from gossamer.errors import FormatError, VersionError
from gossamer.files import replaced_folder

STATE, TENSORS = "state.json", "tensors.safetensors"
FORMAT, VERSION = "gossamer-checkpoint", 1


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write a state whole or not at all; its parent exists.

    Parameters
    ----------
    folder : Path
        The folder to make.
    state : dict
        Of None, bools, numbers, strings and tensors, in dicts, lists and tuples of any depth; the keys of
        dicts are strings or whole numbers.

    Raises
    ------
    TypeError
        If something else is in it.
    """
    tensors: dict[str, Tensor] = {}
    content = {"format": FORMAT, "version": VERSION, "state": _encoded(state, tensors)}
    with replaced_folder(folder) as new:
        (new / STATE).write_text(json.dumps(content) + "\n", encoding="utf-8")
        (new / TENSORS).write_bytes(save(tensors))


def read_state(folder: Path) -> dict[str, Any]:
    """Read what `write_state` wrote, bit for bit; tensors are on the CPU.

    Raises
    ------
    FormatError
        If a file is missing, damaged or of another kind.
    VersionError
        If a newer Gossamer wrote it.
    """
    try:
        content = json.loads((folder / STATE).read_bytes())
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise FormatError(f"checkpoint: {folder / STATE} does not say format {FORMAT!r}; delete the folder")
        if content["version"] > VERSION:
            raise VersionError(f"checkpoint: {folder} is of version {content['version']}, newer than {VERSION}")
        state: dict[str, Any] = _decoded(content["state"], load_file(folder / TENSORS))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"checkpoint: {folder} is truncated or damaged ({error}); delete the folder") from error
    return state


def _encoded(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return the value as JSON has it; its tensors are put aside, under names."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Tensor():
            name = str(len(tensors))
            # A copy: safetensors refuses tensors that share memory or are not contiguous.
            tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
            return {"tensor": name, "is_channels_last": _is_channels_last(value)}
        case list():
            return [_encoded(item, tensors) for item in value]
        case tuple():
            return {"tuple": [_encoded(item, tensors) for item in value]}
        case dict() if all(type(key) in (str, int) for key in value):
            return {"dict": [[key, _encoded(item, tensors)] for key, item in value.items()]}
    raise TypeError(f"state: expected tensors, numbers, strings, dicts, lists and tuples; got {type(value).__name__}")


def _decoded(value: Any, tensors: dict[str, Tensor]) -> Any:
    match value:
        case {"tensor": name, "is_channels_last": is_channels_last}:
            # Fused optimizers walk through weights and their averages in the order of the memory.
            layout = torch.channels_last if is_channels_last else torch.contiguous_format
            return tensors[name].contiguous(memory_format=layout)
        case {"tuple": items}:
            return tuple(_decoded(item, tensors) for item in items)
        case {"dict": items}:
            return {key: _decoded(item, tensors) for key, item in items}
        case list():
            return [_decoded(item, tensors) for item in value]
    return value


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)
