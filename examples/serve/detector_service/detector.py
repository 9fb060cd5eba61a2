"""An exported detector on ONNX Runtime: images in, detections in pixels of the images out."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import onnxruntime

INPUT, OUTPUTS = "images", ("boxes", "scores", "labels")
KEYS = ("names", "image_size", "resize", "export_batch", "score_threshold")
FILL = (124, 116, 104)  # RGB around a picture that does not fill the canvas, as in training
LIMITS = (("short_side", min), ("long_side", max))  # pixels of an image's sides on the canvas


class ModelError(Exception):
    """A file that cannot be served."""


@dataclass(frozen=True)
class Fitted:
    """A picture resized for the network: pixels (h,w,3) uint8 BGR, and width and height before."""

    pixels: np.ndarray
    size: tuple[int, int]


@dataclass(frozen=True)
class Detections:
    """Boxes (n,4) x1 y1 x2 y2 in pixels of the picture, scores (n,), labels (n,); best first."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class Detector:
    """The network of a file and what its metadata say of it.

    Args:
        path: file of `export.py --file_format=ONNX --nms=True`.
        threads: CPU threads of one inference.

    Raises:
        ModelError: the file is missing, damaged or another one.
    """

    def __init__(self, path: str, threads: int):
        if not os.path.isfile(path):
            raise ModelError(f"{path}: no such file; export.py --file_format=ONNX writes one")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # threads that wait actively take CPU time from decoding and from neighbours
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise ModelError(f"{path}: not an ONNX file, or a damaged one") from error
        about = self.about = read_metadata(path, self.session)
        self.names: list[str] = about["names"]
        self.height, self.width = about["image_size"]
        self.fixed_batch: int = about["export_batch"]  # 0 for any
        self.threshold: float = about["score_threshold"]  # of the lowest score in the file's output

    def largest_batch(self, wanted: int) -> int:
        """The images of one inference: `wanted`, or fewer where the file's batch is smaller."""
        return min(wanted, self.fixed_batch or wanted)

    def fit(self, picture: np.ndarray) -> Fitted:
        """The picture (H,W,3) uint8 BGR resized for the canvas, as in training."""
        rows, columns = picture.shape[:2]
        scale, whole = np.array([self.width / columns, self.height / rows]), np.rint
        if self.about["resize"] == "letterbox":
            scale[:] = scale.min()
        elif self.about["resize"] == "short_side":
            short, long = (self.about[key] / side(rows, columns) for key, side in LIMITS)
            scale[:], whole = min(short, long, *scale), np.floor
        size = np.maximum(whole(scale * [columns, rows]), 1).astype(int)
        return Fitted(cv2.resize(picture, size), (columns, rows))

    def detect(self, pictures: Sequence[Fitted]) -> list[Detections]:
        """The detections of each picture; of a file with a fixed batch no more than that."""
        count = self.fixed_batch or len(pictures)
        images = np.full((count, self.height, self.width, 3), FILL, np.uint8)
        for image, picture in zip(images, pictures):
            rows, columns = picture.pixels.shape[:2]
            image[:rows, :columns] = picture.pixels[..., ::-1]  # RGB
        outputs = self.session.run(OUTPUTS, {INPUT: images})
        return [found(picture, *rows) for picture, *rows in zip(pictures, *outputs)]

    def warm_up(self, max_batch: int) -> None:
        """Runs the largest and the smallest batch once, so that memory is there before requests.

        Raises:
            ModelError: the file contradicts its metadata, or memory is short.
        """
        blank = Fitted(np.zeros((self.height, self.width, 3), np.uint8), (self.width, self.height))
        try:
            for count in {self.largest_batch(max_batch), 1}:
                self.detect([blank] * count)
        except Exception as error:  # ONNX Runtime's errors have no common base
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"the file does not run: {reason}") from error


def read_metadata(path: str, session: onnxruntime.InferenceSession) -> dict:
    """What export.py wrote of the detector; ModelError where something is missing."""
    try:
        metadata = session.get_modelmeta().custom_metadata_map
        about = {key: json.loads(value) for key, value in metadata.items()}
    except ValueError:
        about = {}
    missing = [key for key in KEYS if key not in about]
    if missing:
        raise ModelError(f"{path}: its metadata lack {', '.join(missing)}; is it of export.py?")
    if not about.get("nms"):
        raise ModelError(f"{path}: does not suppress overlaps; export it again with --nms=True")
    return about


def found(picture: Fitted, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> Detections:
    """One image's rows of the output in pixels of its picture; empty rows are left out."""
    columns, rows = picture.size
    scale = np.array(picture.pixels.shape[1::-1]) / picture.size
    boxes = np.clip(boxes / np.tile(scale, 2), 0, [columns, rows, columns, rows])
    kept = (labels >= 0) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return Detections(boxes[kept], scores[kept], labels[kept])
