"""The autoencoder of sentence-transformers' ``CSRLoss`` on CLINC150, beside the Sparsifier of as many steps.

Its module and its loss are the library's; only the rows that go in are the same MiniLM rows that every peer gets,
instead of text. No labels: a row is its own positive, the other rows of a batch are its negatives. Adam in mixed
precision, as many steps and rows a batch as the runs of ``learning_codes.py``. Of the same network, codes with so many
nonzeros as even ones of 1 FLOP per document have, and with so many that they cost as much as ours do.

Needs ``pip install sentence-transformers`` (measured with 6.2), which no part of Gossamer depends on. Appends records
to results/learning_dense.jsonl.
"""

import argparse
import time

import numpy as np
import torch
from clinc150_dense import judge_sparse, load
from clinc150_models import SHORT, record
from numpy.typing import NDArray
from sentence_transformers.sparse_encoder.losses import CSRLoss
from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder

from gossamer import SparseEmbeddings
from gossamer.learning import Sparsifier
from gossamer.metrics import flops_per_document

BATCH_SIZE = Sparsifier().batch_size
DIM, NNZ = 4096, 64


def train(rows: torch.Tensor, *, steps: int, learning_rate: float, seed: int) -> SparseAutoEncoder:
    torch.manual_seed(seed)
    model = SparseAutoEncoder(input_dim=rows.shape[1], hidden_dim=DIM, k=NNZ)
    loss = CSRLoss(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    course = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        batch = rows[torch.randint(len(rows), (BATCH_SIZE,))]
        with torch.autocast("cpu", torch.bfloat16):
            parts = loss([{"sentence_embedding": batch}, {"sentence_embedding": batch}])
        optimizer.zero_grad()
        sum(part.float() for part in parts.values()).backward()
        optimizer.step()
        course.step()
    return model.eval()


def encoded(model: SparseAutoEncoder, rows: NDArray[np.float32], nnz: int) -> SparseEmbeddings:
    with torch.inference_mode():
        codes = model({"sentence_embedding": torch.from_numpy(rows)}, max_active_dims=nnz)["sentence_embedding"]
        return SparseEmbeddings.from_torch(torch.nn.functional.normalize(codes))


def nnz_of(model: SparseAutoEncoder, rows: NDArray[np.float32], flops: float) -> int:
    """Return the most nonzeros at which a sample of rows costs at most so many FLOPs per document."""
    low, high = 1, NNZ
    while low < high:
        middle = (low + high + 1) // 2
        codes = encoded(model, rows[::8], middle)
        low, high = (middle, high) if flops_per_document(codes, codes) <= flops else (low, middle - 1)
    return low


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--steps", type=int, default=SHORT)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus = load()
    start = time.process_time()
    model = train(
        torch.from_numpy(corpus.documents), steps=options.steps, learning_rate=options.learning_rate, seed=options.seed
    )
    made = {"minutes": (time.process_time() - start) / 60, "steps": options.steps, "batch_size": BATCH_SIZE, "dim": DIM}
    for name, nnz in (("equal nonzeros", NNZ), ("equal FLOPs", nnz_of(model, corpus.documents, 1.0))):
        figures = judge_sparse(corpus, *(encoded(model, rows, nnz) for rows in (corpus.documents, corpus.queries)))
        record(
            "peers", f"CSRLoss autoencoder, {name}", options.seed,
            **made, **figures, top_k=nnz, learning_rate=options.learning_rate,
        )  # fmt: skip


if __name__ == "__main__":
    main()
