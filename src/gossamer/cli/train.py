"""``gossamer train``: labeled images to a model.

The function is long because every setting is a parameter of it; its work is in the library.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Any

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
from gossamer.files import check_output

DENSE_ACTIVATION, NO_REGULARIZER = "none", "none"
DENSE_DIM = 128


def _setting(flag: str, meaning: str, default: object) -> Any:
    """Make an option that is None unless given: the default is the library's, and shown here."""
    return typer.Option(flag, help=meaning, show_default=str(default))


def train(
    data: DataArgument,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="MODEL", help="The folder to write.", show_default=False)],
    labels: LabelsOption = None,
    label_column: LabelColumnOption = "1",
    classes: ClassesOption = None,
    skip_unreadable: SkipUnreadableOption = False,
    image_size: Annotated[int | None, _setting("--image-size", "Side that images are resized to.", 32)] = None,
    channels: Annotated[
        int | None, _setting("--channels", "1 for grey, 3 for color.", "1 if no image is stored in color")
    ] = None,
    backbone: Annotated[str | None, _setting("--backbone", "Images to features.", "conv4")] = None,
    dim: Annotated[
        int | None, _setting("--dim", "Dimensions of an embedding.", "4096; 128 with --activation none")
    ] = None,
    activation: Annotated[
        str | None, _setting("--activation", "relu, soft-threshold, or none: a dense model.", "relu")
    ] = None,
    theta: Annotated[float | None, _setting("--theta", "Threshold of soft-threshold.", 1.0)] = None,
    loss: Annotated[str | None, _setting("--loss", "arcface or cosface.", "arcface")] = None,
    regularizer: Annotated[
        str | None,
        _setting("--regularizer", "flops, unbiased-flops, l1 or none.", "flops; none with --activation none"),
    ] = None,
    weight: Annotated[float | None, _setting("--weight", "What the regularizer's weight grows to.", 40.0)] = None,
    flops_per_document: Annotated[
        float | None,
        _setting(
            "--flops-per-document", "What searching images like these costs: small entries are dropped for it.", 1.2
        ),
    ] = None,
    ramp_start: Annotated[
        float | None, _setting("--ramp-start", "Share of the steps after which the weight grows.", 0.2)
    ] = None,
    ramp_end: Annotated[
        float | None, _setting("--ramp-end", "Share of the steps after which the weight holds.", 0.7)
    ] = None,
    augmentation: Annotated[
        bool, typer.Option("--augmentation/--no-augmentation", help="Rotate, scale, shear and move images at random.")
    ] = True,
    steps: Annotated[int | None, _setting("--steps", "Batches to learn from.", 1600)] = None,
    batch_size: Annotated[int | None, _setting("--batch-size", "Images in a batch.", 128)] = None,
    learning_rate: Annotated[float | None, _setting("--learning-rate", "Peak, of the encoder.", 0.003)] = None,
    seed: Annotated[int | None, _setting("--seed", "Same seed, same machine: same model.", 0)] = None,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Learn an encoder from labeled images, with sparse embeddings that are cheap to search."""
    from gossamer.datasets.images import ImageCollection
    from gossamer.learning.encoder import EncoderConfig
    from gossamer.learning.pretrained import CONFIG
    from gossamer.learning.training import TrainingConfig, train_encoder

    check_output(out, overwrite=overwrite, marker=CONFIG)
    if activation == DENSE_ACTIVATION:
        regularizer = NO_REGULARIZER if regularizer is None else regularizer
        dim = DENSE_DIM if dim is None else dim
    encoder_config = EncoderConfig(
        **_given(image_size=image_size, backbone=backbone, dim=dim, activation=activation, theta=theta)
    )
    settings = _given(
        loss=loss,
        regularizer=regularizer,
        weight=weight,
        flops_per_document=flops_per_document,
        ramp_start=ramp_start,
        ramp_end=ramp_end,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    training_config = TrainingConfig(device=device, **settings)
    if not augmentation:
        training_config = dataclasses.replace(training_config, augmentation=None)
    collection = ImageCollection.open(data, labels=labels or (), label_column=label_column, classes=classes)
    with ProgressBars() as progress:
        images = collection.decode(
            size=encoder_config.image_size,
            channels=channels,
            skip_unreadable=skip_unreadable,
            on_progress=partial(progress, "read images"),
        )
    encoder_config = dataclasses.replace(encoder_config, channels=images.pixels.shape[1])
    trained = train_encoder(images, encoder_config, training_config, progress=True)
    metrics = {**trained.metrics, "n_unreadable": images.n_unreadable, "history": trained.history}
    trained.encoder.save_pretrained(out, metrics=metrics, overwrite=overwrite)
    record = {
        "model": str(out),
        "images": len(images),
        "unreadable": images.n_unreadable,
        "classes": images.n_classes,
        "dim": encoder_config.dim,
        **trained.history[-1],
        "training_seconds": trained.metrics["training_seconds"],
        "fingerprint": trained.encoder.fingerprint,
    }
    print_record(record, as_json=as_json)


def _given(**settings: object) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}
