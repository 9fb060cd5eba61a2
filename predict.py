"""Finds objects in images and videos; `python3 predict.py --help` lists every key."""

import sys
import time
from pathlib import Path

from src.command import run_command
from src.errors import InputError, RunError
from src.launch import find_launch


def main(argv=None) -> None:
    from src.config import parse_args
    from src.files import JsonList, make_output_folder
    from src.prediction.sinks import Pictures, VideoFile, plan_targets
    from src.prediction.sources import Video, find_inputs, read_images

    if find_launch().size > 1:
        raise InputError("predict.py runs as one process; start it without mpirun or msrun")
    cfg = parse_args(__doc__, argv, beneath=what_the_detector_says)
    folder = make_output_folder(cfg.output, "output")
    images, videos = find_inputs(cfg.input, folder)
    targets = plan_targets(folder, cfg.input, [*images, *videos])

    from src.detector import build_detector
    from src.device import build_device
    from src.prediction.run import Recorder

    build_device(cfg)
    if not videos:
        cfg = cfg.replace(eval_batch_size=min(cfg.eval_batch_size, len(images)))
    detector = build_detector(cfg)
    started, bad = time.perf_counter(), set()
    with JsonList(folder / "predictions.json") as results:
        recorder = Recorder(results, detector.names, cfg.drawn_score)
        if images:
            use = recorder.into(Pictures(targets))
            bad |= watch(detector, read_images(images), use, len(images), "image")
        for path in videos:
            try:
                video = Video(path)
            except InputError as error:
                print(f"passed over: {error}", file=sys.stderr)
                bad.add(path)
                continue
            with VideoFile(targets[path], video.rate) as movie:
                use = recorder.into(movie, video.rate)
                bad |= watch(detector, video, use, video.frames, "frame")
    print(recorder.summary(time.perf_counter() - started))
    print(f"pictures and predictions.json: {folder}")
    if bad:
        raise RunError(f"{len(bad)} of {len(targets)} files could not be read, or not wholly")


def what_the_detector_says(given) -> tuple[dict, str]:
    """The keys that a checkpoint or an exported file holds, which recipe and flags override."""
    from src.config import load_keys
    from src.formats import SUFFIXES, check_detector, format_of
    from src.prediction.sources import find_inputs

    model, checkpoint = (str(given.get(key) or "") for key in ("model", "checkpoint_path"))
    if not given.get("input"):
        raise InputError("--input is needed: an image, a folder, a pattern or a video")
    output = given.get("output", load_keys()["output"].default)
    find_inputs(str(given["input"]), Path(str(output)))  # before MindSpore is imported
    if model and checkpoint:
        raise InputError("--checkpoint_path and --model are both given; expected one of them")
    if not (model or checkpoint):
        raise InputError("--checkpoint_path is needed, or --model with an exported detector")
    if model and not format_of(model):
        expected = " or ".join(SUFFIXES.values())
        raise InputError(f"{model}: expected {expected}; a checkpoint goes to --checkpoint_path")
    path = model or checkpoint
    check_detector(path)

    from src.detector import described

    return described(path), path


def watch(detector, frames, use, count: int, unit: str) -> set[Path]:
    """Predicts with a progress bar; returns the files of which something could not be read."""
    from tqdm import tqdm

    from src.prediction.run import predict

    bad = set()
    with tqdm(total=count or None, unit=unit, file=sys.stderr) as bar:
        for frame in predict(detector, frames, use):
            if frame.error:
                bar.write(f"passed over: {frame.error}", file=sys.stderr)
                bad.add(frame.path)
            else:
                bar.update()
    return bad


if __name__ == "__main__":
    run_command(main)
