"""Backbones: images in, features out. Any ``nn.Module`` that maps (b, c, h, w) to (b, features) is one."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from gossamer.learning.backbones.convnet import conv4

BACKBONES: Mapping[str, Callable[[int], nn.Module]] = MappingProxyType({"conv4": conv4})
"""Functions that build a backbone for images of so many channels, by name."""
