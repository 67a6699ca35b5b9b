"""``gossamer train``."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import get_type_hints

import pytest

from gossamer.cli.train import train
from gossamer.learning.activations import ACTIVATIONS
from gossamer.learning.backbones import BACKBONES
from gossamer.learning.encoder import Encoder, EncoderConfig
from gossamer.learning.objectives import OBJECTIVES
from gossamer.learning.regularizers import REGULARIZERS
from gossamer.learning.training import PRESETS, TrainingConfig


def test_a_model_folder_holds_settings_weights_and_metrics(model):
    names = ["README.md", "config.json", "metrics.json", "model.safetensors"]
    assert sorted(file.name for file in model.iterdir()) == names
    encoder = Encoder.from_pretrained(model)
    assert (encoder.config.dim, encoder.config.image_size, encoder.config.channels) == (64, 12, 1)
    metrics = json.loads((model / "metrics.json").read_text())
    assert (metrics["n_images"], metrics["n_classes"], metrics["n_unreadable"]) == (27, 6, 0)  # 3 are held out
    assert metrics["settings"]["steps"] == 40
    assert metrics["history"][-1]["step"] == 40


def test_the_result_is_one_json_object_on_stdout_and_the_bars_are_on_stderr(gossamer, images, tmp_path, small):
    result = gossamer("train", images, "--out", tmp_path / "model", *small, "--json")
    (line,) = result.stdout.splitlines()
    record = json.loads(line)
    assert (record["images"], record["classes"], record["step"]) == (30, 6, 40)
    assert record["fingerprint"] == Encoder.from_pretrained(tmp_path / "model").fingerprint
    assert "read images" in result.stderr
    assert "40/40" in result.stderr


def test_the_same_seed_gives_the_same_model(read_json, images, model, tmp_path, small):
    fingerprint = Encoder.from_pretrained(model).fingerprint
    again = read_json("train", images, "--out", tmp_path / "again", *small)
    other = read_json("train", images, "--out", tmp_path / "other", *small, "--seed", 1)
    assert again["fingerprint"] == fingerprint != other["fingerprint"]


def test_without_an_activation_there_is_no_regularizer(dense_model):
    assert not Encoder.from_pretrained(dense_model).is_sparse
    assert json.loads((dense_model / "metrics.json").read_text())["settings"]["regularizer"] == "none"


def test_lists_choose_images_and_classes(read_json, images, tmp_path, small):
    (tmp_path / "labels.csv").write_text(
        "path,kind\n" + "".join(f"class{label}/{n}.png,{label % 3}\n" for label in range(6) for n in range(4))
    )
    (tmp_path / "classes.txt").write_text("0\n2\n")
    lists = ("--labels", tmp_path / "labels.csv", "--label-column", "kind", "--classes", tmp_path / "classes.txt")
    record = read_json("train", images, "--out", tmp_path / "model", *lists, *small)
    assert (record["images"], record["classes"]) == (16, 2)


def test_unreadable_files_are_refused_by_name_or_counted(gossamer, read_json, images, tmp_path, small):
    data = tmp_path / "data"
    data.mkdir()
    for folder in images.iterdir():
        (data / folder.name).symlink_to(folder)
    (data / "README.txt").write_text("not an image")
    refused = gossamer("train", data, "--out", tmp_path / "model", *small, status=1)
    assert refused.stderr.splitlines()[-1].startswith("error: image: expected BMP, ")
    assert "README.txt cannot be decoded" in refused.stderr
    record = read_json("train", data, "--out", tmp_path / "model", *small, "--skip-unreadable")
    assert (record["images"], record["unreadable"]) == (30, 1)


def test_the_defaults_in_the_help_are_those_of_the_library():
    defaults = {
        field.name: field.default for config in (EncoderConfig, TrainingConfig) for field in dataclasses.fields(config)
    }
    left_to_others = ("margin", "scale", "rows_per_class", "nnz_per_row", "weight", "revive_after", "patience")
    shown = {
        name: hint.__metadata__[0].show_default
        for name, hint in get_type_hints(train, include_extras=True).items()
        if name in defaults and name not in ("device", "channels", "augmentation") and name not in left_to_others
    }
    assert len(shown) == 17
    assert {name: text.split(";")[0] for name, text in shown.items()} == {name: str(defaults[name]) for name in shown}


def test_a_budget_finds_its_weight_and_the_log_is_written(read_json, images, tmp_path, small):
    without_weight = [option for option in small if option not in ("--weight", 1)]
    budget = ("--flops-per-document", 0.5, "--log-dir", tmp_path / "log")
    record = read_json("train", images, "--out", tmp_path / "model", *without_weight, *budget)
    assert record["is_calibrated"]
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert (metrics["settings"]["weight"], metrics["settings"]["budget"]["target"]) == (None, 0.5)
    assert metrics["budget"]["target"] == 0.5
    assert record["held_out_flops_per_document"] == pytest.approx(metrics["budget"]["reached"])
    assert len((tmp_path / "log" / "metrics.csv").read_text().splitlines()) == len(metrics["history"]) + 1


def test_a_budget_may_be_nonzeros_or_microseconds(gossamer, images, tmp_path, small):
    def budget(*options):
        gossamer("train", images, "--out", tmp_path / "model", *small, "--steps", 2, "--overwrite", *options)
        return json.loads((tmp_path / "model" / "metrics.json").read_text())["settings"]["budget"]

    assert budget("--nnz-per-row", 6.5) == {"unit": "nonzeros per row", "target": 6.5}
    timed = budget("--query-us", 50, "--n-docs", 20_000)
    assert timed["unit"] == "FLOPs per document"
    assert timed["target"] > 0


def test_a_preset_keeps_its_dim_without_an_activation(gossamer, images, tmp_path):
    small = ("--steps", 2, "--batch-size", 10, "--rows-per-class", 5, "--device", "cpu")
    gossamer("train", images, "--out", tmp_path / "m", "--preset", "paper-cifar", "--activation", "none", *small)
    config = Encoder.from_pretrained(tmp_path / "m").config
    assert (config.activation, config.dim) == ("none", 64)


def test_a_preset_with_a_budget_finds_its_weight(gossamer, images, tmp_path):
    small = ("--steps", 3, "--batch-size", 10, "--rows-per-class", 5, "--dim", 32, "--device", "cpu")
    preset = ("--preset", "paper-cifar", "--flops-per-document", 2)
    gossamer("train", images, "--out", tmp_path / "model", *preset, *small)
    settings = json.loads((tmp_path / "model" / "metrics.json").read_text())["settings"]
    assert (settings["weight"], settings["budget"]["target"]) == (None, 2.0)


def test_the_names_in_the_help_are_those_of_the_library():
    hints = get_type_hints(train, include_extras=True)
    for option, names in (
        ("backbone", BACKBONES),
        ("activation", ACTIVATIONS),
        ("loss", OBJECTIVES),
        ("regularizer", REGULARIZERS),
        ("preset", PRESETS),
    ):
        words = re.findall(r"[a-z0-9-]+", hints[option].__metadata__[0].help)
        assert [word for word in words if word in names] == list(names)


def test_a_preset_sets_what_is_not_given(gossamer, images, tmp_path):
    small = ("--steps", 3, "--batch-size", 10, "--rows-per-class", 5, "--dim", 32, "--device", "cpu")
    gossamer("train", images, "--out", tmp_path / "model", "--preset", "paper-cifar", *small)
    config = Encoder.from_pretrained(tmp_path / "model").config
    assert (config.backbone, config.activation, config.theta) == ("network-in-network", "soft-threshold", 0.1)
    assert (config.image_size, config.channels, config.dim) == (32, 3, 32)
    settings = json.loads((tmp_path / "model" / "metrics.json").read_text())["settings"]
    expected = dataclasses.replace(
        PRESETS["paper-cifar"].training, steps=3, batch_size=10, rows_per_class=5, device="cpu"
    )
    assert settings == dataclasses.asdict(expected)


def test_losses_and_activations_take_their_settings(gossamer, images, tmp_path, small):
    gossamer(
        "train", images, "--out", tmp_path / "model", *small, "--loss", "contrastive", "--margin", 0.8,
        "--rows-per-class", 3, "--activation", "top-k", "--nnz-per-row", 9,
    )  # fmt: skip
    assert Encoder.from_pretrained(tmp_path / "model").config.nnz_per_row == 9
    settings = json.loads((tmp_path / "model" / "metrics.json").read_text())["settings"]
    assert (settings["loss"], settings["margin"], settings["rows_per_class"]) == ("contrastive", 0.8, 3)


def test_classes_are_held_out_to_measure_on_and_to_stop_early(gossamer, images, tmp_path, small):
    (tmp_path / "unseen.txt").write_text("class1\nclass4\n")
    gossamer(
        "train", images, "--out", tmp_path / "model", *small, "--validation-classes", tmp_path / "unseen.txt",
        "--validate-every", 2, "--patience", 2, "--ramp-end", 0.2, "--precision", "bf16", "--revive-after", 1,
    )  # fmt: skip
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert (metrics["n_images"], metrics["n_classes"]) == (18, 4)  # two are held out for the budget
    settings = metrics["settings"]
    assert (settings["patience"], settings["precision"], settings["revive_after"]) == (2, "bf16", 1)
    validated = [row["step"] for row in metrics["history"] if "hit_rate_at_1" in row]
    assert validated[:2] == [2, 4]
    assert max(validated) < 40
    assert metrics["history"][-1]["revived_dims"] > 0
    assert "| hit rate@1 |" in (tmp_path / "model" / "README.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--patience", 2), "error: patience: expected validation images with it"),
        (("--devices", 2, "--batch-size", 5), "error: batch_size: expected a multiple of devices = 2"),
        (("--precision", "fp8"), "error: precision: expected one of float32, bf16"),
        (("--checkpoint-every", 0), "error: checkpoint_every: expected"),
        (("--preset", "paper-food"), "error: preset: expected one of paper-face, paper-cifar; got 'paper-food'"),
        (("--margin", -1), "error: margin: expected"),
        (("--activation", "none", "--flops-per-document", 1), "error: --flops-per-document: expected a sparse model"),
        (("--activation", "none", "--nnz-per-row", 9), "error: --nnz-per-row: expected a sparse model"),
        (("--activation", "none", "--query-us", 9), "error: --query-us: expected a sparse model"),
        (("--nnz-per-row", 9, "--flops-per-document", 1), "error: budget: expected exactly one of"),
        (("--query-us", 9), "error: --query-us: expected --n-docs with it, and only with it"),
        (("--n-docs", 9), "error: --n-docs: expected --query-us with it, and only with it"),
        (("--query-us", 1e-3, "--n-docs", 2000), "error: query_us: expected more than the "),
        (("--activation", "top-k", "--nnz-per-row", 2.5), "error: --nnz-per-row: expected a whole number with"),
        (("--activation", "none", "--weight", 1), "error: --weight: expected a sparse model"),
        (("--loss", "n-pairs", "--rows-per-class", 3), "error: batch_size: expected a multiple of rows_per_class"),
        (("--activation", "top-k"), "error: nnz_per_row: expected"),
        (("--steps", 0), "error: steps: expected"),
        (("--backbone", "resnet9000"), "error: backbone: expected"),
        (("--activation", "gelu"), "error: activation: expected"),
        (("--loss", "hinge"), "error: loss: expected"),
        (("--regularizer", "l0"), "error: regularizer: expected"),
        (("--device", "abacus"), "error: device: expected"),
        (("--channels", 2), "error: channels: expected"),
        (("--dim", 8, "--flops-per-document", 9), "error: budget: expected at most dim = 8 FLOPs per document; got 9"),
        (("--labels", "nowhere.csv"), "there is no nowhere.csv"),
        (("--dim", "many"), "--dim"),
    ],
)
def test_settings_that_cannot_be_right_are_usage_errors(gossamer, images, tmp_path, options, message):
    result = gossamer("train", images, "--out", tmp_path / "model", *options, status=2)
    assert message in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_and_a_single_class_are_failures(gossamer, images, tmp_path, small):
    (tmp_path / "empty").mkdir()
    empty = gossamer("train", tmp_path / "empty", "--out", tmp_path / "model", status=1)
    assert "holds no files" in empty.stderr
    single = gossamer("train", images / "class0", "--out", tmp_path / "model", *small, status=1)
    assert "at least two classes" in single.stderr


def test_an_output_that_is_taken_is_refused_before_any_work(gossamer, images, model, tmp_path, small):
    taken = gossamer("train", images, "--out", model, *small, status=2)
    assert "exists; pass --overwrite" in taken.stderr
    assert "read images" not in taken.stderr
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "cat.png").write_text("precious")
    not_ours = gossamer("train", images, "--out", tmp_path / "pictures", "--overwrite", *small, status=2)
    assert "holds no config.json" in not_ours.stderr
    assert (tmp_path / "pictures" / "cat.png").read_text() == "precious"
    nowhere = gossamer("train", images, "--out", tmp_path / "no" / "model", *small, status=2)
    assert "expected an existing folder" in nowhere.stderr


def test_overwrite_replaces_an_older_model(gossamer, images, tmp_path, small):
    for seed in (0, 1):
        gossamer("train", images, "--out", tmp_path / "model", "--overwrite", *small, "--seed", seed)
    assert json.loads((tmp_path / "model" / "metrics.json").read_text())["settings"]["seed"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_ctrl_c_leaves_a_checkpoint_and_resume_ends_with_the_same_model(gossamer, read_json, images, tmp_path, small):
    out, kept = tmp_path / "model", tmp_path / ".model.checkpoints"
    command = ("train", str(images), "--out", str(out), *map(str, small), "--steps", "300", "--checkpoint-every", "50")
    with subprocess.Popen(
        [sys.executable, "-c", "from gossamer.cli import main; main()", *command],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as program:  # fmt: skip
        while program.poll() is None and not kept.exists():
            time.sleep(0.02)
        program.send_signal(signal.SIGINT)
        stderr = program.communicate(timeout=60)[1]
    assert program.returncode == 130, stderr
    last = " ".join(stderr.split("interrupted")[-1].split())
    assert re.fullmatch(r": \d+ of 300 steps are kept in .*; go on by the same call with --resume .*", last)
    assert not out.exists()
    unasked = gossamer(*command, status=2)
    assert "go on with --resume" in unasked.stderr
    other = gossamer(*command, "--resume", "--seed", 1, status=2)
    assert "is of a run with seed 0; this one has 1" in other.stderr
    resumed = read_json(*command, "--resume")
    assert resumed["fingerprint"] == Encoder.from_pretrained(out).fingerprint
    assert not kept.exists()
    whole = read_json(*command[:3], str(tmp_path / "whole"), *command[4:])
    assert resumed["fingerprint"] == whole["fingerprint"]


def test_an_old_checkpoint_is_dropped_by_overwrite_and_none_is_an_error_of_resume(gossamer, images, tmp_path, small):
    none = gossamer("train", images, "--out", tmp_path / "model", *small, "--resume", status=2)
    assert "holds none to go on from" in none.stderr
    old = tmp_path / ".model.checkpoints" / "step-000000004"
    old.mkdir(parents=True)
    (old / "state.json").write_text("{}")
    gossamer("train", images, "--out", tmp_path / "model", *small, status=2)
    for wrong in (("--preset", "none-such"), ("--labels", tmp_path / "none.csv"), ("--loss", "none-such")):
        gossamer("train", images, "--out", tmp_path / "model", *small, *wrong, "--overwrite", status=2)
        assert old.exists()
    gossamer("train", images, "--out", tmp_path / "model", *small, "--overwrite")
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
