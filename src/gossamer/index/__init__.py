"""The exact index of sparse embeddings, and its files."""

from gossamer.index.inverted_index import InvertedIndex

__all__ = ["InvertedIndex"]
