"""Dense embeddings to sparse ones, learned from the dense rows alone."""

from gossamer.learning.sparsifier.config import SparsifierConfig
from gossamer.learning.sparsifier.estimator import Sparsifier
from gossamer.learning.sparsifier.objectives import OBJECTIVES

__all__ = ["OBJECTIVES", "Sparsifier", "SparsifierConfig"]
