"""Runs that are stopped, by a kill, by Ctrl-C or by SIGTERM, and go on.

Run as a program, this file trains, with checkpoints in a folder, and kills itself in the eleventh step.
"""

import csv
import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gossamer import Catalog
from gossamer.datasets.images import LabeledImages
from gossamer.errors import ConfigError, FormatError, MismatchError, NotFoundError, OutputExistsError
from gossamer.learning import EncoderConfig, FlopsBudget, TrainingConfig, train_encoder
from gossamer.learning.training import remove_checkpoints
from gossamer.learning.training.checkpoint_files import read_state

ENCODER = EncoderConfig(dim=32, image_size=16, backbone="custom")
# All that has a state: averages of the optimizer, of batch norm and of the regularizer, idle dimensions, and
# the controller that finds λ.
RUN = TrainingConfig(
    steps=24, batch_size=8, regularizer="corpus-flops", revive_after=1, validate_every=5, device="cpu",
    budget=FlopsBudget(flops_per_document=1.0),
)  # fmt: skip


def pictures(seed, *, n_classes=6, per_class=4):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_classes).astype(str), per_class)
    return LabeledImages(
        pixels=rng.integers(0, 256, (len(labels), 1, 16, 16)).astype(np.uint8),
        catalog=Catalog(n=len(labels), keys=np.arange(len(labels)).astype(str), labels=labels),
    )


class Stopping(nn.Module):
    """A backbone with dropout that sends its own process a signal, or fails, in one of its steps."""

    def __init__(self, number=None, at=0):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.Flatten(), nn.Dropout(0.2)
        )
        self.number, self.at, self.n_steps = number, at, 0

    def forward(self, x):
        self.n_steps += self.training
        if self.training and self.n_steps == self.at:
            if self.number is None:
                raise OSError("the power is gone")
            os.kill(os.getpid(), self.number)
        return self.layers(x)


def train(folder=None, *, every=4, resume=False, config=RUN, encoder=ENCODER, seed=0, number=None, at=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        backbone = Stopping(number, at)
    trained = train_encoder(
        pictures(seed), encoder, config, validation=pictures(1), backbone=backbone,
        checkpoint_dir=folder, checkpoint_every=every, resume=resume,
    )  # fmt: skip
    return trained, backbone.n_steps


@pytest.fixture(scope="module")
def whole():
    return train()[0]


def assert_equal_runs(resumed, whole):
    assert resumed.encoder.fingerprint == whole.encoder.fingerprint
    assert resumed.history == whole.history
    assert whole.history[-1]["revived_dims"] > 0
    assert len({row["weight"] for row in whole.history}) > 4


def test_a_process_that_was_killed_goes_on_and_ends_with_the_same_bits(whole, tmp_path):
    killed = subprocess.run(
        [sys.executable, "-W", "error", __file__, str(tmp_path / "kept")],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    assert [file.name for file in (tmp_path / "kept").iterdir()] == ["step-000000008"]
    resumed, n_steps = train(tmp_path / "kept", resume=True)
    assert n_steps == 16
    assert_equal_runs(resumed, whole)


# With validations after steps 5, 10, 15 and 20: checkpoints beside them, and at some of the same steps.
@pytest.mark.parametrize("every", [1, 5, 7])
def test_a_run_that_fails_twice_ends_with_the_same_bits(whole, tmp_path, every):
    for at, resume in ((9, False), (9, True)):
        with pytest.raises(OSError, match="the power is gone"):
            train(tmp_path / "kept", every=every, resume=resume, at=at)
    resumed, n_steps = train(tmp_path / "kept", every=every, resume=True)
    assert n_steps == {1: 8, 5: 14, 7: 10}[every]
    assert_equal_runs(resumed, whole)


@pytest.mark.parametrize(
    ("number", "at", "kept"), [(signal.SIGINT, 1, 1), (signal.SIGINT, 10, 10), (signal.SIGTERM, 10, 10)]
)
def test_an_interrupt_ends_the_step_writes_a_checkpoint_and_says_how_to_go_on(whole, tmp_path, number, at, kept):
    handlers = [signal.getsignal(known) for known in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt) as stop:
        train(tmp_path / "kept", number=number, at=at)
    assert str(stop.value) == (
        f"interrupted: {kept} of 24 steps are kept in {tmp_path / 'kept'}; "
        "go on by the same call with --resume (resume=True)"
    )
    assert [signal.getsignal(known) for known in (signal.SIGINT, signal.SIGTERM)] == handlers
    resumed, n_steps = train(tmp_path / "kept", resume=True)
    assert n_steps == 24 - kept
    assert_equal_runs(resumed, whole)


def test_ctrl_c_in_the_last_step_throws_no_finished_run_away(whole, tmp_path, caplog):
    trained, _ = train(tmp_path / "kept", number=signal.SIGINT, at=24)
    assert_equal_runs(trained, whole)
    assert [line for line in caplog.messages if "interrupted after the last step" in line] != []


def test_a_log_that_is_there_is_replaced_only_if_asked_for(tmp_path):
    (tmp_path / "metrics.csv").write_text("mine")
    brief = dataclasses.replace(RUN, steps=1)
    with pytest.raises(OutputExistsError, match=r"log_dir: .*metrics\.csv exists; pass --overwrite"):
        train_encoder(pictures(0), ENCODER, brief, backbone=Stopping(), log_dir=tmp_path)
    assert (tmp_path / "metrics.csv").read_text() == "mine"
    train_encoder(pictures(0), ENCODER, brief, backbone=Stopping(), log_dir=tmp_path, overwrite=True)
    assert "loss" in (tmp_path / "metrics.csv").read_text().splitlines()[0]


def test_the_log_of_a_run_that_goes_on_has_each_row_once(tmp_path):
    def run(**options):
        config = dataclasses.replace(RUN, validate_every=20)
        return train_encoder(pictures(0), ENCODER, config, checkpoint_dir=tmp_path / "kept", checkpoint_every=10,
                             log_dir=tmp_path / "log", **options)  # fmt: skip

    with pytest.raises(OSError, match="the power is gone"):
        run(backbone=Stopping(at=16))
    history = run(backbone=Stopping(), resume=True).history
    with (tmp_path / "log" / "metrics.csv").open(newline="") as file:
        steps = [row["step"] for row in csv.DictReader(file)]
    assert steps == [str(row["step"]) for row in history]


def test_a_checkpoint_holds_how_long_dimensions_have_been_idle(tmp_path):
    with pytest.raises(OSError, match="the power is gone"):
        train(tmp_path / "kept", at=9, config=dataclasses.replace(RUN, revive_after=50))
    idle = read_state(tmp_path / "kept" / "step-000000008")["revival"]["idle_rows"]
    assert (len(idle), idle.max() >= 8) == (32, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interrupt_does_not_wait_for_the_step(tmp_path, number):
    backbone = Stopping(number, 6)
    backbone.layers[0].register_forward_hook(lambda *_: os.kill(os.getpid(), number) if backbone.n_steps == 6 else None)
    with pytest.raises(KeyboardInterrupt):
        train_encoder(
            pictures(0), ENCODER, RUN, backbone=backbone, checkpoint_dir=tmp_path / "kept", checkpoint_every=4
        )
    assert [file.name for file in (tmp_path / "kept").iterdir()] == ["step-000000004"]


def test_checkpoints_change_no_weight_and_the_newest_alone_is_kept(whole, tmp_path):
    trained, _ = train(tmp_path / "kept", every=3)
    assert trained.encoder.fingerprint == whole.encoder.fingerprint
    assert [file.name for file in (tmp_path / "kept").iterdir()] == ["step-000000021"]
    remove_checkpoints(tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []
    remove_checkpoints(tmp_path / "kept")


def test_a_folder_that_holds_more_than_checkpoints_is_not_deleted(tmp_path):
    mine = ["first-step-model", "step-1.txt", "step-by-step", "step-x"]
    for name in mine:
        (tmp_path / name).mkdir() if "." not in name else (tmp_path / name).write_text("mine")
    (tmp_path / "step-x" / "state.json").write_text("mine")
    part = tmp_path / ".step-000000004.0123abcd.partial"
    part.mkdir()  # what a kill while writing leaves
    train(tmp_path, every=8)
    assert not part.exists()
    remove_checkpoints(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == mine


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": dataclasses.replace(RUN, seed=1)}, "of a run with seed 0; this one has 1"),
        (
            {"config": dataclasses.replace(RUN, budget=FlopsBudget(nnz_per_row=2.0))},
            "of a run with budget {'unit': 'FLOPs per document', 'target': 1.0}; this one has {'unit': 'nonzeros",
        ),
        ({"encoder": dataclasses.replace(ENCODER, theta=2.0)}, "of a run with theta 1.0; this one has 2.0"),
        ({"seed": 5}, "of a run with images "),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change, message):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "kept", number=signal.SIGINT, at=2)
    with pytest.raises(MismatchError, match=message) as error:
        train(tmp_path / "kept", resume=True, **{"encoder": ENCODER, **change})
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(OutputExistsError, match="go on with --resume"):
        train(tmp_path / "kept")
    (tmp_path / "kept" / "step-000000002" / "tensors.safetensors").write_bytes(b"")
    with pytest.raises(FormatError, match="damaged"):
        train(tmp_path / "kept", resume=True)


def test_what_cannot_be_written_or_resumed_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(NotFoundError, match="holds none to go on from"):
        train(tmp_path / "kept", resume=True)
    with pytest.raises(NotFoundError, match="expected an existing folder"):
        train(tmp_path / "no" / "kept")
    with pytest.raises(ConfigError, match="checkpoint_every: expected a whole number of at least 1; got 0"):
        train(tmp_path / "kept", every=0)
    with pytest.raises(ConfigError, match="resume: expected checkpoint_dir with it"):
        train(resume=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), number=signal.SIGKILL, at=11)
