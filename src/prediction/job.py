"""Predicts on all inputs of a run: pictures, videos, predictions.json, and what failed."""

import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from src.prediction.addresses import shown_name
from src.prediction.detector import Detector
from src.prediction.inputs import Inputs
from src.prediction.pipeline import Callback, Recorder, predict
from src.prediction.sinks import VideoFile, write_picture
from src.prediction.sources import Frame, Video, read_images, reason_alone
from src.runtime.errors import InputError, RunError
from src.runtime.files import JsonList, to_json, write_atomically
from src.runtime.signals import Interrupted, Interruption
from src.runtime.text import INDENTED, count

PROBLEMS = "problems.json"
SHOWN_FAILURES = 10  # inputs in the last lines


@dataclass
class Job:
    """Predicts on inputs.

    Attributes:
        inputs: gets those that fail.
        targets: path of each annotated copy.
    """

    detector: Detector
    inputs: Inputs
    targets: Mapping[str | Path, Path]
    recorder: Recorder
    interruption: Interruption

    def pictures(self) -> None:
        """Predicts on all pictures."""
        images = self.detector.grouped(self.inputs.images)
        callback = self.recorder.callback(partial(write_picture, self.targets))
        self._predict(read_images(images), callback, len(images))

    def video(self, source: Path | str, stream: Video | None) -> None:
        """Predicts on a video, or on the open stream."""
        name = shown_name(source)
        try:
            video = stream or Video(source)
        except InputError as error:
            self._fail(name, reason_alone(error, name))
            return
        with VideoFile(self.targets[name], video.rate, live=video.live) as movie:
            self._predict(video, self.recorder.callback(movie.write), video.frames, video.live)
        if movie.error:
            self._fail(name, movie.error)

    def _predict(
        self, frames: Iterable[Frame], callback: Callback, total: int, live: bool = False
    ) -> None:
        """`predict` with a progress bar of `total` frames, 0 if unknown; ends if interrupted."""
        bar = tqdm(total=total or None, unit="image", file=sys.stderr, disable=None)  # on terminals
        with bar, suppress(Interrupted):
            for frame in predict(self.detector, frames, callback, live=live):
                if frame.error:
                    self._fail(frame.path, frame.error)
                else:
                    bar.update()
                if self.interruption.signum is not None:
                    break

    def _fail(self, name: Path | str, reason: str) -> None:
        """Tells that an input failed, above a bar if there is one, and notes it."""
        tqdm.write(f"failed: {self.inputs.shown(name)}: {reason}", file=sys.stderr)
        self.inputs.fail(name, reason)


def predict_all(
    detector: Detector,
    inputs: Inputs,
    targets: Mapping[str | Path, Path],
    *,
    folder: Path,
    min_score: float,
    compiled: bool,
    stream: Video | None,
    interruption: Interruption,
) -> None:
    """Predicts on all inputs; writes predictions.json, and problems.json if there are any.

    Args:
        folder: of the two JSON files.
        min_score: detections of a lower score are neither drawn nor counted.
        compiled: whether the first image's time includes a compilation.
        stream: if a camera or an address is the input.

    Raises:
        RunError: all inputs failed.
    """
    started = time.perf_counter()
    interruption.deferred = True  # finished predictions are kept
    detector.check = interruption.check  # an image may have thousands of tiles
    results = JsonList(folder / "predictions.json", keep=True)
    with results:
        recorder = Recorder(results, detector.names, min_score, inputs.images)
        job = Job(detector, inputs, targets, recorder, interruption)
        if inputs.images:
            job.pictures()
        for source in inputs.videos:
            if interruption.signum is None:
                job.video(source, stream)
        if inputs.failed and not results.count:
            raise RunError(failure_summary(inputs))
    interruption.deferred = False
    print(recorder.summary(time.perf_counter() - started, compiled=compiled))
    is_written = write_problems(inputs, folder)
    print(f"pictures, predictions.json{f', {PROBLEMS}' * is_written}: {folder}")


def failed_in_order(inputs: Inputs) -> dict[str, str]:
    """What failed, with the reason: addresses that were not reached, then in the inputs' order."""
    places = {str(shown_name(one)): place for place, one in enumerate(inputs.all)}
    return dict(sorted(inputs.failed.items(), key=lambda item: places.get(item[0], -1)))


def write_problems(inputs: Inputs, folder: Path) -> bool:
    """Writes problems.json, an entry per line; without problems there is no such file."""
    entries = [
        {"file": name, "kind": "failed", "reason": reason}
        for name, reason in failed_in_order(inputs).items()
    ]
    for reason, paths in inputs.passed_over.items():
        entries += [{"file": p, "kind": "passed over", "reason": reason} for p in paths]
    path = folder / PROBLEMS
    if not entries:
        path.unlink(missing_ok=True)
        return False
    write_atomically(path, "[\n" + ",\n".join(map(to_json, entries)) + "\n]\n")
    return True


def failure_summary(inputs: Inputs) -> str:
    """ "2 of 9 inputs failed", and a line for each, with its reason."""
    total = len({*inputs.failed, *(str(shown_name(one)) for one in inputs.all)})
    failed = [f"{inputs.shown(name)}: {why}" for name, why in failed_in_order(inputs).items()]
    if len(failed) > SHOWN_FAILURES:
        failed[SHOWN_FAILURES:] = [f"and {len(failed) - SHOWN_FAILURES:,} more, see {PROBLEMS}"]
    return INDENTED.join([f"{len(inputs.failed):,} of {count(total, 'input')} failed", *failed])
