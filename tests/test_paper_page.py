"""The page of the paper's experiments, from top to bottom, on tiny made files in the formats of its data sets."""

import io
import re
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from gossamer.cli.app import app
from gossamer.learning.training.config import PRESETS
from gossamer.study.config_file import read_config
from python_2_pickles import pickled

pytestmark = pytest.mark.usefixtures("one_thread")

pytest.importorskip("faiss")

PAGE = (Path(__file__).parent.parent / "docs" / "paper.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|sh|yaml)\n(.*?)^```", PAGE, re.M | re.S)
STUDIES = {"class-retrieval": "cifar-train.yaml", "identification": "face.yaml"}
TINY = {
    "train": "--backbone conv4 --image-size 16 --steps 2 --batch-size 16 --device cpu --no-augmentation --overwrite",
    "encode": "--device cpu",
    "inspect": "",
    "study": "",
}
"""What is added to each command, so that it takes a moment."""


def save_faces(folder, persons, *, per_person, suffix):
    rng = np.random.default_rng(len(persons[0]))
    for person in persons:
        (folder / person).mkdir(parents=True)
        for i in range(per_person):
            Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(folder / person / f"{i}{suffix}")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """CIFAR-100's archive, and folders of people as MS-Celeb-1M, FaceScrub and MegaFace have them."""
    folder, rng = tmp_path_factory.mktemp("paper"), np.random.default_rng(0)
    members = {"meta": {"fine_label_names": ["apple", "bee", "cloud"], "coarse_label_names": ["alive"]}}
    for split, n in (("train", 48), ("test", 12)):
        members[split] = {
            "filenames": [f"{split}_{i:03}.png" for i in range(n)],
            "fine_labels": [i % 3 for i in range(n)],
            "coarse_labels": [0] * n,
            "data": rng.integers(0, 256, (n, 3072), dtype=np.uint8),
        }
    with tarfile.open(folder / "cifar-100-python.tar.gz", "w:gz") as archive:
        for name, held in members.items():
            data = pickled(held)
            info = tarfile.TarInfo(f"cifar-100-python/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    save_faces(folder / "ms-celeb-1m", ["m.01_0d4", "m.0zz", "m.02"], per_person=6, suffix=".jpg")
    save_faces(folder / "faces" / "facescrub", ["Aaron_Eckhart", "Adelaide_Kane"], per_person=4, suffix=".png")
    save_faces(folder / "faces" / "megaface", ["947/94740879@N02", "100/10001@N04"], per_person=3, suffix=".jpg")
    return folder


def commands(block, folder):
    """The arguments of every ``gossamer`` that bash would call."""
    program = 'gossamer() { printf "%q " "$@"; echo; }\n' + block
    run = subprocess.run(["bash", "-euc", program], cwd=folder, capture_output=True, text=True, check=True)
    return [shlex.split(line) for line in run.stdout.splitlines()]


def copy_of_alike(arguments, models, folder):
    """Copy the model of a training that differed in its weight alone, if there was one: training takes a while."""
    out = arguments[arguments.index("--out") + 1]
    varied = [i + step for i, flag in enumerate(arguments) if flag in ("--weight", "--out") for step in (0, 1)]
    alike = models.setdefault(tuple(each for i, each in enumerate(arguments) if i not in varied), out)
    if alike != out:
        shutil.copytree(folder / alike, folder / out)
    return alike != out


def run_page(folder, heading):
    """Run all blocks under a heading, in their order; return the commands with what they printed."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    done, models = [], {}
    for kind, block in re.findall(r"^```(python|sh|yaml)\n(.*?)^```", section, re.M | re.S):
        if kind == "python":
            exec(compile(block, "paper.md", "exec"), {"__name__": "__main__"})
        elif kind == "yaml":
            settings = yaml.safe_load(block)
            if "n_distractors" in settings:
                settings["n_distractors"] = [2, 6]
            (folder / STUDIES[settings["protocol"]]).write_text(yaml.safe_dump(settings), encoding="utf-8")
        else:
            for arguments in commands(block, folder):
                if arguments[0] == "train" and copy_of_alike(arguments, models, folder):
                    continue
                result = CliRunner().invoke(app, [*arguments, *TINY[arguments[0]].split()], prog_name="gossamer")
                assert result.exit_code == 0, (arguments, result.stderr)
                done.append((arguments, result.stdout))
    return done


def test_cifar_100_is_unpacked_learned_encoded_and_compared(data, monkeypatch):
    monkeypatch.chdir(data)
    done = run_page(data, "CIFAR-100")
    assert {arguments[0] for arguments, _ in done} == {"train", "encode", "inspect", "study"}
    assert len([arguments for arguments, _ in done if arguments[0] == "train"]) == 3  # and 2 copies
    table = (data / "cifar-train" / "table.md").read_text(encoding="utf-8")
    assert "precision@64" in table
    assert table.count("| sparse, ") == 4
    assert "| sparse, documents" in table
    assert "sparse" not in "".join(line for line in table.splitlines() if "failed" in line)


def test_faces_are_split_learned_encoded_and_compared(data, monkeypatch):
    monkeypatch.chdir(data)
    done = run_page(data, "Faces")
    assert len([arguments for arguments, _ in done if arguments[0] == "train"]) == 5  # and 4 copies
    lists = {name: (data / f"{name}.csv").read_text().splitlines() for name in ("gallery", "probes", "others")}
    assert {name: len(lines) for name, lines in lists.items()} == {"gallery": 2, "probes": 6, "others": 6}
    table = (data / "face" / "table.md").read_text(encoding="utf-8")
    assert "hit rate@100" in table
    assert len([line for line in table.splitlines() if line.startswith("| sparse, ") and "failed" not in line]) == 12


def test_the_page_trains_by_the_presets_that_there_are(data):
    trained = [a for kind, block in BLOCKS if kind == "sh" for a in commands(block, data) if a[0] == "train"]
    assert {arguments[arguments.index("--preset") + 1] for arguments in trained} == set(PRESETS)


def test_the_studies_of_the_page_are_read_as_they_stand(tmp_path):
    read = 0
    for kind, block in BLOCKS:
        if kind == "yaml":
            (tmp_path / "study.yaml").write_text(block, encoding="utf-8")
            assert read_config(tmp_path / "study.yaml").methods[0].name == "exhaustive"
            read += 1
    assert read == len(STUDIES)


def test_bash_is_there_to_read_the_page():
    assert shutil.which("bash")
