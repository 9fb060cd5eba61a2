"""A detector written as a file that runs without this repository, and checked before it is kept."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import mindspore as ms
import numpy as np
from mindspore import nn

from src.deploy.cells import Candidates, DeployedDetector, Suppression
from src.deploy.compare import Comparison, reference
from src.deploy.onnx_graph import candidate_names, finish
from src.deploy.runtime import load_exported
from src.detection.postprocess import Postprocessor
from src.errors import RunError
from src.files import FILE_MODE
from src.formats import CLASSES, INPUT, NAMES, SUFFIXES, write_description


@dataclass(frozen=True)
class Outcome:
    """What was exported: rows of each image, and how the file compares with the network.

    comparison: None for AIR files, which cannot be run here.
    """

    rows: int
    comparison: Optional[Comparison]


class Exporter:
    """Writes a network as a file of one format.

    Args:
        anchors: default boxes (A,4).
        description: of the file, see formats.describe; says what the file does. Suppression, if
            any, is the hard one.
    """

    def __init__(self, anchors: np.ndarray, description: dict[str, Any]):
        self.anchors = anchors
        self.description = description
        self.image_size = tuple(description["image_size"])
        self.batch = description["export_batch"]
        self.suppression = None
        if description["nms"]:
            self.suppression = {
                "score_threshold": description["score_threshold"],
                "max_iou": description["nms_iou"],
                "class_agnostic": description["class_agnostic"],
                "max_detections": description["max_detections"],
            }

    def export(self, network: nn.Cell, truth: list, path: Path, file_format: str) -> Outcome:
        """Writes the file, and puts it at `path` if it finds the same as the network.

        Args:
            network: set to inference; its batch norms may be folded.
            truth: (image (S,S,3), deltas (A,4), logits (A,K)) of real images, see `outputs_of`.
            path: with the suffix of the format.

        Raises:
            RunError: the file cannot be read again, or finds something else; it is not kept.
        """
        candidates = Candidates(
            network, self.anchors, self.image_size, self.description["candidates"]
        )
        beside = path.with_name(f".{path.stem}.part{SUFFIXES[file_format]}")
        comparison = None
        try:
            self.write(candidates, beside, file_format)
            if file_format != "AIR":
                comparison = self.compare(beside, candidates.count, truth)
                if comparison.problems:
                    raise RunError(
                        f"{path}: the exported file does not find what the network finds, and was "
                        "not kept\n  " + "\n  ".join(comparison.problems)
                    )
            beside.chmod(FILE_MODE)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
        if file_format != "ONNX":
            write_description(self.description, path)
        rows = candidates.count
        if self.suppression:
            rows = min(rows, self.suppression["max_detections"])
        return Outcome(rows, comparison)

    def write(self, candidates: Candidates, path: Path, file_format: str) -> None:
        """Writes the file, unchecked."""
        shape = (self.batch or 1, *self.image_size, 3)
        images = ms.Tensor(np.zeros(shape, np.uint8))
        if file_format == "ONNX":
            self.write_onnx(candidates, images, path)
            return
        if self.batch == 0:
            images = ms.Tensor(shape=[None, *shape[1:]], dtype=ms.uint8)
        suppression = None
        if self.suppression:
            suppression = Suppression(candidates.count, **self.suppression)
        detector = DeployedDetector(candidates, suppression).set_train(False)
        ms.export(detector, images, file_name=str(path), file_format=file_format)

    def write_onnx(self, candidates: Candidates, images: ms.Tensor, path: Path) -> None:
        """Lets MindSpore write the candidates' graph, and completes it."""
        suppression = self.suppression
        if suppression:
            suppression = {**suppression, "num_classes": candidates.num_classes}
        ms.onnx.export(
            candidates.set_train(False),
            images,
            file_name=str(path),
            input_names=[INPUT],
            output_names=candidate_names(nms=bool(suppression)),
        )
        finish(
            path,
            self.description,
            batch=self.batch,
            rows=candidates.count,
            suppression=suppression,
        )

    def compare(self, path: Path, candidates: int, truth: list) -> Comparison:
        """Runs the file on the images, all at once and the first one alone, and compares."""
        names = self.description[NAMES]
        model = load_exported(path, {**self.description, CLASSES: ["background", *names]})
        every = Postprocessor(score_threshold=0.0, candidates=0, nms_iou=1.0, max_detections=0)
        comparison = Comparison()
        for part in (truth, truth[:1]):
            outputs = model.forward(np.stack([image for image, _, _ in part]))
            for index, (_, deltas, logits) in enumerate(part):
                wanted = reference(
                    deltas,
                    logits,
                    self.anchors,
                    self.image_size,
                    candidates=candidates,
                    suppression=self.suppression,
                )
                own = tuple(output[index] for output in outputs)
                comparison.add(model.candidates(own, self.image_size, every), wanted, index + 1)
        return comparison


def outputs_of(network: nn.Cell, images: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """(image, deltas (A,4), logits (A,K)) of each of the images (n,S,S,3)."""
    found = []
    for image in images:
        deltas, logits = network(ms.Tensor(image[None]))
        found.append((image, deltas.asnumpy()[0], logits.asnumpy()[0]))
    return found
