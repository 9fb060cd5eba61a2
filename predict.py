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
    from src.prediction.problems import Problems
    from src.prediction.sources import Video
    from src.prediction.targets import plan_targets
    from src.runtime.files import make_output_folder

    launch = find_launch()
    if launch.size > 1:
        raise InputError("predict.py runs as one process; start it without mpirun or msrun")
    found = []
    cfg = parse_args(__doc__, argv, beneath=partial(detector_layer, found), over_recipe=["classes"])
    (inputs,) = found
    check_launch(launch, cfg)
    folder = make_output_folder(cfg.output, "output")
    targets = plan_targets(folder, cfg.input, inputs)
    stream = Video(inputs.stream) if inputs.stream else None  # fails before minutes of work

    from tqdm import tqdm

    from src.distributed.join import build_device
    from src.prediction.detector import build_detector

    build_device(cfg)
    if not inputs.videos:
        most = 1 if stream else len(inputs.images)  # a stream's frames are not waited for
        cfg = cfg.replace(eval_batch_size=min(cfg.eval_batch_size, most))
    detector = build_detector(cfg, partial(tqdm.write, file=sys.stderr))  # beside the bar
    for line in inputs.lines():
        print(line)
    problems = Problems(inputs)
    predict_all(cfg, detector, folder, problems, targets, stream, interruption)
    interruption.check()
    if problems.failed:
        raise RunError(problems.summary())


def detector_layer(found, given):
    """The keys in the checkpoint or exported file, as a layer below recipe and flags.

    Args:
        found: list, which gets the Inputs that --input stands for.

    Raises:
        InputError: input or detector is missing or invalid; before MindSpore is imported.
    """
    from src.config.keys import load_keys
    from src.deploy.formats import chosen_detector
    from src.prediction.inputs import find_inputs

    if not given.get("input"):
        raise InputError(
            "--input is needed: an image, a video, a folder, a pattern, a camera's number or an "
            "address"
        )
    output = Path(str(given.get("output", load_keys()["output"].default)))
    found.append(find_inputs(str(given["input"]), output))
    path = chosen_detector(given)

    from src.prediction.detector import detector_config

    return detector_config(path), path


def predict_all(cfg, detector, folder, problems, targets, stream, interruption) -> None:
    """Predicts on all inputs; writes predictions.json, and problems.json if there are any."""
    from src.deploy.formats import format_of
    from src.prediction.problems import FILE
    from src.prediction.run import Recorder, naming_what_is_kept
    from src.prediction.sinks import write_picture
    from src.prediction.sources import read_images
    from src.runtime.files import JsonList

    inputs, started = problems.inputs, time.perf_counter()
    interruption.deferred = True  # finished predictions are kept
    results = JsonList(folder / "predictions.json", keep=True)
    with naming_what_is_kept(results), results:
        recorder = Recorder(results, detector.names, max(cfg.drawn_score, cfg.score_threshold))
        run = partial(predict_with_progress, detector, problems, interruption)
        if inputs.images:
            callback = recorder.callback(partial(write_picture, targets))
            images = detector.grouped(inputs.images)
            run(read_images(images), callback, len(images))
        for source in inputs.videos or inputs.stream and [inputs.stream]:
            if interruption.signum is None:
                predict_video(run, recorder, problems, source, targets[source], stream)
        interruption.deferred = False
        if problems.failed and not results.count:
            raise RunError(problems.summary())
    compiled = format_of(cfg.model) != "ONNX"
    print(recorder.summary(time.perf_counter() - started, compiled=compiled))
    is_written = problems.write(folder)
    print(f"pictures, predictions.json{f', {FILE}' * is_written}: {folder}")


def predict_video(run, recorder, problems, source, target: Path, stream) -> None:
    """Predicts on a video, or on the open stream."""
    from src.prediction.sinks import VideoFile
    from src.prediction.sources import Video

    try:
        video = stream or Video(source)
    except InputError as error:
        print(f"skipped: {error}", file=sys.stderr)
        problems.fail(source, str(error))
        return
    with VideoFile(target, video.rate, live=video.live) as movie:
        run(video, recorder.callback(movie.write), video.frames, live=video.live)
    if movie.error:
        print(f"not written: {movie.error}", file=sys.stderr)
        problems.fail(video.name, movie.error)


def predict_with_progress(
    detector, problems, interruption, frames, callback, count: int, *, live: bool = False
) -> None:
    """Predicts with a progress bar; tells and notes what fails."""
    from tqdm import tqdm

    from src.prediction.run import predict

    total = count or None
    with tqdm(total=total, unit="image", file=sys.stderr, disable=None) as bar:  # on terminals
        for frame in predict(detector, frames, callback, live=live):
            if frame.error:
                bar.write(f"{frame.fault}: {frame.error}", file=sys.stderr)
                problems.fail(frame.path, frame.error)
            else:
                bar.update()
            if interruption.signum is not None:
                break


if __name__ == "__main__":
    interruption = Interruption()
    run_command(partial(main, interruption=interruption), interruption)
