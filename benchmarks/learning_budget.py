"""Train to a budget of FLOPs per document, and measure what classes never seen cost: Omniglot, from images to records.

Encoders (four convolutions, 4096 dimensions, ReLU, ArcFace) learn from the background alphabets; a share of their
characters is held out for the budget. They are judged on all images of the evaluation alphabets, each a query among
the others. Without --weight the controller finds λ; with it, λ grows to that number on the paper's schedule. No
setting but the target and the batch size differs between runs.

Appends one record for each run to benchmarks/results/learning_budget.jsonl and prints a line.
"""

import argparse
import time
from typing import Any

import numpy as np
import records
import torch

from gossamer.datasets.images import ImageCollection, LabeledImages
from gossamer.datasets.omniglot import omniglot
from gossamer.learning import Encoder, EncoderConfig, FlopsBudget, TrainedEncoder, TrainingConfig, train_encoder
from gossamer.learning.devices import PRECISIONS
from gossamer.learning.encoding import encode_dense
from gossamer.learning.health import HealthReport, examine

IMAGE_SIZE = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--targets", type=float, nargs="+", default=[0.25, 1.0, 4.0], help="FLOPs per document")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[128])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16")
    parser.add_argument("--weight", type=float, help="of a fixed schedule, instead of the controller")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    background, evaluation = _read("background"), _read("evaluation")
    for batch_size in options.batch_sizes:
        for target in options.targets:
            config = TrainingConfig(
                steps=options.steps, batch_size=batch_size, budget=FlopsBudget(flops_per_document=target),
                weight=options.weight, seed=options.seed, device="cpu", precision=options.precision,
            )  # fmt: skip
            start, cpu_start = time.perf_counter(), time.process_time()
            trained = train_encoder(background, EncoderConfig(image_size=IMAGE_SIZE), config)
            seconds = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu_start}
            record = _record(config, trained, evaluation) | {name: round(s, 1) for name, s in seconds.items()}
            records.append(record | {"threads": options.threads}, seed=options.seed, is_quiet=True)
            _print(record)


def _read(split: str) -> LabeledImages:
    return ImageCollection.open(omniglot(split)).decode(size=IMAGE_SIZE, channels=1)


def _record(config: TrainingConfig, trained: TrainedEncoder, evaluation: LabeledImages) -> dict[str, Any]:
    unseen = _examine(trained.encoder, evaluation, config)
    last = trained.history[-1]
    trained.encoder.head.thresholds.zero_()
    whole = _examine(trained.encoder, evaluation, config)
    looks = [row for row in trained.history if "held_out_core_cost" in row]
    return {
        "benchmark": "learning_budget",
        "data": "omniglot",
        "dim": trained.encoder.config.dim,
        "steps": config.steps,
        "batch_size": config.batch_size,
        "precision": config.precision,
        "weight": "controller" if config.weight is None else config.weight,
        "target": trained.metrics["budget"]["target"],
        "held_out": _rounded(trained.metrics["budget"]),
        "held_out_suboptimality_ratio": round(last["held_out_suboptimality_ratio"], 4),
        "unseen": _report(unseen),
        "unseen_before_calibration": _report(whole),
        "last_weight": last["weight"],
        "last_loss": round(last["loss"], 4),
        "course": {
            "step": [row["step"] for row in looks],
            **{
                name: [float(f"{row[name]:.4g}") for row in looks]
                for name in ("loss", "weight", "penalty", "held_out_core_cost", "held_out_flops_per_document")
            },
        },
        "torch": torch.__version__,
    }


def _examine(encoder: Encoder, images: LabeledImages, config: TrainingConfig) -> HealthReport:
    return examine(torch.from_numpy(encode_dense(encoder, images.pixels, precision=config.precision)), images.labels)


def _report(report: HealthReport) -> dict[str, Any]:
    names = ("hit_rate_at_1", "flops_per_document", "nnz_per_row", "suboptimality_ratio", "dead_dims", "zero_rows")
    return _rounded({name: getattr(report, name) for name in names})


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        name: round(value, 4) if isinstance(value, float | np.floating) else value for name, value in figures.items()
    }


def _print(record: dict[str, Any]) -> None:
    held_out, unseen = record["held_out"], record["unseen"]
    print(
        f"target {record['target']:<5g} batch {record['batch_size']:<4d} weight {record['weight']}: held out "
        f"{held_out['reached']:.3f}, unseen {unseen['flops_per_document']:.3f} FLOPs per document, hit rate@1 "
        f"{unseen['hit_rate_at_1']:.4f} (whole {record['unseen_before_calibration']['hit_rate_at_1']:.4f}), "
        f"R_sub {unseen['suboptimality_ratio']:.2f}, {record['cpu_seconds']:.0f} s of CPU",
        flush=True,
    )


if __name__ == "__main__":
    main()
