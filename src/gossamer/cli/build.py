"""``gossamer build``: sparse embeddings to an index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gossamer.cli.options import JsonOption, OverwriteOption
from gossamer.cli.printing import print_record
from gossamer.datasets.embedding_files import read_sparse
from gossamer.files import check_output
from gossamer.index import InvertedIndex
from gossamer.index.contents import Plan
from gossamer.index.manifest import MANIFEST


def build(
    embeddings: Annotated[
        Path, typer.Argument(metavar="EMBEDDINGS", help="Sparse embeddings, a .npz file.", show_default=False)
    ],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="INDEX", help="The folder to write.", show_default=False)],
    plan: Annotated[
        Literal["auto", Plan],
        typer.Option("--plan", help="How to search, always exactly. auto measures every plan and keeps the fastest."),
    ] = "auto",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build an index of sparse embeddings; keys, labels and fingerprint go with it."""
    check_output(out, overwrite=overwrite, marker=MANIFEST)
    rows, catalog = read_sparse(embeddings)
    index = InvertedIndex.build(rows, catalog=catalog, plan=plan)
    index.save(out, overwrite=overwrite)
    record = {
        "index": str(out),
        "documents": index.n_docs,
        "dim": index.dim,
        "nnz": index.nnz,
        "plan": index.layout.plan,
        "measured_us": index.layout.measured_us,
        "size_bytes": sum(file.stat().st_size for file in out.iterdir()),
        "fingerprint": catalog.fingerprint,
    }
    print_record(record, as_json=as_json)
