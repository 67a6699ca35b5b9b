"""What the settings of every model are checked for: counts, numbers above 0, names of a list."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

from gossamer.errors import ConfigError


def check_counts(settings: object, lowest: Mapping[str, int]) -> None:
    """Refuse attributes that are no whole numbers of at least ``lowest``, with a ConfigError that names the first."""
    for name, least in lowest.items():
        value = getattr(settings, name)
        if type(value) is not int or value < least:
            raise ConfigError(f"{name}: expected a whole number of at least {least}; got {value!r}")


def check_above_zero(settings: object, names: Iterable[str]) -> None:
    """Refuse attributes that are no finite numbers above 0, with a ConfigError that names the first."""
    for name in names:
        value = getattr(settings, name)
        if not (isinstance(value, int | float) and 0 < value < math.inf):
            raise ConfigError(f"{name}: expected a finite number above 0; got {value!r}")


def check_known(settings: object, known: Mapping[str, Collection[str]]) -> None:
    """Refuse attributes that are not among the names they may have, with a ConfigError that names the first."""
    for name, names in known.items():
        if getattr(settings, name) not in names:
            raise ConfigError(f"{name}: expected one of {', '.join(names)}; got {getattr(settings, name)!r}")
