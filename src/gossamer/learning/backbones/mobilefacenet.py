"""MobileFaceNet, a network of a million parameters for faces of 112 × 112 pixels."""

from torch import Tensor, nn

from gossamer.errors import ShapeError

SIZE = 112
"""Width and height of the images: the last convolution is as large as the maps it ends in."""

# Expansion, maps, blocks, stride of the first: table 1 of the paper.
_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


def mobilefacenet(channels: int) -> nn.Module:
    """Build MobileFaceNet up to its global depthwise convolution: 512 features.

    What follows in the paper, a linear 1×1 convolution to the embedding and batch norm, is what a
    `gossamer.learning.SparseHead` begins with. Images are 112 × 112 pixels, others raise ShapeError.

    Parameters
    ----------
    channels : int
        The channels of the images.

    References
    ----------
    Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile
    Devices", CCBR 2018, arXiv:1804.07573.
    """
    layers: list[nn.Module] = [_OfSize(), *_convolution(channels, 64, 3, stride=2), *_convolution(64, 64, 3, groups=64)]
    in_maps = 64
    for expansion, maps, n_blocks, stride in _STAGES:
        for number in range(n_blocks):
            layers.append(_InvertedResidual(in_maps, maps, expansion, stride if number == 0 else 1))
            in_maps = maps
    # The weights of the last convolution tell the middle of a face from its border; a mean would not.
    last = nn.Conv2d(512, 512, SIZE // 16, groups=512, bias=False)
    return nn.Sequential(*layers, *_convolution(in_maps, 512, 1), last, nn.BatchNorm2d(512), nn.Flatten())


class _InvertedResidual(nn.Module):
    """Widen, convolve each map by itself, narrow; add the input where the shapes agree."""

    def __init__(self, in_maps: int, out_maps: int, expansion: int, stride: int) -> None:
        super().__init__()
        width = in_maps * expansion
        self.is_residual = stride == 1 and in_maps == out_maps
        self.layers = nn.Sequential(
            *_convolution(in_maps, width, 1),
            *_convolution(width, width, 3, stride=stride, groups=width),
            nn.Conv2d(width, out_maps, 1, bias=False),
            nn.BatchNorm2d(out_maps),
        )

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.layers(x)
        return x + changed if self.is_residual else changed


class _OfSize(nn.Module):
    """Refuse images of another size before a convolution fails on them."""

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[2:] != (SIZE, SIZE):
            raise ShapeError(
                f"images: mobilefacenet expects {SIZE} × {SIZE} pixels; got {images.shape[3]} × {images.shape[2]}. "
                f"Set image_size to {SIZE}"
            )
        return images


def _convolution(in_maps: int, out_maps: int, kernel: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(in_maps, out_maps, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(out_maps), nn.PReLU(out_maps)]
