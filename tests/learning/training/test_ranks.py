"""Training by two real processes against training by one.

Run as a program, this file trains on two: the folder to write to, and the step in which the first process sends itself
a signal, if it is to, and which.
"""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gossamer import Catalog
from gossamer.datasets.images import LabeledImages
from gossamer.errors import ConfigError
from gossamer.learning import EncoderConfig, TrainingConfig, train_encoder
from gossamer.learning.training.checkpoint_files import read_state
from gossamer.learning.training.ranks import joined_batch_norms
from gossamer.learning.training.task import SparseEmbeddingTask

ENCODER = EncoderConfig(dim=32, image_size=16)
# A loss that compares rows, classes in a batch drawn evenly, a regularizer with a state.
RUN = TrainingConfig(
    steps=6, batch_size=12, loss="multi-similarity", regularizer="corpus-flops", weight=3.0, ramp_start=0.0,
    learning_rate=1e-7, validate_every=3, device="cpu", budget=None, revive_after=2,
)  # fmt: skip


def pictures(seed):
    labels = np.repeat(np.arange(6).astype(str), 4)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 1, 16, 16)).astype(np.uint8)
    return LabeledImages(pixels=pixels, catalog=Catalog(n=24, keys=np.arange(24).astype(str), labels=labels))


def train(devices, **options):
    config = dataclasses.replace(RUN, devices=devices)
    return train_encoder(pictures(0), ENCODER, config, validation=pictures(1), **options)


def run_two(*arguments):
    # By name, since gloo would ask the network for this host's address.
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    return subprocess.run(
        [sys.executable, __file__, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback},
    )  # fmt: skip


def test_two_processes_learn_what_one_does_and_one_of_them_goes_on(tmp_path):
    program = run_two(tmp_path)
    assert (program.returncode, program.stdout) == (0, "1 process, alone\n"), program.stderr
    one = train(1, checkpoint_dir=tmp_path / "one", checkpoint_every=2)
    # After four steps that hardly move the weights, the optimizer's averages are of four steps' gradients.
    (alone,), (shared,) = (
        read_state(tmp_path / name / "step-000000004")["optimizer_states"] for name in ("one", "kept")
    )
    assert len(alone["state"]) == 15
    for number, state in alone["state"].items():
        expected, found = state["exp_avg"], shared["state"][number]["exp_avg"]
        assert (found - expected).norm() < 1e-4 * expected.norm(), number
    history = json.loads((tmp_path / "history.json").read_text())
    for row, expected in zip(history, one.history, strict=True):
        assert row.keys() == expected.keys()
        assert (row["loss"], row["penalty"]) == pytest.approx((expected["loss"], expected["penalty"]), rel=1e-5)
    buffers = load_file(tmp_path / "weights.safetensors")
    assert all(torch.allclose(buffers[name], value, rtol=1e-4) for name, value in one.encoder.named_buffers())


def test_two_processes_of_which_one_is_stopped_and_then_killed_go_on_where_they_were(tmp_path):
    for step, number, status, kept in ((3, signal.SIGTERM, -signal.SIGINT, 3), (6, signal.SIGKILL, -signal.SIGKILL, 4)):
        stopped = run_two(tmp_path, step, int(number))
        assert stopped.returncode == status, stopped.stderr
        assert [file.name for file in (tmp_path / "kept").iterdir()] == [f"step-{kept:09d}"]
    resumed = run_two(tmp_path)
    assert (resumed.returncode, resumed.stdout) == (0, "1 process, alone\n"), resumed.stderr
    history = json.loads((tmp_path / "history.json").read_text())
    expected = train(1).history
    assert [row["step"] for row in history] == [row["step"] for row in expected]
    assert history[-1]["loss"] == pytest.approx(expected[-1]["loss"], rel=1e-5)


def test_batch_norms_are_as_they_were_afterwards():
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.BatchNorm1d(2))
    with joined_batch_norms(model):
        assert {type(norm) for norm in model}.isdisjoint({torch.nn.BatchNorm1d, torch.nn.BatchNorm2d})
    assert [type(norm) for norm in model] == [torch.nn.BatchNorm2d, torch.nn.BatchNorm1d]


def test_what_cannot_be_shared_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match="batch_size: expected a multiple of devices = 5, which share it; got 12"):
        train(5)
    monkeypatch.setattr(sys, "argv", ["-c"])
    with pytest.raises(ConfigError, match="devices: expected a program in a file"):
        train(2)
    monkeypatch.setattr(sys, "argv", [__file__])
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ConfigError, match="devices: a program can train on several only once"):
        train(2)


def signal_in_step(step, number):
    """Let the first process send itself a signal in a step."""
    learn = SparseEmbeddingTask.training_step

    def training_step(task, batch):
        if batch.step + 1 == step and os.environ["LOCAL_RANK"] == "0":
            os.kill(os.getpid(), number)
        return learn(task, batch)

    SparseEmbeddingTask.training_step = training_step


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:
        signal_in_step(int(sys.argv[2]), int(sys.argv[3]))
    trained = train(2, checkpoint_dir=folder / "kept", checkpoint_every=2, resume=(folder / "kept").exists())
    print("1 process,", "with others" if torch.distributed.is_initialized() else "alone")
    save_file({name: weights.contiguous() for name, weights in trained.encoder.state_dict().items()},
              folder / "weights.safetensors")  # fmt: skip
    (folder / "history.json").write_text(json.dumps(trained.history))
