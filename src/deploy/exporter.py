"""Exports a detector as a file and checks that it detects what the network does."""

import errno
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn

from src.data.transforms import FILL, picture_window
from src.deploy.compare import Comparison, reference
from src.deploy.export_cells import DeployedDetector, Suppression
from src.deploy.exported import load_exported
from src.deploy.formats import (
    CLASSES,
    INPUT,
    NAMES,
    OUTPUTS,
    SUFFIXES,
    description_path,
    write_description,
)
from src.deploy.onnx_graph import CANDIDATE, complete_file
from src.detection.anchors import level_counts
from src.detection.postprocess import Postprocessor
from src.models.candidates import Candidates
from src.runtime.errors import NotFinite, RunError
from src.runtime.files import FILE_MODE, linked_file, part_of, path_in_errors
from src.runtime.text import count

SHOWN_PROBLEMS = 12
SUPPRESSION_KEYS = ("score_threshold", "nms_iou", "class_agnostic", "max_detections")


@dataclass(frozen=True)
class NetworkOutput:
    """An image (H,W,3) uint8, and the network's deltas (A,4) and logits (A,K) for it."""

    image: np.ndarray
    deltas: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True)
class ExportResult:
    """The result of an export."""

    rows: int  # per image
    comparison: Comparison | None  # with the network; None for AIR files, which cannot be run here
    by_candidates: bool = False  # these were compared, as nothing was detected in the images
    notes: Sequence[str] = ()  # lines for the user of what the file was converted to


def temporary_folder(path: Path) -> Path:
    """The folder beside `path` in which an export writes its files, and which it removes."""
    return part_of(linked_file(path))


class Exporter:
    """Exports a network, with hard suppression if the description has "nms".

    Args:
        anchors: (A,4).
        description: of the file, see formats.describe.
        winograd: the `growth` of `use_winograd`, for ONNX files.
    """

    def __init__(self, anchors: np.ndarray, description: dict[str, Any], winograd: float = 0):
        self.anchors = anchors
        self.winograd = winograd
        self.rewritten = 0  # convolutions, in the last file
        self.description = description
        self.image_size = tuple(description["image_size"])
        self.batch = description["export_batch"]
        self.candidates, self.levels = description["pre_nms_top_k"], []
        if description["candidates_per_level"]:
            self.candidates = description["candidates_per_level"]
            self.levels = level_counts(self.image_size, len(anchors))
        # excludes predictions outside the picture from the candidates, as predict.py does
        self.fill = FILL if description["resize"] == "letterbox" else None
        self.suppression = None
        if description["nms"]:
            self.suppression = {key: description[key] for key in SUPPRESSION_KEYS}

    def export(
        self,
        make_network: Callable[[], nn.Cell],
        expected: list[NetworkOutput],
        path: Path,
        file_format: str,
        convert: Callable[[Path], Sequence[str]] | None = None,
    ) -> ExportResult:
        """Writes the file, and moves it to `path` if it detects what the network does.

        Args:
            make_network: returns a new network in inference mode; MindSpore may fail to export
                the same one twice.
            expected: outputs for real images, different ones for each row of a batch.
            path: with the suffix of the format.
            convert: called with the path of the file before it is kept; may replace it, returns
                lines for the user.

        Raises:
            RunError: the file cannot be read or detects something else; it is not kept.
        """
        path, folder = linked_file(path), temporary_folder(path)
        partial = folder / f"detector{SUFFIXES[file_format]}"
        comparison, by_candidates, notes = None, False, ()
        try:
            with path_in_errors(path):
                shutil.rmtree(folder, ignore_errors=True)  # of an export that was killed
                folder.mkdir()
                rows = self.write(make_network(), partial, file_format)
            if file_format != "AIR":
                comparison = self.compare(partial, expected, path)
                by_candidates = self.suppression is not None and not comparison.compared
            if by_candidates:
                file = partial.with_stem("candidates")
                plain = Exporter(self.anchors, {**self.description, "nms": False}, self.winograd)
                with path_in_errors(path):
                    plain.write(make_network(), file, file_format)
                comparison = plain.compare(file, expected, path)
            with path_in_errors(path):
                if convert is not None:
                    notes = convert(partial)
                self.keep(partial, path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if self.winograd:
            notes = [f"{count(self.rewritten, 'convolution')} by Winograd's method", *notes]
        return ExportResult(rows, comparison, by_candidates, notes)

    def keep(self, partial: Path, path: Path) -> None:
        """Moves a checked file to `path`, with its description if it cannot hold one itself."""
        partial.chmod(FILE_MODE)
        if partial.suffix != SUFFIXES["ONNX"]:
            write_description(self.description, partial)
            os.replace(description_path(partial), description_path(path))
        os.replace(partial, path)

    def write(self, network: nn.Cell, path: Path, file_format: str) -> int:
        """Writes the file, unchecked; returns its rows per image."""
        candidates = Candidates(
            network, self.anchors, self.image_size, self.candidates, self.levels, self.fill
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
        suppression = self.suppression and Suppression(candidates.count, **self.suppression)
        detector = DeployedDetector(candidates, suppression).set_train(False)
        ms.export(detector, images, file_name=str(path), file_format=file_format)
        return rows

    def write_onnx(self, candidates: Candidates, images: ms.Tensor, path: Path) -> None:
        """Exports the candidates' graph with MindSpore, and completes it."""
        names = [CANDIDATE + name for name in OUTPUTS] if self.suppression else list(OUTPUTS)
        logging.disable(logging.CRITICAL)  # MindSpore logs a failed write, and raises nothing
        try:
            ms.onnx.export(
                candidates.set_train(False),
                images,
                file_name=str(path),
                input_names=[INPUT],
                output_names=names,
            )
        finally:
            logging.disable(logging.NOTSET)
        if not path.exists():
            raise OSError(errno.EIO, "MindSpore cannot write it; is the disk full?", str(path))
        self.rewritten = complete_file(
            path,
            self.description,
            candidates=candidates.count,
            num_classes=candidates.num_classes,
            suppression=self.suppression,
            winograd=self.winograd,
        )

    def compare(self, file: Path, expected: list[NetworkOutput], path: Path) -> Comparison:
        """Runs the file on the images in full batches, and compares its detections.

        A file of any batch size gets all images at once, then the first alone.

        Args:
            path: the final path, for errors.

        Raises:
            RunError: it detects something else.
        """
        names = self.description[NAMES]
        model = load_exported(file, {**self.description, CLASSES: ["background", *names]})
        every = Postprocessor(score_threshold=0.0, candidates=0, nms_iou=1.0, max_detections=0)
        suppression = self.suppression and Postprocessor(candidates=0, **self.suppression)
        wanted = [
            reference(
                one.deltas,
                one.logits,
                self.anchors,
                self.image_size,
                candidates=self.candidates,
                suppression=suppression,
                levels=self.levels,
                window=None if self.fill is None else picture_window(one.image),
            )
            for one in expected
        ]
        batch = self.batch or len(expected)
        runs = [np.arange(-(-len(expected) // batch) * batch) % len(expected)]
        if self.batch == 0:
            runs.append(np.zeros(1, int))
        comparison = Comparison()
        for rows in runs:
            outputs = model.forward(np.stack([expected[row].image for row in rows]))
            for place, row in enumerate(rows):
                own = tuple(output[place] for output in outputs)
                found = model.candidates(own, self.image_size, every)
                comparison.add(found, wanted[row], row + 1)
        if comparison.problems:
            advice = "; --winograd=0 rounds less" if self.winograd else ""
            raise RunError(
                f"{path}: the exported file does not find what the network finds, and was not kept"
                f"{advice}\n  " + "\n  ".join(comparison.problems[:SHOWN_PROBLEMS])
            )
        return comparison


def run_network(network: nn.Cell, images: np.ndarray, source: str) -> list[NetworkOutput]:
    """The network's outputs for each of the images (n,H,W,3); NotFinite names the `source`."""
    found = []
    for number, image in enumerate(images, 1):
        deltas, logits = (output.asnumpy()[0] for output in network(ms.Tensor(image[None])))
        if not (np.isfinite(deltas).all() and np.isfinite(logits).all()):
            raise NotFinite(
                f"{source}: the network's outputs for image {number} are nan or infinite"
            )
        found.append(NetworkOutput(image, deltas, logits))
    return found
