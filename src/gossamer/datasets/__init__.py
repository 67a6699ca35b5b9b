"""Readers of images, labels and embedding files: one module for each kind."""
