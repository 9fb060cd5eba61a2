"""Runs exported files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn

from src.deploy.formats import INPUT, OUTPUTS, format_of
from src.detection.postprocess import Detections, Postprocessor
from src.runtime.errors import InputError

# images (N,H,W,3) uint8 -> boxes (N,R,4), scores (N,R), labels (N,R)
Run = Callable[[np.ndarray], list[np.ndarray]]


def load_mindir(path: Path, description: Mapping[str, Any]) -> Run:
    """The file's graph, run by MindSpore on its device; InputError where it cannot be read."""
    try:
        graph = nn.GraphCell(ms.load(str(path)))
    except (RuntimeError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a MINDIR file, or a damaged one") from error
    if description["export_batch"] == 0:  # compiled once for all batch sizes
        height, width = description["image_size"]
        graph.set_inputs(ms.Tensor(shape=[None, height, width, 3], dtype=ms.uint8))
    return lambda images: [output.asnumpy() for output in graph(ms.Tensor(images))]


def load_onnx(path: Path, *, threads: int = 0, device: str = "CPU") -> Run:
    """The file's graph, run by ONNX Runtime; InputError where it cannot be read or run."""
    import onnxruntime

    provider = PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise InputError(
            f"{path}: the installed ONNX Runtime has no {provider} for device_target {device}; "
            "install one that has, or set --device_target=CPU"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise InputError(f"{path}: not an ONNX file, or a damaged one") from error
    return lambda images: session.run(list(OUTPUTS), {INPUT: images})


PROVIDERS = {
    "CPU": "CPUExecutionProvider",
    "GPU": "CUDAExecutionProvider",
    "Ascend": "CANNExecutionProvider",
}


@dataclass(eq=False)
class ExportedModel:
    """An exported file: boxes (n,R,4) in pixels of the input, scores (n,R), labels (n,R).

    Rows are candidates or, with suppression in the file, detections; best first. Unused rows at the
    end have a score of 0.
    """

    run: Run
    batch_size: int  # of the file; 0 for any

    def forward(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        parts, count = [], self.batch_size or len(images)
        for start in range(0, len(images), count):
            part = images[start : start + count]
            outputs = self.run(pad_batch(part, self.batch_size))
            parts.append([output[: len(part)] for output in outputs])
        return tuple(np.concatenate(outputs) for outputs in zip(*parts))

    def candidates(
        self, outputs: Sequence[np.ndarray], size: tuple[int, int], postprocess: Postprocessor
    ) -> Detections:
        return postprocess.chosen(*outputs)


def load_exported(
    path: Path, description: Mapping[str, Any], *, threads: int = 0, device: str = "CPU"
) -> ExportedModel:
    """The exported file as a model, tested on an empty image.

    Args:
        threads: CPU threads of ONNX Runtime; 0 for as many as there are cores.
        device: of ONNX Runtime: CPU, GPU or Ascend.

    Raises:
        InputError: it cannot be read, or contradicts the description.
    """
    if format_of(str(path)) == "ONNX":
        run = load_onnx(path, threads=threads, device=device)
    else:
        run = load_mindir(path, description)
    shape = (description["export_batch"] or 1, *description["image_size"], 3)
    try:
        boxes, scores, labels = run(np.zeros(shape, np.uint8))
    except Exception as error:  # errors of MindSpore and ONNX Runtime have no common base
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: does not take images {shape}: {reason}") from error
    names = description["classes"][1:]
    if not boxes.shape[:2] == scores.shape == labels.shape or labels.max() >= len(names):
        raise InputError(
            f"{path}: returns boxes {boxes.shape}, scores {scores.shape} and labels up to "
            f"{labels.max()} for {len(names)} classes, which contradicts its description"
        )
    return ExportedModel(run, description["export_batch"])


def pad_batch(images: np.ndarray, batch_size: int) -> np.ndarray:
    """The batch, padded with its first image to `batch_size`: a new shape would be compiled."""
    missing = batch_size - len(images)
    if missing <= 0:
        return np.ascontiguousarray(images)
    return np.concatenate([images, np.repeat(images[:1], missing, axis=0)])
