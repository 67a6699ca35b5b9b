"""Omniglot: where it is looked for, and its download, from a server on this machine."""

import hashlib
import http.server
import threading

import pytest

from gossamer.datasets import omniglot as omniglot_module
from gossamer.datasets.omniglot import cache_folder, omniglot
from gossamer.errors import ConfigError, FormatError, NotFoundError

ZIP = b"PK, or so it seems" * 10_000


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Give each test an empty cache and no data folder."""
    monkeypatch.delenv("GOSSAMER_DATA", raising=False)
    monkeypatch.setenv("GOSSAMER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "omniglot"


@pytest.fixture
def upstream(tmp_path):
    """Serve a folder that holds a zip for the background split alone."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "images_background.zip").write_bytes(ZIP)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "served"))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def right_md5(monkeypatch):
    monkeypatch.setitem(omniglot_module.MD5, "background", hashlib.md5(ZIP).hexdigest())


@pytest.mark.usefixtures("right_md5")
def test_a_download_is_kept_and_reported(upstream, cache):
    seen = []
    path = omniglot("background", upstream=upstream, on_progress=lambda done, total: seen.append((done, total)))
    assert path == cache / "images_background.zip"
    assert path.read_bytes() == ZIP
    assert seen[-1] == (len(ZIP), len(ZIP))


@pytest.mark.usefixtures("right_md5")
def test_a_second_call_downloads_nothing(upstream):
    path = omniglot("background", upstream=upstream)
    assert omniglot("background", upstream="http://127.0.0.1:9/nobody-listens") == path


def test_a_download_with_another_checksum_is_refused_and_not_kept(upstream, cache):
    with pytest.raises(FormatError, match="expected a file of MD5 68d2efa1b9178cc56df9314c21c6e718"):
        omniglot("background", upstream=upstream)
    assert list(cache.iterdir()) == []


def test_a_file_that_upstream_lacks_is_not_found(upstream, cache):
    with pytest.raises(NotFoundError, match="404"):
        omniglot("evaluation", upstream=upstream)
    assert list(cache.iterdir()) == []


def test_without_a_network_it_is_not_found(cache):
    with pytest.raises(NotFoundError, match="expected it in GOSSAMER_DATA"):
        omniglot("background", upstream="http://127.0.0.1:9")
    assert list(cache.iterdir()) == []


def test_the_data_folder_comes_first(tmp_path, cache, monkeypatch):
    for folder in (tmp_path / "data" / "omniglot", cache):
        folder.mkdir(parents=True)
        (folder / "images_evaluation.zip").write_bytes(ZIP)
    assert omniglot("evaluation") == cache / "images_evaluation.zip"
    monkeypatch.setenv("GOSSAMER_DATA", str(tmp_path / "data"))
    assert omniglot("evaluation") == tmp_path / "data" / "omniglot" / "images_evaluation.zip"


def test_another_split_is_refused():
    with pytest.raises(ConfigError, match="background or evaluation; got 'test'"):
        omniglot("test")


@pytest.mark.parametrize(
    ("platform", "variable", "inside"),
    [
        ("linux", "XDG_CACHE_HOME", "gossamer"),
        ("win32", "LOCALAPPDATA", "gossamer"),
        ("darwin", "HOME", "Library/Caches/gossamer"),
    ],
)
def test_the_cache_lies_where_the_platform_keeps_its_caches(tmp_path, monkeypatch, platform, variable, inside):
    monkeypatch.delenv("GOSSAMER_CACHE")
    monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr("sys.platform", platform)
    assert cache_folder() == tmp_path / inside
