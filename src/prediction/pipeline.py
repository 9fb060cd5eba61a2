"""Predicts on many frames; reading, inference, drawing and writing overlap."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from src.data.fonts import lacking_fonts
from src.detection.postprocess import Detections
from src.prediction.addresses import shown_name
from src.prediction.crops import filled
from src.prediction.detector import Detector, Pending
from src.prediction.sinks import draw, json_entry
from src.prediction.sources import Frame
from src.runtime.errors import NotFinite, NotWritten
from src.runtime.files import JsonList
from src.runtime.out_of_memory import OutOfMemory, with_memory_advice
from src.runtime.text import count
from src.runtime.threads import Follower, prefetch

PREFETCHED_FRAMES = 4  # a photo can take 40 MB
PENDING_BATCHES = 2  # being drawn and written, or waiting

Callback = Callable[[Frame, Detections], None]
Write = Callable[[Frame, np.ndarray], None]  # takes the drawn picture (H,W,3)


def predict(
    detector: Detector, frames: Iterable[Frame], callback: Callback, *, live: bool = False
) -> Iterator[Frame]:
    """Calls `callback` for each readable frame, in order; yields every frame when done.

    One thread reads ahead, this one runs the network, and a third post-processes and calls back.
    With `live` only the newest frame waits: what arrives while the network is busy is left out.
    """

    def views(frame: Frame) -> int:
        return 1 if frame.error else detector.views(frame.image)

    waiting = prefetch(frames, 1, newest=True) if live else prefetch(frames, PREFETCHED_FRAMES)
    with closing(waiting), Follower(PENDING_BATCHES) as host:
        for batch in filled(waiting, 1 if live else detector.batch_size, views):
            read = [frame for frame in batch if not frame.error]
            images = [frame.image for frame in read]
            with with_memory_advice(partial(advice, read, detector.batch_size)):
                pending = detector.forward(images) if read else []
            yield from chain(*host.submit(postprocess_batch, detector, batch, pending, callback))
        yield from chain.from_iterable(host.drain())


def postprocess_batch(
    detector: Detector, batch: list[Frame], pending: list[Pending], callback: Callback
) -> list[Frame]:
    """Post-processes a batch and calls back; returns its frames, with errors.

    Args:
        pending: of each readable frame.
    """
    done, waiting = [], iter(pending)
    for frame in batch:
        if not frame.error:
            try:
                with with_memory_advice(partial(advice, [frame])):
                    callback(frame, detector.postprocess(next(waiting)))
            except NotFinite as error:
                frame = replace(frame, error=f"the network's outputs: {error}")
            except (NotWritten, OutOfMemory) as error:
                frame = replace(frame, error=str(error))
        done.append(frame)
    return done


def advice(frames: Sequence[Frame], batch_size: int = 1) -> str:
    """What to change where these take more memory than there is, in batches of the network."""
    largest = max(frames, key=lambda frame: frame.image.size)
    height, width = largest.image.shape[:2]
    fewer = f", or --eval_batch_size={batch_size // 2}" * (batch_size > 1)
    return (
        f"the largest of {count(len(frames), 'image')} at once is {largest.path}, {width} x "
        f"{height} pixels; use smaller images or --image_size{fewer}"
    )


@dataclass
class Recorder:
    """Draws, writes and counts detections in frames.

    Attributes:
        results: gets an entry per frame.
        names: of the classes, by label.
        min_score: detections of a lower score are neither drawn nor counted.
        images: in the order of their entries, whatever that of the frames is; videos come last.
    """

    results: JsonList
    names: tuple[str, ...]
    min_score: float
    images: Sequence[Path | str] = ()
    objects: Counter[str] = field(default_factory=Counter)  # by class name
    below: int = 0  # detections of a lower score
    frames: int = 0  # of videos
    videos: set[Path | str] = field(default_factory=set)

    def __post_init__(self):
        self.places = {shown_name(one): place for place, one in enumerate(self.images)}

    def callback(self, write: Write) -> Callback:
        """The callback for `predict`; `write` gets each picture, after its detections are kept."""

        def record(frame: Frame, found: Detections) -> None:
            place = self.places.get(frame.path, len(self.places))
            self.results.append(json_entry(frame, found, self.names), place)
            if frame.seconds is not None:
                self.frames += 1
                self.videos.add(frame.path)
            labels = found.labels[found.scores >= self.min_score]
            self.objects.update(self.names[label] for label in labels)
            self.below += len(found.labels) - len(labels)
            write(frame, draw(frame.image, found, self.names, self.min_score))

        return record

    def counts(self) -> str:
        """ "73 pictures and 2 videos (240 frames)"."""
        pictures = self.results.count - self.frames
        counts = [count(pictures, "picture")] if pictures or not self.frames else []
        if self.frames:
            counts.append(f"{count(len(self.videos), 'video')} ({count(self.frames, 'frame')})")
        return " and ".join(counts)

    def summary(self, seconds: float, *, compiled: bool = True) -> str:
        """Counts and speed, for the user; `compiled`: whether the time includes a compilation."""
        counts = ", ".join(f"{number:,} {name}" for name, number in self.objects.most_common())
        found, images = sum(self.objects.values()), self.results.count
        lower = ""
        if not found and self.below:
            lower = f"; a lower --drawn_score shows {self.below:,} more, of predictions.json"
        return (
            f"{self.counts()} in {seconds:.1f} s, {images / seconds:.2f} a second"
            + ", the first one's compilation included" * compiled
            + f"\n{count(found, 'object')} with a score of at least {self.min_score:g}"
            + (f": {counts}" if counts else lower)
            + "".join(f"\nnote: {note}" for note in [lacking_fonts(list(self.objects))] if note)
        )
