"""Outputs are whole or absent, also when a write fails half-way or the process is killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from gossamer.errors import NotFoundError, OutputExistsError
from gossamer.files import check_output, replaced_file, replaced_folder


def test_a_file_is_replaced_only_by_a_whole_one(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replaced_file(target) as partial:
        partial.write_text("half")
        _ = 1 / 0
    assert target.read_text() == "old"
    with replaced_file(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_a_folder_is_replaced_only_by_a_whole_one(tmp_path):
    target = tmp_path / "model"
    with replaced_folder(target) as partial:
        (partial / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), replaced_folder(target) as partial:
        (partial / "a").write_text("half")
        _ = 1 / 0
    assert (target / "a").read_text() == "old"
    with replaced_folder(target) as partial:
        (partial / "b").write_text("new")
    assert os.listdir(target) == ["b"]
    assert os.listdir(tmp_path) == ["model"]


WRITER = """
import sys, time
from pathlib import Path
from gossamer.files import replaced_folder
target = Path(sys.argv[1])
print("ready", flush=True)
for generation in range(10**6):
    with replaced_folder(target) as partial:
        for name in "abc":
            (partial / name).write_text(str(generation))
"""


@pytest.mark.parametrize("delay_s", [0.01, 0.03, 0.08])
def test_a_killed_process_leaves_a_folder_whole_or_absent(tmp_path, delay_s):
    target = tmp_path / "model"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE)
    process.stdout.readline()
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if target.exists():
        assert len({(target / name).read_text() for name in "abc"}) == 1


def test_an_output_that_exists_is_refused_unless_overwriting_is_asked_for(tmp_path):
    (tmp_path / "out.txt").write_text("precious")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        check_output(tmp_path / "out.txt", overwrite=False)
    check_output(tmp_path / "out.txt", overwrite=True)


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(OutputExistsError, match="holds no config.json"):
        check_output(tmp_path / "photos", overwrite=True, marker="config.json")
    with pytest.raises(OutputExistsError, match="is a folder"):
        check_output(tmp_path / "photos", overwrite=True)


def test_an_output_in_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(NotFoundError, match="existing folder"):
        check_output(tmp_path / "nowhere" / "out", overwrite=False)
