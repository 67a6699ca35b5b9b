"""``gossamer encode``: a model and what it takes, images or dense embeddings, to embeddings."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from gossamer.catalog import Catalog
from gossamer.cli.options import (
    ClassesOption,
    DeviceOption,
    JsonOption,
    OverwriteOption,
    SkipUnreadableOption,
    setting,
)
from gossamer.cli.printing import print_record
from gossamer.cli.progress import ProgressBars
from gossamer.datasets.embedding_files import (
    DENSE_SUFFIX,
    SPARSE_SUFFIX,
    check_embeddings_output,
    read_dense,
    write_dense,
    write_sparse,
)
from gossamer.datasets.labels import read_row_labels
from gossamer.errors import ArgumentError


def encode(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder.", show_default=False)],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Images: a folder tree, or a zip of one. For a model of gossamer fit: dense embeddings, a .npy file.",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="EMBEDDINGS", help="The file to write: .npz, or .npy of a dense model.", show_default=False
        ),
    ],
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="CSV of path and label, on disk or in DATA; only listed images are used. Repeatable. "
            "Without it, an image's class is its folder. For dense embeddings: one label a line.",
            show_default=False,
        ),
    ] = None,
    label_column: Annotated[
        str | None,
        setting("--label-column", "Column of the label in these lists: a number (0 is the path) or a name.", "1"),
    ] = None,
    classes: ClassesOption = None,
    skip_unreadable: SkipUnreadableOption = False,
    batch_size: Annotated[int | None, setting("--batch-size", "Images encoded at a time.", 512)] = None,
    precision: Annotated[
        str | None,
        setting(
            "--precision", "float32, or bf16: images in mixed precision; queries and documents in the same.", "float32"
        ),
    ] = None,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Encode images or dense rows: sparse embeddings to a .npz for SciPy too, dense ones to a .npy and a .json."""
    from gossamer.learning.pretrained import SPARSIFIER, read_kind

    if read_kind(model) == SPARSIFIER:
        for_images = {
            "--label-column": label_column is not None,
            "--classes": classes is not None,
            "--skip-unreadable": skip_unreadable,
            "--batch-size": batch_size is not None,
            "--precision": precision is not None,
            "a second --labels": len(labels or ()) > 1,
        }
        given = [option for option, is_given in for_images.items() if is_given]
        if given:
            raise ArgumentError(f"{given[0]}: expected a model of images with it; {model} takes dense embeddings")
        record = _sparsify(model, data, out, labels=labels, device=device, overwrite=overwrite)
    else:
        record = _encode_images(
            model,
            data,
            out,
            labels=labels,
            label_column="1" if label_column is None else label_column,
            classes=classes,
            skip_unreadable=skip_unreadable,
            batch_size=512 if batch_size is None else batch_size,
            precision="float32" if precision is None else precision,
            device=device,
            overwrite=overwrite,
        )
    print_record({"embeddings": str(out), **record}, as_json=as_json)


def _sparsify(
    model: Path, data: Path, out: Path, *, labels: list[Path] | None, device: str, overwrite: bool
) -> dict[str, Any]:
    from gossamer.learning.sparsifier import Sparsifier

    sparsifier = Sparsifier.from_pretrained(model).set_params(device=device)
    check_embeddings_output(out, SPARSE_SUFFIX, overwrite=overwrite)
    if data.suffix != DENSE_SUFFIX:
        raise ArgumentError(f"data: expected dense embeddings, a .npy file, for a model of gossamer fit; got {data}")
    dense, names = read_dense(data)
    given = None if labels is None else read_row_labels(labels[0], len(dense))
    with ProgressBars() as progress:
        rows = sparsifier.encode(dense, on_progress=partial(progress, "encode"))
    catalog = Catalog(
        n=names.n,
        keys=names.keys,
        labels=names.labels if given is None else given,
        fingerprint=sparsifier.fingerprint,
    )
    write_sparse(out, rows, catalog, overwrite=overwrite)
    return {
        "rows": len(rows),
        "dim": rows.dim,
        "nnz_per_row": rows.nnz / max(len(rows), 1),
        "fingerprint": sparsifier.fingerprint,
    }


def _encode_images(
    model: Path,
    data: Path,
    out: Path,
    *,
    labels: list[Path] | None,
    label_column: str,
    classes: Path | None,
    skip_unreadable: bool,
    batch_size: int,
    precision: str,
    device: str,
    overwrite: bool,
) -> dict[str, Any]:
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
        catalog = dataclasses.replace(images.catalog, fingerprint=encoder.fingerprint)
        report = partial(progress, "encode")
        if encoder.is_sparse:
            rows = encode_sparse(
                encoder, images.pixels, batch_size=batch_size, device=device, precision=precision, on_progress=report
            )
            write_sparse(out, rows, catalog, overwrite=overwrite)
            nnz_per_row = rows.nnz / len(rows)
        else:
            dense = encode_dense(
                encoder, images.pixels, batch_size=batch_size, device=device, precision=precision, on_progress=report
            )
            write_dense(out, dense, catalog, overwrite=overwrite)
            nnz_per_row = encoder.config.dim
    return {
        "images": len(images),
        "unreadable": images.n_unreadable,
        "classes": images.n_classes,
        "dim": encoder.config.dim,
        "nnz_per_row": nnz_per_row,
        "fingerprint": encoder.fingerprint,
    }
