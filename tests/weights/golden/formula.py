"""Numbers that are the same everywhere: from raw bits of PCG64, which NumPy keeps as they are."""

import math
import zlib

import numpy as np

EVERY = 7  # of the features is kept


def uniform(name: str, shape) -> np.ndarray:
    """float32 numbers in -1..1 that depend on the name and the shape alone."""
    raw = np.random.PCG64(zlib.crc32(name.encode())).random_raw(max(math.prod(shape), 1))
    return ((raw >> 40) / 2**23 - 1).astype(np.float32)[: math.prod(shape)].reshape(shape)


def weight(name: str, shape) -> np.ndarray:
    """A parameter under PyTorch's name, so that activations neither vanish nor explode."""
    draw = uniform(name, shape)
    if len(shape) == 4:
        return draw * np.float32(math.sqrt(6 / math.prod(shape[1:])))
    if name.endswith("running_var"):
        return 1 + draw / 2
    if name.endswith("weight"):  # of a norm, smaller where the residual branch ends
        return np.float32(0.5) + draw / 4
    return draw / 10
