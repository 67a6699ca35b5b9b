"""The array types of the public interface: one name for each, with its one dtype."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.int32]
OffsetArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float32]
DoubleArray: TypeAlias = NDArray[np.float64]
TextArray: TypeAlias = NDArray[np.str_]
AnyArray: TypeAlias = NDArray[Any]
