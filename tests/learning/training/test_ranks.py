"""Training by two real processes against training by one.

Run as a program, this file trains on two: the file to write, and the steps.
"""

import dataclasses
import json
import os
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


def test_two_processes_learn_what_one_does_and_one_of_them_goes_on(tmp_path):
    # By name, since gloo would ask the network for this host's address.
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    program = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, check=False, timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback},
    )  # fmt: skip
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


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    trained = train(2, checkpoint_dir=folder / "kept", checkpoint_every=2)
    print("1 process,", "with others" if torch.distributed.is_initialized() else "alone")
    save_file({name: weights.contiguous() for name, weights in trained.encoder.state_dict().items()},
              folder / "weights.safetensors")  # fmt: skip
    (folder / "history.json").write_text(json.dumps(trained.history))
