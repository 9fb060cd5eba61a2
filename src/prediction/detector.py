"""A trained detector for use in other programs."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
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
from src.prediction.objects import Objects, as_objects, labels_of
from src.prediction.recorded import detector_layer
from src.runtime.device import set_up_device
from src.runtime.errors import InputError

Image = str | Path | np.ndarray  # a file, or an array (H,W,3) uint8 RGB


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
    kept: np.ndarray | None = None  # labels of the classes that are kept, if not all are

    @classmethod
    def load(cls, path: str | Path, *, classes: Sequence[str] | None = None, **keys) -> "Detector":
        """A detector from a checkpoint of a training run, or an exported .mindir or .onnx file.

        Args:
            classes: keeps objects of these alone; for a checkpoint that records no classes, the
                names of all that it has.
            keys: of config/default.yaml, which override the file's: score_threshold=0.5, for
                example. `eval_batch_size` is 1 unless it is given.

        Raises:
            InputError: the file is missing, invalid or has no class names, or not these.
        """
        path = str(path)
        which = "model" if format_of(path) else "checkpoint_path"
        note_new_names(keys, "Detector.load(): ")
        own, given = detector_config(path), {"eval_batch_size": 1, **keys, which: path}
        if classes is not None and not own.get("classes"):
            classes, given["classes"] = None, classes
        cfg = make_config([(own, path), (given, "Detector.load()")])
        kept = None if classes is None else labels_of(classes, cfg.classes[1:])
        set_up_device(cfg.device_target, device_id=cfg.device_id, cpu_threads=cfg.cpu_threads)
        return replace(build_detector(cfg), kept=kept)

    def __call__(
        self, images: Image | Iterable[Image], *, classes: Sequence[str] | None = None
    ) -> Objects | list[Objects]:
        """Objects in an image, or for several images a list with those of each.

        Args:
            images: files or arrays (H,W,3) uint8 RGB; several are read and detected `batch_size`
                at a time.
            classes: keeps objects of these alone, in place of those given to `load`.

        Raises:
            InputError: a file that is no image, an array of another kind, or an unknown class.
        """
        kept = self.kept if classes is None else labels_of(classes, self.names)
        if isinstance(images, (str, Path, np.ndarray)) or not isinstance(images, Iterable):
            (found,) = self._objects([as_array(images)], kept)
            return found
        arrays = (as_array(image, f"images[{n}]") for n, image in enumerate(images))
        return list(self._objects(arrays, kept))

    def _objects(self, images: Iterable[np.ndarray], kept: np.ndarray | None) -> Iterator[Objects]:
        """Objects of the labels `kept` in each of the images, by batches."""
        waiting = iter(images)
        while batch := list(islice(waiting, self.batch_size)):
            for pair in zip(self.forward(batch), batch):
                found = self.postprocess(*pair)
                if kept is not None:
                    found = found.take(np.isin(found.labels, kept))
                yield as_objects(found, self.names)

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Detections of all classes in each of the images, at most `batch_size` of them."""
        if not images:
            return []
        images = list(map(as_array, images))
        return [self.postprocess(*pair) for pair in zip(self.forward(images), images)]

    def forward(self, images: Sequence[np.ndarray]) -> list[Pending]:
        """Runs the network on the images, on those of one input size at a time."""
        images = list(map(as_array, images))
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


def as_array(image: Image, what: str = "an image") -> np.ndarray:
    """The image (H,W,3) uint8 RGB; InputError where it is none."""
    if isinstance(image, (str, Path)):
        image = read_image(Path(image))
    if not isinstance(image, np.ndarray):
        raise InputError(f"{what} is {type(image).__name__}; expected an array or a path")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(f"{what} is {image.dtype} {image.shape}; expected uint8 (H,W,3)")
    return image


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
