"""Residual networks of 18 and 50 layers, for large images and for small ones.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv:1512.03385. As in
torchvision, the second convolution of a bottleneck has the stride (the paper: the first), which costs
nothing and is more accurate. Without the classifier: features are the last maps' means.
"""

from torch import Tensor, nn
from torch.nn import functional as F


def resnet18(channels: int) -> nn.Module:
    """Build ResNet-18 with the stem for ImageNet, for images of about 224 × 224: 512 features.

    The stem, a 7×7 convolution of stride 2 and max pooling, leaves a quarter of width and height; the
    blocks an eighth of that. Any size of 32 × 32 pixels or more will do.

    Parameters
    ----------
    channels : int
        The channels of the images.
    """
    return _resnet(_imagenet_stem(channels), _BasicBlock, (2, 2, 2, 2))


def resnet50(channels: int) -> nn.Module:
    """Build ResNet-50 with the stem for ImageNet: 2,048 features; otherwise as `resnet18`."""
    return _resnet(_imagenet_stem(channels), _Bottleneck, (3, 4, 6, 3))


def resnet18_cifar(channels: int) -> nn.Module:
    """Build ResNet-18 with a stem for images of about 32 × 32: 512 features.

    The stem is one 3×3 convolution that keeps width and height, as is usual for CIFAR. Any size of 8 × 8
    pixels or more will do.

    Parameters
    ----------
    channels : int
        The channels of the images.
    """
    return _resnet(_cifar_stem(channels), _BasicBlock, (2, 2, 2, 2))


def resnet50_cifar(channels: int) -> nn.Module:
    """Build ResNet-50 with a stem for images of about 32 × 32: 2,048 features; otherwise as `resnet18_cifar`."""
    return _resnet(_cifar_stem(channels), _Bottleneck, (3, 4, 6, 3))


class _Residual(nn.Module):
    """Add what layers make of their input to the input, projected where the shapes differ."""

    def __init__(self, layers: nn.Module, in_maps: int, out_maps: int, stride: int) -> None:
        super().__init__()
        self.layers = layers
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_maps != out_maps:
            self.shortcut = _convolution(in_maps, out_maps, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layers(x) + self.shortcut(x))


class _BasicBlock(_Residual):
    expansion = 1

    def __init__(self, in_maps: int, width: int, stride: int) -> None:
        layers = nn.Sequential(_convolution(in_maps, width, 3, stride), nn.ReLU(), _convolution(width, width, 3, 1))
        super().__init__(layers, in_maps, width, stride)


class _Bottleneck(_Residual):
    expansion = 4

    def __init__(self, in_maps: int, width: int, stride: int) -> None:
        out_maps = width * self.expansion
        layers = nn.Sequential(
            _convolution(in_maps, width, 1, 1),
            nn.ReLU(),
            _convolution(width, width, 3, stride),
            nn.ReLU(),
            _convolution(width, out_maps, 1, 1),
        )
        super().__init__(layers, in_maps, out_maps, stride)


def _resnet(stem: nn.Module, block: type[_BasicBlock | _Bottleneck], depths: tuple[int, ...]) -> nn.Module:
    blocks: list[nn.Module] = []
    in_maps = 64
    for stage, depth in enumerate(depths):
        width = 64 * 2**stage
        for number in range(depth):
            blocks.append(block(in_maps, width, 2 if stage > 0 and number == 0 else 1))
            in_maps = width * block.expansion
    network = nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def _imagenet_stem(channels: int) -> nn.Module:
    return nn.Sequential(_convolution(channels, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1))


def _cifar_stem(channels: int) -> nn.Module:
    return nn.Sequential(_convolution(channels, 64, 3, 1), nn.ReLU())


def _convolution(in_maps: int, out_maps: int, kernel: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(in_maps, out_maps, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_maps))
