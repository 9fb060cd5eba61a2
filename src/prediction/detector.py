"""A trained detector for use in other programs."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.config.configuration import Config, make_config
from src.config.keys import note_new_names
from src.data.images import read_image, read_size
from src.data.short_side import ShortSide
from src.data.transforms import fit_image
from src.deploy.formats import check_detector, format_of, read_description
from src.detection.postprocess import Detections, build_postprocessor
from src.prediction.exported_model import build_exported
from src.prediction.inference import Inference, Seen, build_inference, find_short_side
from src.prediction.network_model import Log, load_network
from src.prediction.recorded import detector_layer
from src.runtime.device import set_up_device
from src.runtime.errors import InputError


class Objects(NamedTuple):
    """Objects in an image: boxes (D,4) in its pixels, scores (D,), class names; best first."""

    boxes: np.ndarray
    scores: np.ndarray
    names: list[str]


class Pending(NamedTuple):
    """An image after the network: what its batch gave, its row there, and its scales (sizes,2)."""

    seen: list[Seen]
    row: int
    scales: np.ndarray


@dataclass(eq=False)
class Detector:
    """Finds objects in images."""

    inference: Inference
    names: tuple[str, ...]  # of the classes, by label
    keep_aspect: bool  # see `fit_image`
    batch_size: int  # most images per call
    short_side: ShortSide | None = None  # in place of `fit_image`

    @classmethod
    def load(cls, path: str | Path, **keys) -> "Detector":
        """A detector from a checkpoint of a training run, or an exported .mindir or .onnx file.

        Args:
            keys: of config/default.yaml, which override the file's: score_threshold=0.5, for
                example.

        Raises:
            InputError: the file is missing, invalid or has no class names.
        """
        path = str(path)
        which = "model" if format_of(path) else "checkpoint_path"
        note_new_names(keys, "Detector.load(): ")
        given = {"eval_batch_size": 1, **keys, which: path}
        cfg = make_config([(detector_config(path), path), (given, "Detector.load()")])
        set_up_device(cfg.device_target, device_id=cfg.device_id, cpu_threads=cfg.cpu_threads)
        return build_detector(cfg)

    def __call__(self, image: str | Path | np.ndarray) -> Objects:
        """Objects in an image file, or in an image (H,W,3) uint8 RGB."""
        if isinstance(image, (str, Path)):
            image = read_image(Path(image))
        (found,) = self.detect([image])
        return Objects(found.boxes, found.scores, [self.names[label] for label in found.labels])

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Detections in each of the images (H,W,3) uint8 RGB, at most `batch_size` of them."""
        if not images:
            return []
        return [self.postprocess(*pair) for pair in zip(self.forward(images), images)]

    def forward(self, images: Sequence[np.ndarray]) -> list[Pending]:
        """Runs the network on the images, on those of one input size at a time."""
        for image in images:
            if not isinstance(image, np.ndarray):
                raise InputError(f"an image is {type(image).__name__}; expected an array or a path")
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
                raise InputError(f"an image is {image.dtype} {image.shape}; expected uint8 (H,W,3)")
        if len(images) > self.batch_size:
            raise InputError(
                f"{len(images)} images at once; the detector takes {self.batch_size}, load it with "
                "another eval_batch_size"
            )
        if self.short_side is None:
            fitted = [
                [fit_image(image, size, keep_aspect=self.keep_aspect) for image in images]
                for size in self.inference.sizes
            ]
            return self._run(fitted)
        canvases = [self.short_side.canvas(*image.shape[1::-1]) for image in images]
        done: dict[int, Pending] = {}
        for canvas in dict.fromkeys(canvases):
            own = [index for index, one in enumerate(canvases) if one == canvas]
            fitted = [self.short_side.fit(images[index], canvas) for index in own]
            done |= zip(own, self._run([fitted]))
        return [done[index] for index in range(len(images))]

    def grouped(self, paths: Sequence[Path]) -> list[Path]:
        """Image files, those of one input size together, as another size may be compiled anew.

        Only with canvases of `canvas_step`; sizes, and the files of each, stay in their order.
        """
        if self.short_side is None or not self.short_side.step:
            return list(paths)
        groups: dict[tuple[int, int] | None, list[Path]] = {}
        for path in paths:
            canvas = None  # of a file that cannot be read, which fails when its turn comes
            with suppress(InputError):
                canvas = self.short_side.canvas(*read_size(path))
            groups.setdefault(canvas, []).append(path)
        return list(chain.from_iterable(groups.values()))

    def _run(self, fitted: list[list[tuple[np.ndarray, np.ndarray]]]) -> list[Pending]:
        """`forward` of a batch: of each size of the input the images (H,W,3) and scales (2,)."""
        batches = [np.stack([picture for picture, _ in of_size]) for of_size in fitted]
        scales = np.stack([[scale for _, scale in of_size] for of_size in fitted], axis=1)
        seen = self.inference.forward(batches)
        return [Pending(seen, row, own) for row, own in enumerate(scales)]

    def postprocess(self, pending: Pending, image: np.ndarray) -> Detections:
        """Detections in an image after `forward`."""
        size = np.array([image.shape[1], image.shape[0]], np.float32)
        return self.inference.detections(*pending, size)


def detector_config(path: str) -> dict:
    """The detector's keys in a checkpoint or exported file; InputError where it is neither."""
    check_detector(path)
    if format_of(path):
        return read_description(Path(path))
    keys, _ = detector_layer(path)
    return keys


def build_detector(cfg: Config, log: Log | None = None) -> Detector:
    """The detector in `model` or else in `checkpoint_path`; `log` as in `build_inference`."""
    batch_size = cfg.eval_batch_size
    network = None if cfg.model else load_network(cfg)
    if network is None:
        inference = build_exported(cfg)
    else:
        inference = build_inference(cfg, network, build_postprocessor(cfg), batch_size, log=log)
    return Detector(
        inference,
        cfg.classes[1:],
        keep_aspect=cfg.resize == "letterbox",
        batch_size=batch_size,
        short_side=find_short_side(cfg, network),
    )
