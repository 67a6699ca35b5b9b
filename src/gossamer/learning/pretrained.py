"""The model folder: ``config.json``, ``model.safetensors``, ``metrics.json`` and ``README.md``."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from gossamer.errors import ConfigError, FormatError, NotFoundError, VersionError
from gossamer.files import check_output, replaced_folder
from gossamer.learning.model_card import CARD

CONFIG, WEIGHTS, METRICS = "config.json", "model.safetensors", "metrics.json"
VERSION = 1
ENCODER, SPARSIFIER, TWO_TOWERS = "gossamer-encoder", "gossamer-sparsifier", "gossamer-two-towers"
"""The formats: what ``config.json`` says a folder holds."""

_MEANINGS = {
    ENCODER: "an encoder of images, for gossamer.learning.Encoder",
    SPARSIFIER: "a sparsifier of dense embeddings, for gossamer.learning.Sparsifier",
    TWO_TOWERS: "two towers of users and items, for gossamer.learning.two_towers.TwoTowers",
}

ConfigT = TypeVar("ConfigT")


def write_folder(
    folder: Path,
    config: dict[str, Any],
    weights: Mapping[str, Tensor],
    metrics: dict[str, Any],
    card: str,
    *,
    overwrite: bool,
    kind: str = ENCODER,
) -> None:
    """Write a model folder of one of the formats, whole or not; errors as in `gossamer.files.check_output`."""
    check_output(folder, overwrite=overwrite, marker=CONFIG)
    with replaced_folder(folder) as new:
        _write_json(new / CONFIG, {"format": kind, "version": VERSION, **config})
        _write_json(new / METRICS, metrics)
        (new / CARD).write_text(card, encoding="utf-8")
        # A copy of each: safetensors refuses tensors that share memory or are not contiguous.
        copies = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()
        }
        (new / WEIGHTS).write_bytes(save(copies))  # save_file would make a file that only its owner can read


def read_kind(folder: Path) -> str:
    """Return which of the formats a model folder has: `ENCODER`, `SPARSIFIER` or `TWO_TOWERS`.

    Raises
    ------
    NotFoundError
        If there is no such folder, or no ``config.json`` in it.
    FormatError
        If that is not JSON, or of another format.
    """
    kind: str = _read_settings(folder)["format"]
    return kind


def read_config(
    folder: Path, config_type: type[ConfigT], *, optional: Set[str] = frozenset(), kind: str = ENCODER
) -> ConfigT:
    """Read ``config.json`` as a dataclass: its fields, beside format and version, but for ``optional`` ones.

    Raises
    ------
    NotFoundError
        If there is no such folder, or no such file in it.
    FormatError
        If it is not JSON, of another format than ``kind``, or its settings are not those of ``config_type``.
    VersionError
        If a newer Gossamer wrote it.
    """
    settings, path = _read_settings(folder), folder / CONFIG
    found = settings.pop("format")
    if found != kind:
        raise FormatError(f"model: expected {_MEANINGS[kind]}; {folder} holds {_MEANINGS[found]}")
    version = settings.pop("version", None)
    if type(version) is not int or version < 1:
        raise FormatError(f"model: {path}: expected a version of at least 1; got {version!r}")
    if version > VERSION:
        raise VersionError(f"model: {path} is of version {version}, newer than {VERSION}; update gossamer")
    fields = {field.name for field in dataclasses.fields(config_type)}  # type: ignore[arg-type]
    for wrong, keys in (("missing", fields - optional - settings.keys()), ("unknown", settings.keys() - fields)):
        if keys:
            raise FormatError(f"model: {path}: {wrong} setting {sorted(keys)[0]!r}")
    try:
        return config_type(**settings)
    except ConfigError as error:
        raise FormatError(f"model: {path}: {error}") from error


def read_weights(folder: Path, *, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read ``model.safetensors`` and check it against tensors of the expected names, shapes and dtypes.

    Raises
    ------
    NotFoundError
        If there is no such file.
    FormatError
        If it is truncated or damaged, or the tensors differ in name, shape or dtype.
    """
    path = _existing(folder, WEIGHTS)
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise FormatError(f"model: {path} is truncated or damaged ({error}); copy the folder again") from error
    for kind, names in (
        ("lacks", expected.keys() - weights.keys()),
        ("has the unknown", weights.keys() - expected.keys()),
    ):
        if names:
            raise FormatError(f"model: {path} {kind} weights {sorted(names)[0]!r}; is it of another architecture?")
    for name, tensor in expected.items():
        found = weights[name]
        if (found.shape, found.dtype) != (tensor.shape, tensor.dtype):
            raise FormatError(
                f"model: {path}: expected {name} of shape {tuple(tensor.shape)}, {tensor.dtype}; "
                f"got {tuple(found.shape)}, {found.dtype}"
            )
    return weights


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read ``metrics.json``.

    Raises
    ------
    NotFoundError
        If there is no such file.
    FormatError
        If it is not a JSON object.
    """
    path = _existing(folder, METRICS)
    metrics = _read_json(path)
    if not isinstance(metrics, dict):
        raise FormatError(f"model: {path}: expected a JSON object; got {type(metrics).__name__}")
    return metrics


def model_fingerprint(settings: dict[str, Any], weights: Mapping[str, Tensor]) -> str:
    """Return 16 hexadecimal digits of a SHA-256 over settings and weights: equal if they are."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _read_settings(folder: Path) -> dict[str, Any]:
    path = _existing(folder, CONFIG)
    settings = _read_json(path)
    if not isinstance(settings, dict) or settings.get("format") not in list(_MEANINGS):
        known = " or ".join(map(repr, _MEANINGS))
        raise FormatError(f"model: {path} does not say format {known}; was it written by save_pretrained?")
    return settings


def _existing(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise NotFoundError(f"model: expected a folder that save_pretrained wrote; {folder} is none")
    if not (folder / name).is_file():
        raise NotFoundError(f"model: {folder} holds no {name}, so it is no model, or not a whole one")
    return folder / name


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise FormatError(f"model: {path} is not JSON, so it is damaged; copy the folder again") from error


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
