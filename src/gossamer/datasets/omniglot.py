"""Omniglot: 1,623 handwritten characters of 50 alphabets, drawn by 20 people each.

Lake, Salakhutdinov and Tenenbaum, "Human-level concept learning through probabilistic program
induction", Science 350, 2015; https://github.com/brendenlake/omniglot (MIT licence).
"""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

from gossamer.errors import ConfigError, FormatError, NotFoundError
from gossamer.files import replaced_file

Split: TypeAlias = Literal["background", "evaluation"]

UPSTREAM = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
MD5 = {
    "background": "68d2efa1b9178cc56df9314c21c6e718",
    "evaluation": "6b91aef0f799c5bb55b94e3f2daec811",
}
"""Of upstream's zips, by split."""

_TIMEOUT_S = 30
_BYTES_PER_READ = 1 << 16


def cache_folder() -> Path:
    """Return where downloads are kept: ``GOSSAMER_CACHE``, else the platform's cache folder / gossamer."""
    if chosen := os.environ.get("GOSSAMER_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "gossamer"


def omniglot(
    split: Split,
    *,
    upstream: str = UPSTREAM,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Return the zip of one split, downloaded at the first call.

    It is looked for in the folder ``omniglot`` of ``GOSSAMER_DATA`` and of `cache_folder`. In it, the
    images of a character lie in ``images_SPLIT/ALPHABET/CHARACTER``.

    Parameters
    ----------
    split : "background" or "evaluation"
        30 alphabets, meant for learning, or the other 20.
    upstream : str
        Where the zips are downloaded from.
    on_progress : callable, optional
        Called with the bytes downloaded, and of all.

    Raises
    ------
    NotFoundError
        If it is in neither folder and cannot be downloaded.
    FormatError
        If what was downloaded is not upstream's zip; nothing is kept then.
    """
    if split not in MD5:
        raise ConfigError(f"split: expected {' or '.join(MD5)}; got {split!r}")
    name = f"images_{split}.zip"
    folders = [cache_folder() / "omniglot"]
    if data := os.environ.get("GOSSAMER_DATA"):
        folders.insert(0, Path(data) / "omniglot")
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    _download(f"{upstream}/{name}", folders[-1] / name, md5=MD5[split], on_progress=on_progress)
    return folders[-1] / name


def _download(url: str, path: Path, *, md5: str, on_progress: Callable[[int, int], None] | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.md5(usedforsecurity=False)
    with replaced_file(path) as partial, partial.open("wb") as file:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
                total = int(response.headers.get("Content-Length", 0))
                while block := response.read(_BYTES_PER_READ):
                    file.write(block)
                    digest.update(block)
                    if on_progress:
                        on_progress(file.tell(), total)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise NotFoundError(
                f"Omniglot: expected it in GOSSAMER_DATA or {path.parent}, or to download it; {url}: {error}"
            ) from error
        if digest.hexdigest() != md5:
            raise FormatError(f"Omniglot: expected a file of MD5 {md5} at {url}; got {digest.hexdigest()}")
