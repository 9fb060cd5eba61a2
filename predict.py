"""Finds objects in images and videos; `python3 predict.py --help` lists every key."""

import sys
import time
from functools import partial
from pathlib import Path

from src.distributed.command import run_command
from src.distributed.launch import check_launch, find_launch
from src.runtime.errors import InputError, RunError
from src.runtime.signals import Interruption


def main(argv=None, *, interruption: Interruption) -> None:
    from src.config.command_line import parse_args
    from src.deploy.formats import format_of
    from src.prediction.sinks import plan_targets, write_picture
    from src.prediction.sources import find_inputs, read_images
    from src.runtime.files import JsonList, make_output_folder

    launch = find_launch()
    if launch.size > 1:
        raise InputError("predict.py runs as one process; start it without mpirun or msrun")
    cfg = parse_args(__doc__, argv, beneath=detector_layer)
    check_launch(launch, cfg)
    folder = make_output_folder(cfg.output, "output")
    images, videos = find_inputs(cfg.input, folder)
    targets = plan_targets(folder, cfg.input, [*images, *videos])

    from src.distributed.join import build_device
    from src.prediction.detector import build_detector
    from src.prediction.run import Recorder

    build_device(cfg)
    if not videos:
        cfg = cfg.replace(eval_batch_size=min(cfg.eval_batch_size, len(images)))
    detector = build_detector(cfg)
    started, failed = time.perf_counter(), set()
    interruption.deferred = True  # finished predictions are kept
    with JsonList(folder / "predictions.json") as results:
        recorder = Recorder(results, detector.names, max(cfg.drawn_score, cfg.score_threshold))
        if images:
            callback = recorder.callback(partial(write_picture, targets))
            frames = read_images(images)
            failed |= predict_with_progress(detector, frames, callback, len(images), interruption)
        for path in videos:
            if interruption.signum is not None:
                break
            failed |= predict_video(detector, recorder, path, targets[path], interruption)
        interruption.deferred = False
        if failed and not results.count:
            raise RunError(f"none of {len(targets)} files could be read")
    compiled = format_of(cfg.model) != "ONNX"
    print(recorder.summary(time.perf_counter() - started, compiled=compiled))
    print(f"pictures and predictions.json: {folder}")
    interruption.check()
    if failed:
        raise RunError(f"{len(failed)} of {len(targets)} files could not be read completely")


def detector_layer(given):
    """The keys in the checkpoint or exported file, as a layer below recipe and flags.

    Raises:
        InputError: input or detector is missing or invalid; before MindSpore is imported.
    """
    from src.config.keys import load_keys
    from src.deploy.formats import chosen_detector
    from src.prediction.sources import find_inputs

    if not given.get("input"):
        raise InputError("--input is needed: an image, a folder, a pattern or a video")
    find_inputs(str(given["input"]), Path(str(given.get("output", load_keys()["output"].default))))
    path = chosen_detector(given)

    from src.prediction.detector import detector_config

    return detector_config(path), path


def predict_video(
    detector, recorder, path: Path, target: Path, interruption: Interruption
) -> set[Path]:
    """Predicts on a video; returns its path if it could not be read completely."""
    from src.prediction.sinks import VideoFile
    from src.prediction.sources import Video

    try:
        video = Video(path)
    except InputError as error:
        print(f"skipped: {error}", file=sys.stderr)
        return {path}
    with VideoFile(target, video.rate) as movie:
        callback = recorder.callback(movie.write, video.rate)
        return predict_with_progress(detector, video, callback, video.frames, interruption)


def predict_with_progress(
    detector, frames, callback, count: int, interruption: Interruption
) -> set[Path]:
    """Predicts with a progress bar; returns the files that could not be read completely."""
    from tqdm import tqdm

    from src.prediction.run import predict

    failed = set()
    with tqdm(total=count or None, unit="image", file=sys.stderr) as bar:
        for frame in predict(detector, frames, callback):
            if frame.error:
                how = "partly read" if frame.number else "skipped"
                bar.write(f"{how}: {frame.error}", file=sys.stderr)
                failed.add(frame.path)
            else:
                bar.update()
            if interruption.signum is not None:
                break
    return failed


if __name__ == "__main__":
    interruption = Interruption()
    run_command(partial(main, interruption=interruption), interruption)
