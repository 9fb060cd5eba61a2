"""A detector written as a file that runs without this repository, and checked before it is kept."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import mindspore as ms
import numpy as np
from mindspore import nn

from src.deploy.compare import Comparison, reference
from src.deploy.export_cells import DeployedDetector, Suppression
from src.deploy.exported import load_exported
from src.deploy.formats import CLASSES, INPUT, NAMES, SUFFIXES, description_path, write_description
from src.deploy.onnx_graph import candidate_names, finish
from src.detection.postprocess import Postprocessor
from src.models.candidates import Candidates
from src.runtime.errors import NotFinite, RunError
from src.runtime.files import FILE_MODE

SHOWN_PROBLEMS = 12


@dataclass(frozen=True)
class Seen:
    """An image (S,S,3) uint8, and what the network says of it: deltas (A,4), logits (A,K)."""

    image: np.ndarray
    deltas: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What was exported, and how the file compares with the network.

    rows: of each image; comparison: None for AIR files, which cannot be run here; by_candidates:
    nothing was detected on the images, so the candidates were compared instead.
    """

    rows: int
    comparison: Optional[Comparison]
    by_candidates: bool = False


MakeNetwork = Callable[[], nn.Cell]


class Exporter:
    """Writes a network as a file of one format.

    Args:
        anchors: (A,4).
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

    def export(
        self, make_network: MakeNetwork, truth: list[Seen], path: Path, file_format: str
    ) -> Outcome:
        """Writes the file, and puts it at `path` if it finds the same as the network.

        Args:
            make_network: gives the network, set to inference, its batch norms folded or not; a new
                one each time, since MindSpore may fail to export one again.
            truth: real images, different ones for each row of a batch; see `look_at`.
            path: with the suffix of the format.

        Raises:
            RunError: the file cannot be read again, or finds something else; it is not kept.
        """
        beside = path.with_name(f".{path.stem}.part{SUFFIXES[file_format]}")
        comparison, by_candidates = None, False
        try:
            rows = self.write(make_network(), beside, file_format)
            if file_format != "AIR":
                comparison = self.compare(beside, truth, path)
                by_candidates = self.suppression is not None and not comparison.compared
            if by_candidates:
                comparison = self.compare_candidates(make_network(), truth, path, file_format)
            self.put(beside, path, file_format)
        finally:
            beside.unlink(missing_ok=True)
            description_path(beside).unlink(missing_ok=True)
        return Outcome(rows, comparison, by_candidates)

    def compare_candidates(
        self, network: nn.Cell, truth: list[Seen], path: Path, file_format: str
    ) -> Comparison:
        """`compare` for the same file without suppression, which is not kept."""
        plain = Exporter(self.anchors, {**self.description, "nms": False})
        file = path.with_name(f".{path.stem}.candidates{SUFFIXES[file_format]}")
        try:
            plain.write(network, file, file_format)
            return plain.compare(file, truth, path)
        finally:
            file.unlink(missing_ok=True)

    def put(self, beside: Path, path: Path, file_format: str) -> None:
        """Moves the file to `path`, and with it what describes it."""
        beside.chmod(FILE_MODE)
        if file_format != "ONNX":
            write_description(self.description, beside)
            os.replace(description_path(beside), description_path(path))
        os.replace(beside, path)

    def write(self, network: nn.Cell, path: Path, file_format: str) -> int:
        """Writes the file, unchecked; gives the rows of an image."""
        candidates = Candidates(
            network, self.anchors, self.image_size, self.description["pre_nms_top_k"]
        )
        rows = candidates.count
        if self.suppression:
            rows = min(rows, self.suppression["max_detections"])
        shape = (self.batch or 1, *self.image_size, 3)
        images = ms.Tensor(np.zeros(shape, np.uint8))
        if file_format == "ONNX":
            self.write_onnx(candidates, images, path)
            return rows
        if self.batch == 0:
            images = ms.Tensor(shape=[None, *shape[1:]], dtype=ms.uint8)
        suppression = None
        if self.suppression:
            suppression = Suppression(candidates.count, **self.suppression)
        detector = DeployedDetector(candidates, suppression).set_train(False)
        ms.export(detector, images, file_name=str(path), file_format=file_format)
        return rows

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

    def compare(self, file: Path, truth: list[Seen], path: Path) -> Comparison:
        """Runs the file on the images in whole batches, and compares what it finds.

        If it takes any number it gets all at once, and the first alone.

        Args:
            path: that the file will have, for errors.

        Raises:
            RunError: it finds something else.
        """
        names = self.description[NAMES]
        model = load_exported(file, {**self.description, CLASSES: ["background", *names]})
        every = Postprocessor(score_threshold=0.0, candidates=0, nms_iou=1.0, max_detections=0)
        wanted = [
            reference(
                seen.deltas,
                seen.logits,
                self.anchors,
                self.image_size,
                candidates=self.description["pre_nms_top_k"],
                suppression=self.suppression,
            )
            for seen in truth
        ]
        batch = self.batch or len(truth)
        runs = [np.arange(-(-len(truth) // batch) * batch) % len(truth)]
        if self.batch == 0:
            runs.append(np.zeros(1, int))
        comparison = Comparison()
        for rows in runs:
            outputs = model.forward(np.stack([truth[row].image for row in rows]))
            for place, row in enumerate(rows):
                own = tuple(output[place] for output in outputs)
                found = model.candidates(own, self.image_size, every)
                comparison.add(found, wanted[row], row + 1)
        if comparison.problems:
            raise RunError(
                f"{path}: the exported file does not find what the network finds, and was not kept"
                "\n  " + "\n  ".join(comparison.problems[:SHOWN_PROBLEMS])
            )
        return comparison


def look_at(network: nn.Cell, images: np.ndarray, source: str) -> list[Seen]:
    """What the network says of each of the images (n,S,S,3).

    Args:
        source: of its weights, for errors.

    Raises:
        NotFinite: its outputs are no numbers.
    """
    found = []
    for number, image in enumerate(images, 1):
        deltas, logits = (output.asnumpy()[0] for output in network(ms.Tensor(image[None])))
        if not (np.isfinite(deltas).all() and np.isfinite(logits).all()):
            raise NotFinite(f"{source}: the network's outputs for image {number} are no numbers")
        found.append(Seen(image, deltas, logits))
    return found
