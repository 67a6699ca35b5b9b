"""``gossamer encode``: a model and images to embeddings."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gossamer.cli.options import (
    ClassesOption,
    DataArgument,
    DeviceOption,
    JsonOption,
    LabelColumnOption,
    LabelsOption,
    OverwriteOption,
    SkipUnreadableOption,
)
from gossamer.cli.printing import print_record
from gossamer.cli.progress import ProgressBars
from gossamer.datasets.embedding_files import (
    DENSE_SUFFIX,
    SPARSE_SUFFIX,
    check_embeddings_output,
    write_dense,
    write_sparse,
)


def encode(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder.", show_default=False)],
    data: DataArgument,
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="EMBEDDINGS", help="The file to write: .npz, or .npy of a dense model.", show_default=False
        ),
    ],
    labels: LabelsOption = None,
    label_column: LabelColumnOption = "1",
    classes: ClassesOption = None,
    skip_unreadable: SkipUnreadableOption = False,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images encoded at a time.")] = 512,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Encode images: sparse embeddings to a .npz that SciPy opens too, dense ones to a .npy and a .json."""
    from gossamer.datasets.images import ImageCollection
    from gossamer.learning.encoder import Encoder
    from gossamer.learning.encoding import encode as encode_sparse
    from gossamer.learning.encoding import encode_dense

    encoder = Encoder.from_pretrained(model)
    check_embeddings_output(out, SPARSE_SUFFIX if encoder.is_sparse else DENSE_SUFFIX, overwrite=overwrite)
    collection = ImageCollection.open(data, labels=labels or (), label_column=label_column, classes=classes)
    with ProgressBars() as progress:
        images = collection.decode(
            size=encoder.config.image_size,
            channels=encoder.config.channels,
            skip_unreadable=skip_unreadable,
            on_progress=partial(progress, "read images"),
        )
        report = partial(progress, "encode")
        catalog = dataclasses.replace(images.catalog, fingerprint=encoder.fingerprint)
        if encoder.is_sparse:
            rows = encode_sparse(encoder, images.pixels, batch_size=batch_size, device=device, on_progress=report)
            write_sparse(out, rows, catalog, overwrite=overwrite)
            nnz_per_row = rows.nnz / len(rows)
        else:
            dense = encode_dense(encoder, images.pixels, batch_size=batch_size, device=device, on_progress=report)
            write_dense(out, dense, catalog, overwrite=overwrite)
            nnz_per_row = encoder.config.dim
    record = {
        "embeddings": str(out),
        "images": len(images),
        "unreadable": images.n_unreadable,
        "classes": images.n_classes,
        "dim": encoder.config.dim,
        "nnz_per_row": nnz_per_row,
        "fingerprint": encoder.fingerprint,
    }
    print_record(record, as_json=as_json)
