"""Sparse against dense, and FLOPs against ℓ1, on Omniglot: encoders of a model store, judged on characters never seen.

Each encoder learns from the background alphabets (four convolutions, ArcFace, 1,600 steps of 128 images, bf16) and
is judged on all images of the evaluation alphabets, each a query among the others. Characters never seen cost about
1.1 to 1.2 times what held-out ones of the background do, so that the targets are 0.85 for a budget of 1 FLOP per
document and 0.19 for one of 0.25.

A model that the store lacks is trained, in some minutes; --only-there leaves it out. Appends a record of each model
to results/learning_images.jsonl, if there is none of it yet; ``learning_report.py`` makes the tables.
"""

import argparse
import base64
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import records
import torch
from numpy.typing import NDArray

from gossamer import InvertedIndex, SparseEmbeddings
from gossamer.baselines.exhaustive import ExhaustiveSearcher
from gossamer.datasets.images import ImageCollection, LabeledImages
from gossamer.datasets.omniglot import omniglot
from gossamer.learning import Encoder, EncoderConfig, FlopsBudget, TrainingConfig
from gossamer.learning.encoding import encode, encode_dense
from gossamer.learning.model_store import ModelStore
from gossamer.metrics import flops_per_document, suboptimality_ratio

IMAGE_SIZE, PRECISION, STEPS = 32, "bf16", 1600
TWO_TARGETS = (0.19, 0.85)
"""What held-out characters may cost, for those never seen to cost at most 0.25 and 1."""
FIVE_TARGETS = (0.19, 0.4, 0.85, 1.7, 3.4)
STORE = Path(__file__).parents[1] / ".cache" / "models"


class Run(NamedTuple):
    """What is trained: a dense encoder where there is no target."""

    seed: int
    target: float | None = None
    regularizer: str = "none"
    dim: int = 128


def runs(dim: int) -> list[Run]:
    """Return all runs, those of sparse encoders with so many dimensions."""
    return [
        *(Run(seed) for seed in range(3)),
        *(Run(seed, target, "flops", dim) for seed in range(3) for target in TWO_TARGETS),
        *(Run(0, target, "flops", dim) for target in FIVE_TARGETS if target not in TWO_TARGETS),
        *(Run(0, target, "l1", dim) for target in FIVE_TARGETS),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--models", type=Path, default=STORE, help="the folder of the model store")
    parser.add_argument("--dim", type=int, default=8192, help="dimensions of the sparse encoders")
    parser.add_argument("--only-there", action="store_true", help="train nothing")
    parser.add_argument("--again", action="store_true", help="judge models of which there is a record, too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    store, judged = ModelStore(options.models), set() if options.again else judged_models()
    background, evaluation = (
        ImageCollection.open(omniglot(split)).decode(size=IMAGE_SIZE, channels=1)
        for split in ("background", "evaluation")
    )
    for run in runs(options.dim):
        encoder_config, training = configs(run)
        folder = store.encoder_folder(background, encoder_config, training)
        if folder.name in judged or (options.only_there and not folder.exists()):
            print(run, "has a record" if folder.name in judged else "is not there")
            continue
        stored = store.encoder(background, encoder_config, training, progress=True, description=str(run))
        record = {
            "benchmark": "learning_images",
            "data": "omniglot evaluation",
            "n_images": len(evaluation),
            **run._asdict(),
            **judge(stored.encoder, evaluation),
            "held_out": stored.metrics["budget"],
            "steps": training.steps,
            "batch_size": training.batch_size,
            "precision": PRECISION,
            "minutes": round(stored.metrics["training_seconds"] / 60, 2),
            "threads": 1,
            "torch": stored.metrics["torch"],
            "model": folder.name,
        }
        records.append(record, seed=run.seed, is_quiet=True)
        print(run, {key: record[key] for key in ("hit_rate", "flops_per_document", "nnz", "r_sub")}, flush=True)


def configs(run: Run) -> tuple[EncoderConfig, TrainingConfig]:
    if run.target is None:
        training = TrainingConfig(steps=STEPS, seed=run.seed, device="cpu", precision=PRECISION, regularizer="none")
        return EncoderConfig(dim=run.dim, activation="none", image_size=IMAGE_SIZE), training
    training = TrainingConfig(
        steps=STEPS, seed=run.seed, device="cpu", precision=PRECISION, regularizer=run.regularizer,
        budget=FlopsBudget(flops_per_document=run.target),
    )  # fmt: skip
    return EncoderConfig(dim=run.dim, activation="relu", image_size=IMAGE_SIZE), training


def judge(encoder: Encoder, images: LabeledImages) -> dict[str, Any]:
    """Search every image among the others, exactly."""
    if encoder.is_sparse:
        rows = encode(encoder, images.pixels, precision=PRECISION)
        found = InvertedIndex.build(rows, plan="scan").search(rows, k=2).doc_ids
    else:
        dense = encode_dense(encoder, images.pixels, precision=PRECISION)
        found = ExhaustiveSearcher(dense).search(dense, k=2).doc_ids
        rows = SparseEmbeddings.from_dense(dense)
    own = np.arange(len(images))
    other = np.where(found[:, 0] == own, found[:, 1], found[:, 0])
    hits = (other >= 0) & (images.labels[other] == images.labels)
    return {
        "hit_rate": float(hits.mean()),
        "flops_per_document": flops_per_document(rows, rows),
        "nnz": rows.nnz / len(rows),
        "r_sub": suboptimality_ratio(rows),
        "zero_rows": int((rows.nnz_per_row == 0).sum()),
        "hits": packed(hits),
        "n_per_class": n_per_class(images),
    }


def n_per_class(images: LabeledImages) -> int:
    """Return how many images each class has; they are one after the other, as the report takes them."""
    n = int((images.labels == images.labels[0]).sum())
    if (images.labels.reshape(-1, n) != images.labels[::n, None]).any():
        raise SystemExit("evaluation: expected as many images of each character, one after the other")
    return n


def packed(hits: NDArray[np.bool_]) -> str:
    """Return which queries hit, eight to a byte: by these, two models are compared query by query."""
    return base64.b64encode(np.packbits(hits).tobytes()).decode("ascii")


def judged_models() -> set[str]:
    path = records.RESULTS / "learning_images.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {json.loads(line)["model"] for line in lines}


if __name__ == "__main__":
    main()
