"""Learned embeddings of text: CLINC150 questions, their MiniLM vectors made sparse by one linear layer.

The layer (384 → 4,096, ReLU, unit length) learns without labels from the vectors of the training and validation
splits, 18,000 rows: the similarities of a batch, as a softmax over the other rows, shall be those of the dense vectors
(Kullback–Leibler divergence), under the FLOPs regularizer with a growing weight. Documents are those 18,000 vectors
and 27 noisy copies of each (Gaussian noise, then unit length again; the cosine of a copy to its source is about 0.9,
where two questions of one intent have about 0.5): 504,000 rows. Queries are 1,000 questions of the test split.
"""

import os
from pathlib import Path

import numpy as np
from data_cache import Arrays, cached, to_arrays
from numpy.typing import NDArray

from gossamer import SparseEmbeddings

DIM = 4096
COPIES = 28
N_QUERIES = 1000
NOISE = 0.484  # the length of the noise, so that the cosine is about 1 / sqrt(1 + NOISE²) = 0.9
STEPS = 1000
BATCH_SIZE = 256
TEMPERATURE = 0.05
WEIGHT = 30.0  # of the regularizer; chosen for 1 to 2.6 FLOPs per document
SEED = 0

_SETTINGS = {
    "dim": DIM, "copies": COPIES, "n_queries": N_QUERIES, "noise": NOISE, "steps": STEPS, "batch_size": BATCH_SIZE,
    "temperature": TEMPERATURE, "weight": WEIGHT, "seed": SEED,
}  # fmt: skip


def clinc150_codes() -> Arrays:
    """Return documents and queries as sparse codes."""
    return cached("clinc150", _SETTINGS, "clinc150_codes.py", make=_encode)


def clinc150_dense() -> Arrays:
    """Return the dense vectors of the same items, float16."""
    return cached("clinc150-dense", _SETTINGS, "clinc150_codes.py", make=_dense)


def _read(*splits: str) -> NDArray[np.float32]:
    if "GOSSAMER_DATA" not in os.environ:
        raise SystemExit("GOSSAMER_DATA: expected the folder that holds clinc150/minilm_train.npy; it is not set")
    folder = Path(os.environ["GOSSAMER_DATA"]) / "clinc150"
    rows = np.concatenate([np.load(folder / f"minilm_{split}.npy") for split in splits]).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _dense() -> Arrays:
    corpus, rng = _read("train", "val"), np.random.default_rng(SEED)
    copies = [corpus]
    for _ in range(COPIES - 1):
        noisy = corpus + rng.standard_normal(corpus.shape, np.float32) * np.float32(NOISE / corpus.shape[1] ** 0.5)
        copies.append(noisy / np.linalg.norm(noisy, axis=1, keepdims=True))
    queries = np.random.default_rng(SEED).choice(_read("test"), N_QUERIES, replace=False)
    return {"docs": np.concatenate(copies).astype(np.float16), "queries": queries.astype(np.float16)}


def _encode() -> Arrays:
    dense = clinc150_dense()
    weights, bias = train_head(_read("train", "val"))
    documents, queries = (_sparse(dense[name], weights, bias) for name in ("docs", "queries"))
    return {**to_arrays("docs", documents), **to_arrays("queries", queries), "dim": np.int64(DIM)}


def _sparse(rows: NDArray[np.float16], weights: NDArray[np.float32], bias: NDArray[np.float32]) -> SparseEmbeddings:
    counts, dims, values = [np.zeros(1, np.int64)], [], []
    for start in range(0, len(rows), 4000):
        codes = np.maximum(rows[start : start + 4000].astype(np.float32) @ weights.T + bias, 0)
        codes /= np.maximum(np.linalg.norm(codes, axis=1, keepdims=True), 1e-12)
        row, column = np.nonzero(codes)
        counts.append(np.bincount(row, minlength=len(codes)))
        dims.append(column.astype(np.int32))
        values.append(codes[row, column])
    return SparseEmbeddings(np.cumsum(np.concatenate(counts)), np.concatenate(dims), np.concatenate(values), dim=DIM)


def train_head(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the weights and the bias of the layer."""
    import torch
    from torch.nn import functional as F

    from gossamer.learning import QuadraticSchedule, unbiased_flops

    generator = torch.Generator().manual_seed(SEED)
    weights = torch.randn(DIM, rows.shape[1], generator=generator).div_(rows.shape[1] ** 0.5).requires_grad_()
    bias = torch.full((DIM,), -0.05).requires_grad_()
    optimizer = torch.optim.Adam([weights, bias], lr=2e-3)
    course = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    schedule = QuadraticSchedule(weight=WEIGHT, warmup_steps=STEPS // 2)
    dense, itself = torch.from_numpy(rows), torch.eye(BATCH_SIZE, dtype=torch.bool)
    for step in range(STEPS):
        batch = dense[torch.randint(len(dense), (BATCH_SIZE,), generator=generator)]
        codes = F.normalize(torch.relu(batch @ weights.T + bias))
        wanted, found = ((x @ x.T / TEMPERATURE).masked_fill(itself, -1e4).log_softmax(dim=1) for x in (batch, codes))
        divergence = F.kl_div(found, wanted, log_target=True, reduction="batchmean")
        loss = divergence + schedule.at(step) * unbiased_flops(codes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        course.step()
    return weights.detach().numpy(), bias.detach().numpy()
