"""The folder of a study: its settings, its records, and whether it is the same study."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import gossamer
from gossamer.errors import FormatError, OutputExistsError
from gossamer.files import replaced_file
from gossamer.study.config import StudyConfig

RECORDS, SETTINGS = "records.jsonl", "study.json"


def file_digests(config: StudyConfig) -> dict[str, str | None]:
    """Return the SHA-256 of each file that a method takes; None where there is none, and the method will fail."""
    digests: dict[str, str | None] = {}
    for path in (path for method in config.methods for path in method.given_files):
        digests[str(path)] = None
        if path.is_file():
            with path.open("rb") as file:
                digests[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def open_records(out: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records that are there; make the folder if there is none.

    Raises
    ------
    OutputExistsError
        If the folder holds another study, or none.
    FormatError
        If its records are damaged.
    """
    if not out.exists():
        out.mkdir()
        with replaced_file(out / SETTINGS) as partial:
            partial.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return []
    try:
        before = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputExistsError(f"output: {out} exists and holds no study to go on with; name another path") from error
    if before != settings:
        changed = [key for key in settings if before.get(key) != settings[key]]
        raise OutputExistsError(
            f"output: {out} holds a study with other settings ({', '.join(changed) or 'more of them'}); "
            "name another path"
        )
    path = out / RECORDS
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise FormatError(f"{path}: expected one JSON record a line; it is damaged ({error})") from error


def write_records(path: Path, records: list[dict[str, Any]]) -> None:
    """Write all records, one a line, in place of those that are there."""
    with replaced_file(path) as partial:
        partial.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def circumstances() -> dict[str, Any]:
    """Return what a record says of the software and the machine."""
    return {
        "gossamer": gossamer.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "n_cpus": os.cpu_count(),
        "n_threads": 1,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu_model() -> str:
    """Return what the processor is called, where the system says so."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
