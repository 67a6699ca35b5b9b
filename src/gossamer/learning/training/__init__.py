"""Train an encoder on labeled images, by Lightning."""

from gossamer.learning.training.augmentation import AffineAugmentation
from gossamer.learning.training.config import PRESETS, Preset, TrainingConfig, find_preset
from gossamer.learning.training.health_callback import HealthWatch
from gossamer.learning.training.holdout import HeldOut, hold_out
from gossamer.learning.training.image_data import ImageBatch, ImageDataModule
from gossamer.learning.training.run import TrainedEncoder, train_encoder
from gossamer.learning.training.task import SparseEmbeddingTask

__all__ = [
    "PRESETS",
    "AffineAugmentation",
    "HealthWatch",
    "HeldOut",
    "ImageBatch",
    "ImageDataModule",
    "Preset",
    "SparseEmbeddingTask",
    "TrainedEncoder",
    "TrainingConfig",
    "find_preset",
    "hold_out",
    "train_encoder",
]
