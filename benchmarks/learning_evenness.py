"""How even dimensions are, on what was learned from and on classes never seen: Omniglot encoders of a model store.

The encoders are those of ``learning_images.py``; none is trained here. Measured are some images of each character, of
the background alphabets, of which a share of the characters was held out from training, and of the evaluation
alphabets. Beside R_sub is the number that so many classes set, see `gossamer.metrics.class_suboptimality_ratio`, and
how far the costs of some characters drawn at random lie apart: as far as a budget that is met on so many may be missed.

Appends a record of each encoder to results/learning_evenness.jsonl; ``learning_report.py`` makes the table.
"""

import argparse
from pathlib import Path
from typing import Any

import learning_images as images_of
import numpy as np
import records
import torch

from gossamer import SparseEmbeddings
from gossamer.datasets.images import ImageCollection, LabeledImages
from gossamer.datasets.omniglot import omniglot
from gossamer.learning import Encoder
from gossamer.learning.encoding import encode
from gossamer.learning.model_store import ModelStore
from gossamer.metrics import class_suboptimality_ratio, flops_per_document, suboptimality_ratio

DRAWN, N_DRAWS = (48, 96), 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--models", type=Path, default=images_of.STORE, help="the folder of the model store")
    parser.add_argument("--dim", type=int, default=8192)
    parser.add_argument("--per-class", type=int, default=3, help="images of each character")
    options = parser.parse_args()
    torch.set_num_threads(1)
    store = ModelStore(options.models)
    background, evaluation = (
        ImageCollection.open(omniglot(split)).decode(size=images_of.IMAGE_SIZE, channels=1)
        for split in ("background", "evaluation")
    )
    for run in images_of.runs(options.dim):
        folder = store.encoder_folder(background, *images_of.configs(run))
        if run.target is None or not (folder / "metrics.json").exists():
            continue
        encoder = Encoder.from_pretrained(folder)
        record = {
            "benchmark": "learning_evenness",
            "data": "omniglot",
            **run._asdict(),
            "per_class": options.per_class,
            "background": measure(encoder, background, options.per_class),
            "evaluation": measure(encoder, evaluation, options.per_class),
            "model": folder.name,
        }
        records.append(record, seed=run.seed, is_quiet=True)
        print(run, record["background"], record["evaluation"], flush=True)


def measure(encoder: Encoder, images: LabeledImages, per_class: int) -> dict[str, Any]:
    n = images_of.n_per_class(images)
    pixels = images.pixels.reshape(-1, n, *images.pixels.shape[1:])[:, :per_class]
    rows = encode(encoder, np.concatenate(list(pixels)), precision=images_of.PRECISION)
    nnz = rows.nnz / len(rows)
    return {
        "n_classes": len(pixels),
        "nnz": nnz,
        "flops_per_document": flops_per_document(rows, rows),
        "r_sub": suboptimality_ratio(rows),
        "r_sub_of_classes": class_suboptimality_ratio(rows.dim, nnz, len(pixels)),
        "deviation": {str(n): deviation(rows, pixels.shape[1], n) for n in DRAWN},
    }


def deviation(rows: SparseEmbeddings, per_class: int, n_drawn: int) -> float:
    """Return the standard deviation of what some classes cost, over the mean; classes are one after the other."""
    used = np.zeros((len(rows) // per_class, rows.dim), np.float32)
    row_numbers = np.repeat(np.arange(len(rows)), rows.nnz_per_row)
    np.add.at(used, (row_numbers // per_class, rows.dims), 1)
    rng = np.random.default_rng(0)
    costs = []
    for _ in range(N_DRAWS):
        drawn = used[rng.choice(len(used), n_drawn, replace=False)]
        within, total = np.square(drawn).sum(dtype=float), np.square(drawn.sum(axis=0)).sum(dtype=float)
        between = (total - within) / (n_drawn * (n_drawn - 1) * per_class**2)
        own = (within - drawn.sum(dtype=float)) / (n_drawn * per_class * (per_class - 1))
        costs.append(between + (own - between) / len(used))
    return float(np.std(costs) / np.mean(costs))


if __name__ == "__main__":
    main()
