"""Studies from YAML files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from gossamer.errors import ConfigError, FormatError, MissingDependencyError, NotFoundError
from gossamer.study.config import StudyConfig
from gossamer.study.image_config import ImageSettings
from gossamer.study.methods import GIVEN, MethodConfig

_BESIDE_IMAGES = ("encoders", "training")  # keys of the file, and settings of the images
_OF_EVERY_METHOD = ("name", "rerank", "curve", "most_distractors", "seeds")


def read_config(path: str | Path) -> StudyConfig:
    """Read a YAML file whose keys are the settings of `StudyConfig`; paths in it are relative to it.

    A method is its name, or a mapping of ``name``, ``rerank``, ``curve`` and its settings.

    Raises
    ------
    NotFoundError
        If there is no such file.
    FormatError
        If it is not YAML.
    MissingDependencyError
        If PyYAML, or the library of a method, is not installed.
    ConfigError, ArgumentError
        If a key is unknown or missing, or a setting wrong.
    """
    path = Path(path)
    settings = _read_yaml(path)
    _check_keys(path, settings)
    for key in ("seeds", "ks", "n_distractors", "false_accept_rates"):
        if key in settings:
            settings[key] = tuple(settings[key])
    for key in ("documents", "queries", "distractors"):
        if key in settings and (key == "documents" or settings[key] is not None):
            settings[key] = _beside(path, settings[key], key)
    if "images" in settings:
        settings["images"] = _images(path, settings)
    for key in _BESIDE_IMAGES:
        settings.pop(key, None)
    settings["methods"] = tuple(_method(method, path) for method in settings["methods"])
    return StudyConfig(**settings)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError(
            "a study's file needs PyYAML, which is not installed: pip install 'gossamer[study]'"
        ) from error
    if not path.is_file():
        raise NotFoundError(f"study: expected a YAML file; there is none at {path}")
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise FormatError(f"{path}: expected YAML; it cannot be read ({reason})") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: expected settings by name; got {type(settings).__name__}")
    return settings


def _check_keys(path: Path, settings: dict[str, Any]) -> None:
    """Refuse keys that are unknown, missing or of no mapping or list."""
    known = [*(item.name for item in dataclasses.fields(StudyConfig)), *_BESIDE_IMAGES]
    for key in settings:
        if key not in known:
            raise ConfigError(f"{path}: expected keys of {', '.join(known)}; got {key!r}")
    required = ("protocol", "images" if "images" in settings else "documents", "methods")
    if missing := [key for key in required if key not in settings]:
        raise ConfigError(f"{path}: expected a key {missing[0]!r}; there is none")
    for key in ("methods", "seeds", "ks", "n_distractors", "false_accept_rates"):
        if key in settings and not isinstance(settings[key], list):
            raise ConfigError(f"{path}, {key}: expected a list; got {settings[key]!r}")
    if not isinstance(settings.get("most_distractors", {}), dict):
        raise ConfigError(f"{path}, most_distractors: expected a number by seed; got {settings['most_distractors']!r}")
    for key in _BESIDE_IMAGES:
        if key in settings and "images" not in settings:
            raise ConfigError(f"{path}, {key}: expected in a study of images alone; it has no key 'images'")


def _beside(path: Path, given: Any, key: str) -> Path:
    if not isinstance(given, str):
        raise ConfigError(f"{path}, {key}: expected a path; got {given!r}")
    return path.parent / given


def _method(given: Any, path: Path) -> MethodConfig:
    if isinstance(given, str):
        return MethodConfig(name=given)
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise ConfigError(f"{path}, methods: expected a name, or a mapping with a name; got {given!r}")
    settings = {key: value for key, value in given.items() if key not in _OF_EVERY_METHOD}
    if given["name"] in GIVEN:
        for key in ("documents", "queries"):
            if key in settings:
                settings[key] = str(_beside(path, settings[key], key))
    if not isinstance(given.get("seeds", []), list):
        raise ConfigError(f"{path}, methods, seeds: expected a list; got {given['seeds']!r}")
    return MethodConfig(
        name=given["name"],
        settings=settings,
        rerank=given.get("rerank"),
        curve=given.get("curve"),
        most_distractors=given.get("most_distractors"),
        seeds=tuple(given["seeds"]) if "seeds" in given else None,
    )


def _images(path: Path, settings: dict[str, Any]) -> ImageSettings:
    """Return the settings of images, and of what is trained on them."""
    given = settings["images"]
    known = [item.name for item in dataclasses.fields(ImageSettings) if item.name not in _BESIDE_IMAGES]
    parts = {"images": given, **{key: settings.get(key, {}) for key in _BESIDE_IMAGES}}
    for key, part in parts.items():
        if not isinstance(part, dict):
            raise ConfigError(f"{path}, {key}: expected settings by name; got {part!r}")
    for key in given:
        if key not in known:
            raise ConfigError(f"{path}, images: expected keys of {', '.join(known)}; got {key!r}")
    if "train" not in given:
        raise ConfigError(f"{path}, images: expected a key 'train'; there is none")
    from gossamer.study.image_data import KNOWN

    names = {key: given[key] for key in ("train", "search", "queries") if key in given}
    names = {
        key: name if name in tuple(KNOWN) else str(_beside(path, name, f"images, {key}")) for key, name in names.items()
    }
    return ImageSettings(**{**given, **names, **{key: parts[key] for key in _BESIDE_IMAGES}})
