"""``gossamer fit``: dense embeddings to a model that makes them sparse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gossamer.cli.budget import NDocsOption, QueryUsOption, read_budget
from gossamer.cli.options import DeviceOption, JsonOption, OverwriteOption, setting
from gossamer.cli.printing import print_record
from gossamer.datasets.embedding_files import read_dense
from gossamer.datasets.labels import read_row_labels
from gossamer.files import check_output

# The names are the library's; a test compares them, since importing them here would load torch.
ACTIVATION_HELP = "relu, soft-threshold, learned-soft-threshold, jump-relu or top-k."
OBJECTIVE_HELP = "similarity, squared-similarity, reconstruction or contrastive."
REGULARIZER_HELP = "flops, unbiased-flops, corpus-flops, l1 or none; none with --activation top-k."


def fit(
    dense: Annotated[
        Path,
        typer.Argument(metavar="DENSE", help="Dense embeddings of the corpus, a .npy file.", show_default=False),
    ],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="MODEL", help="The folder to write.", show_default=False)],
    flops_per_document: Annotated[
        float | None, setting("--flops-per-document", "What searching rows like these may cost.", 1.0)
    ] = None,
    nnz_per_row: Annotated[
        float | None,
        setting("--nnz-per-row", "Nonzeros of a row, on average, instead of FLOPs per document.", "none"),
    ] = None,
    query_us: QueryUsOption = None,
    n_docs: NDocsOption = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="The class of each row, one a line: rows of one class are then drawn nearer to each other.",
            show_default=False,
        ),
    ] = None,
    dim: Annotated[int | None, setting("--dim", "Dimensions of a sparse embedding.", 4096)] = None,
    activation: Annotated[str | None, setting("--activation", ACTIVATION_HELP, "relu")] = None,
    objective: Annotated[str | None, setting("--objective", OBJECTIVE_HELP, "similarity")] = None,
    regularizer: Annotated[str | None, setting("--regularizer", REGULARIZER_HELP, "flops")] = None,
    steps: Annotated[int | None, setting("--steps", "Batches to learn from.", 400)] = None,
    batch_size: Annotated[int | None, setting("--batch-size", "Rows in a batch.", 512)] = None,
    learning_rate: Annotated[float | None, setting("--learning-rate", "Peak.", 0.006)] = None,
    seed: Annotated[int | None, setting("--seed", "Same seed, same machine: same model.", 0)] = None,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Learn to make dense embeddings sparse: no labels needed, the same neighbors, at the cost that is asked for."""
    from gossamer.learning.pretrained import CONFIG
    from gossamer.learning.sparsifier import Sparsifier

    check_output(out, overwrite=overwrite, marker=CONFIG)
    dim = Sparsifier().dim if dim is None else dim
    budget = read_budget(
        flops_per_document=flops_per_document, nnz_per_row=nnz_per_row, query_us=query_us, n_docs=n_docs, dim=dim
    )
    rows, _ = read_dense(dense)
    given = {
        "flops_per_document": None if budget is None else budget.even_flops_per_document(dim),
        "dim": dim,
        "activation": activation,
        "objective": objective,
        "regularizer": regularizer,
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "random_state": seed,
    }
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    sparsifier = Sparsifier(**settings, device=device, progress=True)
    sparsifier.fit(rows, None if labels is None else read_row_labels(labels, len(rows)))
    sparsifier.save_pretrained(out, overwrite=overwrite)
    metrics = sparsifier.metrics_
    record = {
        "model": str(out),
        "rows": len(rows),
        "dense_dim": rows.shape[1],
        "dim": sparsifier.dim,
        "flops_per_document": metrics["flops_per_document"],
        "training_seconds": metrics["training_seconds"],
        "fingerprint": sparsifier.fingerprint,
    }
    print_record(record, as_json=as_json)
