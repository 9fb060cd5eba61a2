"""Predictions on many frames: read, looked at, drawn and written at the same time."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice

import numpy as np

from src.detection.postprocess import Detections
from src.prediction.detector import Detector
from src.prediction.inference import Outputs
from src.prediction.sinks import Pictures, VideoFile, draw, entry_of
from src.prediction.sources import Frame
from src.runtime.errors import NotFinite
from src.runtime.files import JsonList
from src.runtime.text import count
from src.runtime.threads import Follower, prefetch

FRAMES_AHEAD = 4  # that are read before they are asked for; a photo can be 40 MB
BATCHES_BEHIND = 2  # that are drawn and written, one after the other, or wait for that

Use = Callable[[Frame, Detections], None]


def predict(detector: Detector, frames: Iterable[Frame], use: Use) -> Iterator[Frame]:
    """Calls `use` with the detections of each frame that could be read; yields all when done.

    A thread reads ahead, this one hands batches to the network, and a third thins out what comes
    of them and calls `use`, in the order of the frames.
    """
    reading = closing(prefetch(frames, FRAMES_AHEAD))
    with reading as waiting, Follower(BATCHES_BEHIND) as host:
        while batch := list(islice(waiting, detector.batch_size)):
            read = [frame for frame in batch if not frame.error]
            seen = detector.look([frame.image for frame in read]) if read else ([], np.zeros(0))
            for done in host.submit(finish, detector, batch, *seen, use):
                yield from done
        for done in host.drain():
            yield from done


def finish(
    detector: Detector, batch: list[Frame], outputs: list[Outputs], scales: np.ndarray, use: Use
) -> list[Frame]:
    """The host's part for a batch, which it gives back, with errors where there were some.

    Args:
        outputs, scales: of the frames of it that could be read.
    """
    done, row = [], 0
    for frame in batch:
        if not frame.error:
            try:
                use(frame, detector.thin_out(outputs, scales, row, frame.image))
            except NotFinite as error:
                frame = replace(frame, error=f"{frame.path}: the network's outputs: {error}")
            row += 1
        done.append(frame)
    return done


class Recorder:
    """Draws, writes and counts what was detected in frames.

    Args:
        results: gets an entry for each frame.
        names: of the classes, by label.
        least: detections of a lower score are neither drawn nor counted.
    """

    def __init__(self, results: JsonList, names: tuple[str, ...], least: float):
        self.results = results
        self.names = names
        self.least = least
        self.objects: Counter[str] = Counter()

    def into(self, sink: Pictures | VideoFile, rate: float = 0.0) -> Use:
        """What `predict` is to call: pictures go to the sink; `rate` is that of a video."""

        def use(frame: Frame, found: Detections) -> None:
            sink.write(frame, draw(frame.image, found, self.names, self.least))
            self.results.append(entry_of(frame, found, self.names, rate))
            labels = found.labels[found.scores >= self.least]
            self.objects.update(self.names[label] for label in labels)

        return use

    def summary(self, seconds: float) -> str:
        """What was found in that time, for the user."""
        counts = ", ".join(f"{number:,} {name}" for name, number in self.objects.most_common())
        found, images = sum(self.objects.values()), self.results.count
        return (
            f"{count(images, 'image')} in {seconds:.1f} s, {images / seconds:.2f} a second, the "
            f"first one's compilation included\n{count(found, 'object')} with a score of at least "
            f"{self.least:g}" + (f": {counts}" if counts else "")
        )
