"""Predicts on all inputs of a run: pictures, videos, predictions.json, and what failed."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from tqdm import tqdm

from src.prediction.detector import Detector
from src.prediction.problems import FILE, Problems
from src.prediction.run import Callback, Recorder, naming_what_is_kept, predict
from src.prediction.sinks import VideoFile, write_picture
from src.prediction.sources import Frame, Video, read_images, reason_alone
from src.prediction.unreachable import shown_address
from src.runtime.errors import InputError, RunError
from src.runtime.files import JsonList
from src.runtime.signals import Interrupted, Interruption

Run = Callable[..., None]  # predict_with_progress without its first arguments


def predict_all(
    detector: Detector,
    problems: Problems,
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
        problems: with the inputs; gets those that fail.
        targets: path of each annotated copy.
        folder: of the two JSON files.
        min_score: detections of a lower score are neither drawn nor counted.
        compiled: whether the first image's time includes a compilation.
        stream: if a camera or an address is the input.

    Raises:
        RunError: all inputs failed.
    """
    inputs, started = problems.inputs, time.perf_counter()
    interruption.deferred = True  # finished predictions are kept
    detector.check = interruption.check  # an image may have thousands of tiles
    results = JsonList(folder / "predictions.json", keep=True)
    with naming_what_is_kept(results), results:
        recorder = Recorder(results, detector.names, min_score, inputs.images)
        run = partial(predict_with_progress, detector, problems, interruption)
        if inputs.images:
            images = detector.grouped(inputs.images)
            use = recorder.callback(partial(write_picture, targets))
            run(read_images(images), use, len(images))
        for source in inputs.videos:
            if interruption.signum is None:
                predict_video(run, recorder, problems, source, targets, stream)
        if problems.failed and not results.count:
            raise RunError(problems.summary())
    interruption.deferred = False
    print(recorder.summary(time.perf_counter() - started, compiled=compiled))
    is_written = problems.write(folder)
    print(f"pictures, predictions.json{f', {FILE}' * is_written}: {folder}")


def predict_video(
    run: Run,
    recorder: Recorder,
    problems: Problems,
    source: Path | str,
    targets: Mapping[str | Path, Path],
    stream: Video | None,
) -> None:
    """Predicts on a video, or on the open stream."""
    name = source if isinstance(source, Path) else shown_address(source)
    shown = problems.inputs.shown(name)
    try:
        video = stream or Video(source)
    except InputError as error:
        reason = reason_alone(error, name)
        print(f"skipped: {shown}: {reason}", file=sys.stderr)
        problems.fail(name, reason)
        return
    with VideoFile(targets[name], video.rate, live=video.live) as movie:
        run(video, recorder.callback(movie.write), video.frames, live=video.live)
    if movie.error:
        print(f"failed: {shown}: {movie.error}", file=sys.stderr)
        problems.fail(name, movie.error)


def predict_with_progress(
    detector: Detector,
    problems: Problems,
    interruption: Interruption,
    frames: Iterable[Frame],
    callback: Callback,
    total: int,
    *,
    live: bool = False,
) -> None:
    """Predicts with a progress bar; tells and notes what fails; ends early if interrupted.

    Args:
        total: frames, 0 where that is not known.
        live: see `run.predict`.
    """
    bar = tqdm(total=total or None, unit="image", file=sys.stderr, disable=None)  # on terminals
    with bar, suppress(Interrupted):
        for frame in predict(detector, frames, callback, live=live):
            if frame.error:
                shown = problems.inputs.shown(frame.path)
                bar.write(f"{frame.fault}: {shown}: {frame.error}", file=sys.stderr)
                problems.fail(frame.path, frame.error)
            else:
                bar.update()
            if interruption.signum is not None:
                break
