"""A trained detector for use in other programs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from src.config.configuration import Config, make_config
from src.config.idle_keys import note_idle_keys
from src.config.keys import note_old_names
from src.data.images import read_image, read_size
from src.data.short_side import ShortSide
from src.data.transforms import fit_image
from src.deploy.formats import format_of
from src.detection.postprocess import Detections, build_postprocessor
from src.detection.tiles import MANY_TILES
from src.prediction.crops import Choose, Crop, called, filled
from src.prediction.exported_model import build_exported
from src.prediction.inference import Inference, build_inference, find_short_side
from src.prediction.network_model import load_network
from src.prediction.objects import Objects, labels_of
from src.prediction.recorded import detector_config
from src.runtime.device import set_up_device
from src.runtime.errors import InputError

Image = str | Path | np.ndarray  # a file, or an array (H,W,3) uint8 RGB
Canvas = tuple[int, int] | None  # height and width, where images are resized to a short side
Pending = list[Choose]  # an image after the network: what gives the candidates of each window


@dataclass(eq=False)
class Detector:
    """Finds objects in images."""

    inference: Inference
    names: tuple[str, ...]  # of the classes, by label
    keep_aspect: bool  # see `fit_image`
    batch_size: int  # of the network
    short_side: ShortSide | None = None  # in place of `fit_image`
    kept: np.ndarray | None = None  # labels of the classes that are kept, if not all are
    check: Callable[[], None] | None = None  # called before each batch; may raise to stop

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
        note_old_names(keys, "Detector.load(): ")
        own, given = detector_config(path), {"eval_batch_size": 1, **keys, which: path}
        if classes is not None and not own.get("classes"):
            classes, given["classes"] = None, classes
        cfg = make_config([(own, path), (given, "Detector.load()")])
        note_idle_keys(cfg, keys, "Detector.load(): ")
        kept = None if classes is None else labels_of(classes, cfg.classes[1:])
        set_up_device(cfg.device_target, device_id=cfg.device_id, cpu_threads=cfg.cpu_threads)
        return replace(build_detector(cfg), kept=kept)

    def __call__(
        self, images: Image | Iterable[Image], *, classes: Sequence[str] | None = None
    ) -> Objects | list[Objects]:
        """Objects in an image; for several images a list with the objects of each.

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
        for batch in filled(images, self.batch_size, self.views):
            for pending in self.forward(batch):
                found = self.postprocess(pending)
                if kept is not None:
                    found = found.take(np.isin(found.labels, kept))
                names = [self.names[label] for label in found.labels]
                yield Objects(found.boxes, found.scores, names, found.labels)

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Detections of all classes in each of the images."""
        return [self.postprocess(pending) for pending in self.forward(images)]

    def views(self, image: np.ndarray) -> int:
        """How many places of a batch the image takes: its tiles and the whole."""
        return len(self.inference.tiling.windows(*image.shape[1::-1]))

    def forward(self, images: Sequence[np.ndarray]) -> list[Pending]:
        """Runs the network on the images and their tiles, in batches of one input size."""
        images = list(map(as_array, images))
        crops = [
            Crop(index, image, window)
            for index, image in enumerate(images)
            for window in self.inference.tiling.windows(*image.shape[1::-1])
        ]
        done: list[Pending] = [[] for _ in images]
        is_more = len(crops) > self.batch_size  # whose outputs together may take much memory
        hidden = None if len(crops) > MANY_TILES else True  # None: shown on terminals
        with tqdm(total=len(crops), unit="tile", leave=False, disable=hidden) as bar:
            for batch, canvas in self._batches(crops):
                if self.check is not None:
                    self.check()
                for crop, choose in zip(batch, self._run(batch, canvas)):
                    done[crop.index].append(called(choose) if is_more else choose)
                bar.update(len(batch))
        return done

    def _batches(self, crops: list[Crop]) -> Iterator[tuple[list[Crop], Canvas]]:
        """The crops in batches, each of one canvas."""
        groups: dict[Canvas, list[Crop]] = {}
        for crop in crops:
            canvas = self.short_side and self.short_side.canvas(*crop.picture.shape[1::-1])
            groups.setdefault(canvas, []).append(crop)
        for canvas, own in groups.items():
            for start in range(0, len(own), self.batch_size):
                yield own[start : start + self.batch_size], canvas

    def grouped(self, paths: Sequence[Path]) -> list[Path]:
        """Image files grouped by input size, since a change of size may compile the graph again.

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

    def _run(self, crops: list[Crop], canvas: Canvas) -> list[Choose]:
        """`forward` of a batch, on a canvas if there are canvases."""
        pictures = [crop.picture for crop in crops]
        if self.short_side is None:
            fitted = [
                [fit_image(picture, size, keep_aspect=self.keep_aspect) for picture in pictures]
                for size in self.inference.sizes
            ]
        else:
            fitted = [[self.short_side.fit(picture, canvas) for picture in pictures]]
        batches = [np.stack([picture for picture, _ in of_size]) for of_size in fitted]
        scales = np.stack([[scale for _, scale in of_size] for of_size in fitted], axis=1)
        seen, choose = self.inference.forward(batches), self.inference.candidates
        return [
            partial(choose, seen, row, scales[row], crop.size, crop.window)
            for row, crop in enumerate(crops)
        ]

    def postprocess(self, pending: Pending) -> Detections:
        """Detections in an image after `forward`.

        Raises:
            NotFinite: nan or infinite outputs.
        """
        return self.inference.merged([choose() for choose in pending])


def as_array(image: Image, what: str = "an image") -> np.ndarray:
    """The image (H,W,3) uint8 RGB; InputError where it is none."""
    if isinstance(image, (str, Path)):
        image = read_image(Path(image))
    if not isinstance(image, np.ndarray):
        raise InputError(f"{what} is {type(image).__name__}; expected an array or a path")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(f"{what} is {image.dtype} {image.shape}; expected uint8 (H,W,3)")
    return image


def build_detector(cfg: Config) -> Detector:
    """The detector in `model` or else in `checkpoint_path`."""
    batch_size = cfg.eval_batch_size
    network = None if cfg.model else load_network(cfg)
    if network is None:
        inference = build_exported(cfg)
    else:
        inference = build_inference(cfg, network, build_postprocessor(cfg), batch_size)
    return Detector(
        inference,
        cfg.classes[1:],
        keep_aspect=cfg.resize == "letterbox",
        batch_size=batch_size,
        short_side=find_short_side(cfg, network),
    )
