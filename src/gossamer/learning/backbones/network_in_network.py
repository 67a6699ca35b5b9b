"""Network in network: convolutions with small perceptrons of 1×1 convolutions after them."""

import itertools

from torch import nn


def network_in_network(channels: int) -> nn.Module:
    """Build the network in network for CIFAR, without its classifier: 192 features.

    Three blocks of a convolution and 1×1 convolutions, ReLU after each; after the first two, pooling of
    stride 2 and dropout of one half. The last maps are averaged. Images are of 4 × 4 pixels or more.

    Parameters
    ----------
    channels : int
        The channels of the images.

    References
    ----------
    Lin et al., "Network In Network", ICLR 2014, arXiv:1312.4400. Paria et al., arXiv:2004.05665, use it
    for CIFAR-100 as here, with the embedding in place of the last 1×1 convolution.
    """
    network = nn.Sequential(
        *_block(channels, (192, 160, 96), kernel=5),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Dropout(0.5),
        *_block(96, (192, 192, 192), kernel=5),
        nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
        nn.Dropout(0.5),
        *_block(192, (192, 192), kernel=3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            # No norms between the layers: with torch's own smaller weights, signals would fade.
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return network


def _block(in_maps: int, maps: tuple[int, ...], *, kernel: int) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(in_maps, maps[0], kernel, padding=kernel // 2), nn.ReLU()]
    for before, after in itertools.pairwise(maps):
        layers += [nn.Conv2d(before, after, 1), nn.ReLU()]
    return layers
