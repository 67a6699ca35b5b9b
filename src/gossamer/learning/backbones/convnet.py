"""Small convolutional networks for small images."""

from torch import nn


def conv4(channels: int) -> nn.Module:
    """Build four convolutions of 32 to 256 maps, for images of about 32 × 32: 1,024 features.

    Each is 3×3, batch norm, ReLU; the first, second and fourth halve width and height by max pooling.
    The maps are then averaged over a 2 × 2 grid, whatever the image's size (8 × 8 pixels at least).
    After the four-block network of few-shot learning (Vinyals et al., "Matching Networks for One Shot
    Learning", NeurIPS 2016, arXiv:1606.04080), which has 64 maps in each block.

    Parameters
    ----------
    channels : int
        The channels of the images.
    """
    return nn.Sequential(
        *_block(channels, 32, is_halved=True),
        *_block(32, 64, is_halved=True),
        *_block(64, 128, is_halved=False),
        *_block(128, 256, is_halved=True),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )


def _block(in_maps: int, out_maps: int, *, is_halved: bool) -> list[nn.Module]:
    """Pool before the norm: a quarter of the work, and with a positive scale the same maxima."""
    convolution = nn.Conv2d(in_maps, out_maps, 3, padding=1, bias=False)
    pooling = [nn.MaxPool2d(2)] if is_halved else []
    return [convolution, *pooling, nn.BatchNorm2d(out_maps), nn.ReLU()]
