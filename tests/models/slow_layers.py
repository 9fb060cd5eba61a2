"""Convolution and normalisation in NumPy, for one image."""

import math

import numpy as np


def pads(side, kernel, stride, padding):
    """Pixels of padding before and after, as TensorFlow ("same") or PyTorch ("symmetric") do."""
    if padding == "symmetric":
        return kernel // 2, kernel // 2
    total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def windows(image, kernel, stride, padding, fill):
    """(C,H,W) -> (C,H',W',kernel,kernel): the input of each output position."""
    before = [pads(side, kernel, stride, padding) for side in image.shape[1:]]
    padded = np.pad(image, ((0, 0), *before), constant_values=fill)
    height, width = ((side - kernel) // stride + 1 for side in padded.shape[1:])
    rows = []
    for y in range(height):
        for x in range(width):
            top, left = y * stride, x * stride
            rows.append(padded[:, top : top + kernel, left : left + kernel])
    return np.stack(rows, axis=1).reshape(image.shape[0], height, width, kernel, kernel)


def slow_conv(image, weight, *, stride=1, padding="same"):
    """(C,H,W) and (O,C,k,k) -> (O,H',W')."""
    own = windows(image, weight.shape[-1], stride, padding, 0)
    return np.einsum("chwij,ocij->ohw", own, weight)


def slow_group_norm(image, gamma, beta, groups):
    """(C,H,W), normalised over each of `groups` groups of channels."""
    out, size = np.empty(image.shape), len(image) // groups
    for first in range(0, len(image), size):
        group = image[first : first + size].astype(np.float64)
        scaled = (group - group.mean()) / math.sqrt(group.var() + 1e-5)
        for channel in range(size):
            out[first + channel] = scaled[channel] * gamma[first + channel] + beta[first + channel]
    return out
