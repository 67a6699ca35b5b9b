"""Outputs that are whole or absent: a killed command never leaves half a file or half a folder.

A file is written under a temporary name beside its target, flushed to the disk and renamed over it.
A folder with fixed file names is written whole under a temporary name and renamed into place.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gossamer.errors import NotFoundError, OutputExistsError


def check_output(path: Path, *, overwrite: bool, marker: str | None = None) -> None:
    """Refuse an output path that is taken, before any work is done.

    Parameters
    ----------
    path : Path
        Where a result is to be written.
    overwrite : bool
        Whether an older result there may be replaced.
    marker : str, optional
        For a folder: the file that every folder of this kind holds. A folder without it is never
        replaced, so that ``--overwrite`` cannot delete somebody's pictures.

    Raises
    ------
    OutputExistsError
        If ``path`` exists and may not be replaced.
    NotFoundError
        If the folder to write into does not exist.
    """
    parent = path.absolute().parent
    if not parent.is_dir():
        raise NotFoundError(f"output: expected an existing folder to write into; {parent} is none")
    if not path.exists():
        return
    if not overwrite:
        raise OutputExistsError(f"output: {path} exists; pass --overwrite (overwrite=True) to replace it")
    if marker is None and not path.is_file():
        raise OutputExistsError(f"output: {path} is a folder and will not be replaced by a file; name another path")
    if marker is not None and not (path / marker).is_file():
        raise OutputExistsError(f"output: {path} holds no {marker}, so it is not replaced; name another path")


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is synced and renamed over ``path``.

    On an error the temporary file is removed and ``path`` stays as it was.
    """
    partial = _partial_name(path)
    try:
        yield partial
        sync(partial)
        os.replace(partial, path)
        sync(path.absolute().parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield a new empty folder beside ``path``; on success it takes the place of ``path``.

    A reader sees the old folder, or none, or the new one; never a mixture. On an error the new folder
    is removed and ``path`` stays as it was. Check the path first with `check_output`.
    """
    partial = _partial_name(path)
    replaced = partial.with_suffix(".old")
    partial.mkdir()
    try:
        yield partial
        for file in sorted(partial.rglob("*")):
            sync(file)
        sync(partial)
        if path.exists():
            os.rename(path, replaced)
        os.rename(partial, path)
        sync(path.absolute().parent)
    except BaseException:
        if replaced.exists() and not path.exists():
            os.rename(replaced, path)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def sync(path: Path) -> None:
    """Force a file's bytes, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _partial_name(path: Path) -> Path:
    return path.absolute().parent / f".{path.name}.{uuid.uuid4().hex[:8]}.partial"
