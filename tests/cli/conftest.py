"""The commands, run in this process, and what they write from a small tree of made images."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from gossamer.cli.app import app

N_CLASSES, N_IMAGES = 6, 5


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Train on one thread: for so little work, waiting for a second one costs more than it brings."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def gossamer():
    """Run a command; check its exit status; return what it wrote to stdout and stderr."""

    def run(*arguments, status=0):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="gossamer")
        assert result.exit_code == status, result.stderr
        assert "Traceback" not in result.stderr
        return result

    return run


@pytest.fixture(scope="session")
def read_json(gossamer):
    """Run a command with --json and return its one object."""
    return lambda *arguments: json.loads(gossamer(*arguments, "--json").stdout)


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Write images of six classes: a bright patch at a place of the class's own, and noise."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("images") / "patches"
    for label in range(N_CLASSES):
        (root / f"class{label}").mkdir(parents=True)
        row, column = divmod(label, 3)
        for number in range(N_IMAGES):
            pixels = rng.integers(0, 100, (12, 12), np.uint8)
            pixels[6 * row : 6 * row + 5, 4 * column : 4 * column + 4] += 150
            Image.fromarray(pixels).save(root / f"class{label}" / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def small():
    """Options of a training run that takes a moment."""
    sizes = ("--image-size", 12, "--dim", 64, "--batch-size", 12)
    return *sizes, "--steps", 40, "--weight", 1, "--no-augmentation", "--device", "cpu"


@pytest.fixture(scope="session")
def model(gossamer, images, small, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "sparse"
    gossamer("train", images, "--out", out, *small)
    return out


@pytest.fixture(scope="session")
def dense_model(gossamer, images, small, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "dense"
    sparse_alone = ("--weight", 1)
    gossamer("train", images, "--out", out, *(o for o in small if o not in sparse_alone), "--activation", "none")
    return out


@pytest.fixture(scope="session")
def embeddings(gossamer, model, images, tmp_path_factory):
    out = tmp_path_factory.mktemp("embeddings") / "sparse.npz"
    gossamer("encode", model, images, "--out", out)
    return out


@pytest.fixture(scope="session")
def dense_embeddings(gossamer, dense_model, images, tmp_path_factory):
    out = tmp_path_factory.mktemp("embeddings") / "dense.npy"
    gossamer("encode", dense_model, images, "--out", out)
    return out


@pytest.fixture(scope="session")
def index(gossamer, embeddings, tmp_path_factory):
    out = tmp_path_factory.mktemp("indexes") / "index"
    gossamer("build", embeddings, "--out", out)
    return out
