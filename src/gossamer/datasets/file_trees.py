"""A tree of files to read, in a folder or in a zip; nothing is ever unpacked."""

from __future__ import annotations

import io
import os
import threading
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NoReturn, Protocol

from gossamer.errors import DataError, FormatError, NotFoundError

_LARGEST_MEMBER_BYTES = 1 << 30


class FileTree(Protocol):
    """Files by name: their path relative to the root, separated by '/'."""

    root: Path
    names: list[str]
    """Every file, ascending. Hidden files and folders, and macOS's ``__MACOSX``, are passed over."""

    def open(self, name: str) -> BinaryIO:
        """Open one file; safe to call from several threads."""
        ...


def open_tree(path: str | Path) -> FileTree:
    """Open a folder, or a zip of one.

    Raises
    ------
    NotFoundError
        If there is nothing at ``path``.
    FormatError
        If it is a file, but not a zip.
    DataError
        If the names in it are not clean relative paths, each there once.
    """
    path = Path(path)
    if path.is_dir():
        return _Folder(path)
    if not path.exists():
        raise NotFoundError(f"data: expected a folder or a zip; there is nothing at {path}")
    return _Zip(path)


class _Folder:
    """The files below a folder, links followed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names = sorted(self._walk())

    def _walk(self) -> list[str]:
        names, reached = [], set()
        for folder, folders, files in os.walk(self.root, followlinks=True, onerror=_refuse_folder):
            real = os.path.realpath(folder)
            if real in reached:
                raise DataError(f"data: expected a tree of folders; a link leads to {real} a second time")
            reached.add(real)
            folders[:] = [name for name in folders if _is_visible(name)]
            inside = PurePosixPath(Path(folder).relative_to(self.root).as_posix())
            names += [str(inside / name) for name in files if _is_visible(name)]
        for name in names:
            if not _is_unicode(name):
                raise DataError(f"data: expected names in UTF-8; {name!a} in {self.root} is not")
        return names

    def open(self, name: str) -> BinaryIO:
        return (self.root / name).open("rb")


class _Zip:
    """The members of a zip, read where they lie."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self._archive = zipfile.ZipFile(root)
        except zipfile.BadZipFile as error:
            raise FormatError(f"data: expected a folder or a zip; {root} is neither ({error})") from error
        self._lock = threading.Lock()
        members = {}
        for info in self._archive.infolist():
            parts = PurePosixPath(info.filename).parts
            if info.is_dir() or not all(_is_visible(part) for part in parts if part != ".."):
                continue
            if ".." in parts or "/" in parts or "\\" in info.filename:
                raise DataError(f"data: expected relative names with '/' in {root}; got {info.filename!r}")
            name = "/".join(parts)
            if name in members:
                raise DataError(f"data: expected each file once in {root}; {name} is there twice")
            members[name] = info
        self._members = members
        self.names = sorted(members)

    def open(self, name: str) -> BinaryIO:
        member = self._members[name]
        if member.file_size > _LARGEST_MEMBER_BYTES:
            raise DataError(
                f"data: expected files of at most 1 GiB in {self.root}; {name} has {member.file_size} bytes"
            )
        try:
            with self._lock:  # the members share one file position
                return io.BytesIO(self._archive.read(member))
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise DataError(f"data: expected a readable file; {name} in {self.root} is none ({error})") from error


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_folder(error: OSError) -> NoReturn:
    raise DataError(f"data: expected readable folders; {error.filename}: {error.strerror}") from error
