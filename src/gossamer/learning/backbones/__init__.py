"""Backbones: images in, features out. Any ``nn.Module`` that maps (b, c, h, w) to (b, features) is one."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from gossamer.learning.backbones.convnet import conv4
from gossamer.learning.backbones.mobilefacenet import mobilefacenet
from gossamer.learning.backbones.network_in_network import network_in_network
from gossamer.learning.backbones.resnet import resnet18, resnet18_cifar, resnet50, resnet50_cifar

BACKBONES: Mapping[str, Callable[[int], nn.Module]] = MappingProxyType(
    {
        "conv4": conv4,
        "mobilefacenet": mobilefacenet,
        "network-in-network": network_in_network,
        "resnet18": resnet18,
        "resnet18-cifar": resnet18_cifar,
        "resnet50": resnet50,
        "resnet50-cifar": resnet50_cifar,
    }
)
"""Functions that build a backbone for images of so many channels, by name."""
