"""Where to compute, and how precisely."""

import torch

from gossamer.errors import ConfigError

PRECISIONS = ("float32", "bf16")
"""In what a backbone computes; ``bf16`` is mixed precision."""


def pick_device(name: str) -> torch.device:
    """Return the device of a name: ``cpu``, ``cuda``, ``cuda:1`` …, or ``auto``, CUDA where there is one.

    Raises
    ------
    ConfigError
        If there is no such device, or no such name.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device: expected auto, cpu, cuda or cuda:N; got {name!r}") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device: expected auto, cpu, cuda or cuda:N; got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device: {name!r} is not there, torch sees {torch.cuda.device_count()} CUDA devices; pass cpu"
        )
    return device
