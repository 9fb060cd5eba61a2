"""The detector as a file that runs without this repository."""

import os
from collections.abc import Callable
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.detection.boxes import CENTRE_VARIANCE, MAX_LOG_RATIO, SIZE_VARIANCE
from src.errors import InputError
from src.files import FILE_MODE
from src.formats import SUFFIXES

# between the file's outputs and the network's: a hundredth of a pixel, since float32 has steps of
# 0.00006 at 640, and a score that no threshold is set to
MAX_DIFFERENCE = {"boxes": 1e-2, "scores": 1e-4}

Run = Callable[[np.ndarray], list[np.ndarray]]  # images (N,S,S,3) to boxes (N,A,4), scores (N,A,K)


class DeployedDetector(nn.Cell):
    """The network with decoding and scores: the graph that is exported.

    Args:
        network: gives deltas and logits.
        anchors: default boxes (A,4).
        image_size: (height, width) that boxes are clipped to.
    """

    def __init__(self, network: nn.Cell, anchors: np.ndarray, image_size: tuple[int, int]):
        super().__init__(auto_prefix=False)
        self.network = network
        self.anchor_centres = ms.Tensor((anchors[:, :2] + anchors[:, 2:]) / 2)  # (A,2)
        self.anchor_sides = ms.Tensor(anchors[:, 2:] - anchors[:, :2])  # (A,2)
        height, width = image_size
        self.limits = ms.Tensor(np.array([width, height, width, height], np.float32))

    def construct(self, images):
        """Images (N,S,S,3) uint8 RGB -> boxes (N,A,4) in pixels and scores (N,A,K), float32."""
        deltas, logits = self.network(images)
        centres = self.anchor_centres + deltas[..., :2] * CENTRE_VARIANCE * self.anchor_sides
        log_ratios = ops.minimum(deltas[..., 2:] * SIZE_VARIANCE, MAX_LOG_RATIO)
        half_sides = ops.exp(log_ratios) * self.anchor_sides * 0.5  # (N,A,2)
        boxes = ops.concat([centres - half_sides, centres + half_sides], axis=-1)  # (N,A,4)
        boxes = ops.minimum(ops.maximum(boxes, 0.0), self.limits)
        return boxes, ops.sigmoid(logits)


def load_mindir(path: Path) -> Run:
    """The file's graph, run by MindSpore; InputError where it cannot be read."""
    try:
        graph = nn.GraphCell(ms.load(str(path)))
    except (RuntimeError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a MINDIR file, or a damaged one") from error
    return lambda images: [output.asnumpy() for output in graph(ms.Tensor(images))]


def load_onnx(path: Path) -> Run:
    """The file's graph, run by ONNX Runtime on CPU; InputError where it cannot be read."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes, of no common base
        raise InputError(f"{path}: not an ONNX file, or a damaged one") from error
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})


LOADERS = {"MINDIR": load_mindir, "ONNX": load_onnx}


def export(
    detector: DeployedDetector, images: np.ndarray, path: Path, file_format: str
) -> dict[str, float]:
    """Writes the detector as a file for inputs of the images' shape, and checks the file.

    The file is loaded back and run on `images`; only if it agrees with the detector is it moved to
    `path`.

    Args:
        images: (N,S,S,3) uint8.
        path: of the file, with the suffix of its format.
        file_format: MINDIR or ONNX.

    Returns:
        The largest difference of the file's "boxes" (pixels) and "scores" from the detector's.

    Raises:
        RuntimeError: a difference above MAX_DIFFERENCE; the file is not kept.
    """
    detector.set_train(False)
    tensor = ms.Tensor(images)
    expected = [output.asnumpy() for output in detector(tensor)]
    beside = path.with_name(f".{path.stem}.part{SUFFIXES[file_format]}")
    try:
        ms.export(detector, tensor, file_name=str(beside), file_format=file_format)
        outputs = LOADERS[file_format](beside)(images)
        differences = {
            name: float(np.abs(output - wanted).max())
            for name, output, wanted in zip(MAX_DIFFERENCE, outputs, expected)
        }
        for name, difference in differences.items():
            if not difference <= MAX_DIFFERENCE[name]:  # nan is not either
                raise RuntimeError(
                    f"{path}: {name} of the exported file differ from the network's by "
                    f"{difference:.3g}, more than {MAX_DIFFERENCE[name]:g}; it was not kept"
                )
        beside.chmod(FILE_MODE)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return differences
