"""Backbones: shapes, and numbers of parameters from their papers and reference implementations."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gossamer.errors import ConfigError, ShapeError
from gossamer.learning import Encoder, EncoderConfig, SparseHead
from gossamer.learning.backbones import BACKBONES
from gossamer.learning.backbones.mobilefacenet import _InvertedResidual
from gossamer.learning.backbones.resnet import _Residual


def n_parameters(module):
    return sum(weights.numel() for weights in module.parameters())


@pytest.mark.parametrize(
    ("name", "size", "n_features"),
    [
        ("conv4", 32, 1024),
        ("conv4", 8, 1024),
        ("conv4", 50, 1024),
        ("mobilefacenet", 112, 512),
        ("network-in-network", 32, 192),
        ("network-in-network", 17, 192),
        ("resnet18", 64, 512),
        ("resnet18", 33, 512),
        ("resnet50", 64, 2048),
        ("resnet18-cifar", 32, 512),
        ("resnet18-cifar", 9, 512),
        ("resnet50-cifar", 16, 2048),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_become_a_matrix_of_features(name, size, n_features, channels):
    backbone = BACKBONES[name](channels).eval()
    with torch.no_grad():
        features = backbone(torch.randn(2, channels, size, size))
    assert features.shape == (2, n_features)
    assert not torch.allclose(features[0], features[1])


def test_every_backbone_has_a_shape_test():
    (marks,) = [m for m in test_images_become_a_matrix_of_features.pytestmark if "name" in m.args[0]]
    assert {name for name, _, _ in marks.args[1]} == set(BACKBONES)


@pytest.mark.parametrize("name", ["resnet18", "resnet18-cifar", "mobilefacenet", "network-in-network"])
def test_a_gradient_reaches_every_parameter(name):
    torch.manual_seed(0)
    backbone = BACKBONES[name](3)
    size = 112 if name == "mobilefacenet" else 32
    backbone(torch.randn(4, 3, size, size)).square().sum().backward()
    assert all(weights.grad is not None and weights.grad.abs().sum() > 0 for weights in backbone.parameters())


@pytest.mark.parametrize(
    ("name", "block", "n_identities"),
    [("mobilefacenet", _InvertedResidual, 12), ("resnet18", _Residual, 5), ("resnet50", _Residual, 12)],
)
def test_blocks_that_keep_the_shape_add_to_their_input(name, block, n_identities):
    """Silence the last norm of each block: what keeps the shape then passes it on, the rest adds nothing."""
    n_found = 0
    for module in BACKBONES[name](3).modules():
        if isinstance(module, block):
            *_, last = (part for part in module.layers.modules() if isinstance(part, _BatchNorm))
            nn.init.zeros_(last.weight)
            first = next(part for part in module.layers.modules() if isinstance(part, nn.Conv2d))
            x = torch.rand(2, first.in_channels, 8, 8)
            result = module(x)
            n_found += result.shape == x.shape and torch.equal(result, x)
    assert n_found == n_identities


def test_conv4_has_the_parameters_of_its_convolutions_and_norms():
    convolutions = 9 * (1 * 32 + 32 * 64 + 64 * 128 + 128 * 256)
    norms = 2 * (32 + 64 + 128 + 256)
    assert n_parameters(BACKBONES["conv4"](1)) == convolutions + norms


@pytest.mark.parametrize(
    ("name", "with_classifier", "classifier"),
    [
        ("resnet18", 11_689_512, 512 * 1000 + 1000),  # torchvision's resnet18
        ("resnet50", 25_557_032, 2048 * 1000 + 1000),  # torchvision's resnet50
        ("resnet18-cifar", 11_173_962, 512 * 10 + 10),  # kuangliu/pytorch-cifar's ResNet18
        ("resnet50-cifar", 23_520_842, 2048 * 10 + 10),  # kuangliu/pytorch-cifar's ResNet50
        ("network-in-network", 966_986, 192 * 10 + 10),  # Lin et al., for CIFAR-10
    ],
)
def test_parameters_are_those_of_the_reference_implementation_without_its_classifier(name, with_classifier, classifier):
    assert n_parameters(BACKBONES[name](3)) == with_classifier - classifier


def test_mobilefacenet_with_a_head_of_128_has_the_parameters_of_its_paper():
    def layer(in_maps, out_maps, area, *, slopes=True):
        return in_maps * out_maps * area + (3 if slopes else 2) * out_maps  # weights, norm, and PReLU

    def bottleneck(in_maps, out_maps, expansion):
        width = in_maps * expansion
        return layer(in_maps, width, 1) + layer(1, width, 9) + layer(width, out_maps, 1, slopes=False)

    expected = (
        layer(3, 64, 9)
        + layer(1, 64, 9)
        + 5 * bottleneck(64, 64, 2)
        + bottleneck(64, 128, 4)
        + 6 * bottleneck(128, 128, 2)
        + bottleneck(128, 128, 4)
        + 2 * bottleneck(128, 128, 2)
        + layer(128, 512, 1)
        + layer(1, 512, 49, slopes=False)
    )
    backbone = BACKBONES["mobilefacenet"](3)
    assert n_parameters(backbone) == expected
    # Table 1 of Chen et al. ends in an embedding of 128, with its batch norm: 4.0 MB, and 0.99 million
    # parameters once the scales of the norms are merged into the convolutions before them.
    head = SparseHead(512, 128)
    whole = expected + n_parameters(head)
    assert round(4 * whole / 1e6, 1) == 4.0
    norms = [module for module in [*backbone.modules(), head.norm] if isinstance(module, _BatchNorm)]
    assert round((whole - sum(norm.weight.numel() for norm in norms)) / 1e6, 2) == 0.99


def test_mobilefacenet_refuses_images_of_another_size():
    with pytest.raises(
        ShapeError, match=r"images: mobilefacenet expects 112 × 112 pixels; got 96 × 112. Set image_size"
    ):
        BACKBONES["mobilefacenet"](3)(torch.zeros(1, 3, 112, 96))
    with pytest.raises(ShapeError, match="Set image_size to 112"):
        Encoder(EncoderConfig(backbone="mobilefacenet", pixel_mean=0.0, pixel_std=1.0))


def test_any_module_that_returns_features_is_a_backbone():
    config = EncoderConfig(dim=8, backbone="custom", image_size=16, pixel_mean=0.0, pixel_std=1.0)
    encoder = Encoder(config, nn.Sequential(nn.Flatten(), nn.Linear(256, 3)))
    assert encoder(torch.zeros(2, 1, 16, 16)).shape == (2, 8)
    with pytest.raises(ConfigError, match="backbone: expected one of conv4, mobilefacenet, .*custom; got 'vgg'"):
        EncoderConfig(backbone="vgg")
