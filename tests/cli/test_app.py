"""What holds for every command: status, streams, interruption, and a missing half of the installation."""

import os
import signal
import subprocess
import sys

import pytest

import gossamer as package

MAIN = "from gossamer.cli import main; main()"


def run(*arguments, before="", **options):
    command = [sys.executable, "-c", before + MAIN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


def test_the_version_is_printed(gossamer):
    assert gossamer("--version").stdout == f"gossamer {package.__version__}\n"


def test_help_lists_every_command_and_loads_nothing_heavy():
    heavy = "{'torch', 'numba', 'scipy', 'PIL', 'lightning'}"
    result = run("--help", before=f"import atexit, sys; atexit.register(lambda: print({heavy} & set(sys.modules)));")
    assert result.returncode == 0
    for command in ("train", "encode", "build", "search", "evaluate", "inspect"):
        assert f" {command} " in result.stdout
    assert result.stdout.splitlines()[-1] == "set()"


def test_an_unknown_command_or_option_is_a_usage_error(gossamer):
    for arguments in (("learn",), ("build", "--fast"), ("build",)):
        assert gossamer(*arguments, status=2).stdout == ""


@pytest.mark.parametrize("library", ["torch", "lightning", "PIL"])
def test_a_missing_library_is_named_with_the_extra_to_install(images, tmp_path, library):
    result = run("train", images, "--out", tmp_path / "model", before=f"import sys; sys.modules['{library}'] = None;")
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error: ")
    assert "pip install 'gossamer[learn]'" in result.stderr


def test_a_failure_of_the_system_is_one_sentence(gossamer):
    errors = gossamer("inspect", "x" * 300, status=1).stderr
    assert errors.startswith("error: ")
    assert "File name too long" in errors
    assert len(errors.splitlines()) == 1


def test_an_interrupted_training_leaves_its_checkpoint_and_nothing_else(images, tmp_path, small):
    options = [str(option) for option in (*small, "--steps", 1_000_000)]
    command = [sys.executable, "-c", MAIN, "train", str(images), "--out", str(tmp_path / "model"), *options]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "FORCE_COLOR": "1",
    }  # rich then draws bars into a pipe, as on a terminal
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        seen = ""
        while "loss" not in seen:
            seen += process.stderr.read(1)
            assert process.poll() is None, seen
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    assert "--resume" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == [".model.checkpoints"]
