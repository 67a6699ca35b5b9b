"""Train an encoder on labeled images, by Lightning."""

from gossamer.learning.training.augmentation import AffineAugmentation
from gossamer.learning.training.config import TrainingConfig
from gossamer.learning.training.image_data import ImageBatch, ImageDataModule
from gossamer.learning.training.run import TrainedEncoder, train_encoder
from gossamer.learning.training.task import SparseEmbeddingTask

__all__ = [
    "AffineAugmentation",
    "ImageBatch",
    "ImageDataModule",
    "SparseEmbeddingTask",
    "TrainedEncoder",
    "TrainingConfig",
    "train_encoder",
]
