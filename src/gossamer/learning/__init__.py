"""Learn sparse embeddings: regularizers, the encoder, its training, and encoding with it.

Importing this loads torch. Lightning comes with the names of `gossamer.learning.training` and `Sparsifier`, at
first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gossamer.errors import MissingDependencyError

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        "learning needs torch, which is not installed: pip install 'gossamer[learn]'"
    ) from error

from gossamer.learning.activations import AbsoluteTopK, JumpReLU, LearnedSoftThreshold, SoftThreshold
from gossamer.learning.budget import BudgetController, FlopsBudget, QuadraticSchedule
from gossamer.learning.calibration import calibrate
from gossamer.learning.cost import SearchCost, measured_cost
from gossamer.learning.encoder import Encoder, EncoderConfig
from gossamer.learning.encoding import encode, encode_dense
from gossamer.learning.heads import SparseHead
from gossamer.learning.regularizers import L1, CorpusFlops, Flops, UnbiasedFlops, flops, l1, unbiased_flops
from gossamer.learning.revival import DeadDimRevival

if TYPE_CHECKING:
    from gossamer.learning.sparsifier import Sparsifier
    from gossamer.learning.training import (
        ImageDataModule,
        SparseEmbeddingTask,
        TrainedEncoder,
        TrainingConfig,
        train_encoder,
    )

__all__ = [
    "L1",
    "AbsoluteTopK",
    "BudgetController",
    "CorpusFlops",
    "DeadDimRevival",
    "Encoder",
    "EncoderConfig",
    "Flops",
    "FlopsBudget",
    "ImageDataModule",
    "JumpReLU",
    "LearnedSoftThreshold",
    "QuadraticSchedule",
    "SearchCost",
    "SoftThreshold",
    "SparseEmbeddingTask",
    "SparseHead",
    "Sparsifier",
    "TrainedEncoder",
    "TrainingConfig",
    "UnbiasedFlops",
    "calibrate",
    "encode",
    "encode_dense",
    "flops",
    "l1",
    "measured_cost",
    "train_encoder",
    "unbiased_flops",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gossamer.learning import sparsifier, training

    return getattr(sparsifier if name in sparsifier.__all__ else training, name)
