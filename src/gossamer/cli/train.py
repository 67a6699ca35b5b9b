"""``gossamer train``: labeled images to a model.

The function is long because every setting is a parameter of it; its work is in the library.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from gossamer.cli.budget import NDocsOption, QueryUsOption, read_budget
from gossamer.cli.options import (
    ClassesOption,
    DataArgument,
    DeviceOption,
    JsonOption,
    LabelColumnOption,
    LabelsOption,
    OverwriteOption,
    SkipUnreadableOption,
    setting,
)
from gossamer.cli.printing import print_record
from gossamer.cli.progress import ProgressBars
from gossamer.errors import ConfigError
from gossamer.files import check_output

DENSE_ACTIVATION, NO_REGULARIZER, TOP_K = "none", "none", "top-k"
DENSE_DIM = 128

# The names are the library's; a test compares them, since importing them here would load torch.
BACKBONE_HELP = "One of conv4, mobilefacenet, network-in-network, resnet18, resnet18-cifar, resnet50 or resnet50-cifar."
ACTIVATION_HELP = "relu, soft-threshold, learned-soft-threshold, jump-relu, top-k, or none: a dense model."
LOSS_HELP = "arcface, cosface, proxy-anchor, semi-hard-triplet, n-pairs, multi-similarity or contrastive."
REGULARIZER_HELP = "flops, unbiased-flops, corpus-flops, l1 or none."


def train(
    data: DataArgument,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="MODEL", help="The folder to write.", show_default=False)],
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="paper-face or paper-cifar: the settings of Paria et al. (2020); options given beside it count.",
            show_default=False,
        ),
    ] = None,
    labels: LabelsOption = None,
    label_column: LabelColumnOption = "1",
    classes: ClassesOption = None,
    skip_unreadable: SkipUnreadableOption = False,
    image_size: Annotated[int | None, setting("--image-size", "Side that images are resized to.", 32)] = None,
    channels: Annotated[
        int | None, setting("--channels", "1 for grey, 3 for color.", "1 if no image is stored in color")
    ] = None,
    backbone: Annotated[str | None, setting("--backbone", BACKBONE_HELP, "conv4")] = None,
    dim: Annotated[
        int | None, setting("--dim", "Dimensions of an embedding.", "4096; 128 with --activation none")
    ] = None,
    activation: Annotated[str | None, setting("--activation", ACTIVATION_HELP, "relu")] = None,
    theta: Annotated[float | None, setting("--theta", "Threshold, of activations that have one.", 1.0)] = None,
    nnz_per_row: Annotated[
        float | None,
        setting(
            "--nnz-per-row",
            "Nonzeros of an embedding, on average, instead of FLOPs per document; with top-k: the entries it keeps.",
            "none",
        ),
    ] = None,
    loss: Annotated[str | None, setting("--loss", LOSS_HELP, "arcface")] = None,
    margin: Annotated[float | None, setting("--margin", "Margin of the loss, as in its paper.", "the loss's")] = None,
    scale: Annotated[float | None, setting("--scale", "Factor of the loss's scores.", "the loss's")] = None,
    rows_per_class: Annotated[
        int | None,
        setting("--rows-per-class", "Images of each of its classes in a batch.", "what the loss needs"),
    ] = None,
    regularizer: Annotated[
        str | None,
        setting("--regularizer", REGULARIZER_HELP, "flops; none with --activation none"),
    ] = None,
    weight: Annotated[
        float | None,
        setting("--weight", "What the regularizer's weight grows to, whatever a search costs.", "found by the cost"),
    ] = None,
    flops_per_document: Annotated[
        float | None,
        setting(
            "--flops-per-document",
            "What searching other images like these may cost: some of these are held out to measure it.",
            "1.0; none with a preset",
        ),
    ] = None,
    query_us: QueryUsOption = None,
    n_docs: NDocsOption = None,
    ramp_start: Annotated[
        float | None, setting("--ramp-start", "Share of the steps after which the weight grows.", 0.2)
    ] = None,
    ramp_end: Annotated[
        float | None, setting("--ramp-end", "Share of the steps after which the weight holds.", 0.7)
    ] = None,
    revive_after: Annotated[
        int | None,
        setting("--revive-after", "Steps in which no image uses a dimension, after which it starts afresh.", "never"),
    ] = None,
    augmentation: Annotated[
        bool | None,
        typer.Option(
            "--augmentation/--no-augmentation",
            help="Rotate, scale, shear and move images at random.",
            show_default="augmentation",
        ),
    ] = None,
    steps: Annotated[int | None, setting("--steps", "Batches to learn from.", 1600)] = None,
    batch_size: Annotated[int | None, setting("--batch-size", "Images in a batch.", 128)] = None,
    learning_rate: Annotated[float | None, setting("--learning-rate", "Peak, of the encoder.", 0.003)] = None,
    validation_classes: Annotated[
        Path | None,
        typer.Option(
            "--validation-classes",
            metavar="FILE",
            help="Classes of DATA, one a line, that are not learned from but measured on while training.",
            show_default=False,
        ),
    ] = None,
    validate_every: Annotated[int | None, setting("--validate-every", "Steps between validations.", 200)] = None,
    patience: Annotated[
        int | None,
        setting("--patience", "Measurements in a row, after which to stop: see --stop-on.", "none"),
    ] = None,
    stop_on: Annotated[
        str | None,
        setting(
            "--stop-on",
            "hit-rate: validations without a better one; or budget: looks at images held out that cost no more.",
            "hit-rate",
        ),
    ] = None,
    precision: Annotated[str | None, setting("--precision", "float32, or bf16: mixed precision.", "float32")] = None,
    devices: Annotated[
        int | None, setting("--devices", "GPUs, or processes on a CPU, that share each batch.", 1)
    ] = None,
    seed: Annotated[int | None, setting("--seed", "Same seed, same machine: same model.", 0)] = None,
    log_dir: Annotated[
        Path | None,
        typer.Option(
            "--log-dir", metavar="FOLDER", help="Write metrics.csv there, as training goes on.", show_default="none"
        ),
    ] = None,
    device: DeviceOption = "auto",
    checkpoint_every: Annotated[
        int | None, setting("--checkpoint-every", "Steps between checkpoints, which are kept beside MODEL.", 200)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint of the same command that was stopped.")
    ] = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Learn an encoder from labeled images, with sparse embeddings that are cheap to search."""
    from gossamer.datasets.images import ImageCollection
    from gossamer.learning.encoder import EncoderConfig
    from gossamer.learning.pretrained import CONFIG
    from gossamer.learning.training import (
        AffineAugmentation,
        Preset,
        TrainingConfig,
        find_preset,
        remove_checkpoints,
        train_encoder,
    )

    check_output(out, overwrite=overwrite, marker=CONFIG)
    checkpoints = out.absolute().parent / f".{out.name}.checkpoints"
    if activation == DENSE_ACTIVATION:
        for flag, value in (
            ("--flops-per-document", flops_per_document),
            ("--nnz-per-row", nnz_per_row),
            ("--query-us", query_us),
            ("--weight", weight),
        ):
            if value is not None and (regularizer in (None, NO_REGULARIZER) or flag != "--weight"):
                raise ConfigError(f"{flag}: expected a sparse model with it, or none of it; got --activation none")
        regularizer = NO_REGULARIZER if regularizer is None else regularizer
        dim = DENSE_DIM if dim is None and preset is None else dim
    base = Preset(encoder=EncoderConfig(), training=TrainingConfig()) if preset is None else find_preset(preset)
    if preset is not None and channels is None:
        channels = base.encoder.channels
    encoder_config = dataclasses.replace(
        base.encoder,
        **_given(
            image_size=image_size,
            backbone=backbone,
            dim=dim,
            activation=activation,
            theta=theta,
            nnz_per_row=_kept_entries(nnz_per_row) if activation == TOP_K else None,
        ),
    )
    settings = _given(
        loss=loss,
        margin=margin,
        scale=scale,
        rows_per_class=rows_per_class,
        regularizer=regularizer,
        weight=weight,
        ramp_start=ramp_start,
        ramp_end=ramp_end,
        revive_after=revive_after,
        validate_every=validate_every,
        patience=patience,
        stop_on=stop_on,
        precision=precision,
        devices=devices,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    budget = read_budget(
        flops_per_document=flops_per_document,
        nnz_per_row=None if activation == TOP_K else nnz_per_row,
        query_us=query_us,
        n_docs=n_docs,
        dim=encoder_config.dim,
    )
    if budget is not None:
        # A preset's weight is for no budget: one that is asked for finds its own.
        settings |= {"weight": weight, "budget": budget}
    if augmentation is not None:
        settings["augmentation"] = (base.training.augmentation or AffineAugmentation()) if augmentation else None
    training_config = dataclasses.replace(base.training, device=device, **settings)
    find = partial(ImageCollection.open, data, labels=labels or (), label_column=label_column)
    collection = find(classes=classes)
    with ProgressBars() as progress:
        images = collection.decode(
            size=encoder_config.image_size,
            channels=channels,
            skip_unreadable=skip_unreadable,
            on_progress=partial(progress, "read images"),
        )
        validation = None
        if validation_classes is not None:
            validation = find(classes=validation_classes).decode(
                size=encoder_config.image_size,
                channels=images.pixels.shape[1],
                skip_unreadable=skip_unreadable,
                on_progress=partial(progress, "read images to measure on"),
            )
            images = images.take(np.flatnonzero(~np.isin(images.labels, validation.labels)))
    encoder_config = dataclasses.replace(encoder_config, channels=images.pixels.shape[1])
    trained = train_encoder(
        images,
        encoder_config,
        training_config,
        validation=validation,
        checkpoint_dir=checkpoints,
        checkpoint_every=checkpoint_every,
        resume=resume,
        overwrite=overwrite,
        progress=True,
        log_dir=log_dir,
    )
    metrics = {**trained.metrics, "n_unreadable": images.n_unreadable, "history": trained.history}
    trained.encoder.save_pretrained(out, metrics=metrics, overwrite=overwrite)
    remove_checkpoints(checkpoints)
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


def _kept_entries(nnz_per_row: float | None) -> int | None:
    """Return how many entries top-k keeps."""
    if nnz_per_row is None or nnz_per_row.is_integer():
        return None if nnz_per_row is None else int(nnz_per_row)
    raise ConfigError(f"--nnz-per-row: expected a whole number with --activation top-k; got {nnz_per_row:g}")


def _given(**settings: object) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}
