"""Finds objects in images and videos; `python3 predict.py --help` lists every key."""

import os
import sys
import time
from pathlib import Path

from src.command import run_command
from src.errors import InputError, RunError
from src.launch import find_launch


def main(argv=None) -> None:
    from src.config import parse_args
    from src.files import JsonList, make_output_folder
    from src.prediction.sinks import Pictures, VideoFile
    from src.prediction.sources import Video, find_inputs, read_images

    if find_launch().size > 1:
        raise InputError("predict.py runs as one process; start it without mpirun or msrun")
    cfg = parse_args(__doc__, argv, beneath=what_the_detector_says)
    images, videos = find_inputs(cfg.input)
    folder = make_output_folder(cfg.output, "output")
    pictures = Pictures(folder, images)
    movies = [(path, VideoFile(folder, path)) for path in videos]

    from src.detector import build_detector
    from src.device import build_device
    from src.prediction.run import Recorder

    build_device(cfg)
    if not videos:
        cfg = cfg.replace(eval_batch_size=min(cfg.eval_batch_size, len(images)))
    detector = build_detector(cfg)
    started, bad, frames = time.perf_counter(), 0, 0
    with JsonList(folder / "predictions.json") as results:
        recorder = Recorder(results, detector.names, cfg.drawn_score)
        if images:
            use = recorder.into(pictures)
            bad += watch(detector, read_images(images), use, len(images), "image")
        for path, movie in movies:
            try:
                video = Video(path)
            except InputError as error:
                print(f"passed over: {error}", file=sys.stderr)
                bad += 1
                continue
            movie.rate = video.rate
            use = recorder.into(movie, video.rate)
            bad += watch(detector, video, use, video.frames, "frame")
            movie.close()
        frames = results.count
    tell(recorder, frames, time.perf_counter() - started, folder, cfg.drawn_score)
    if bad:
        raise RunError(f"{bad} of {len(images) + len(videos)} files could not be read")


def what_the_detector_says(given) -> tuple[dict, str]:
    """The keys that a checkpoint or an exported file holds, which recipe and flags override."""
    from src.formats import SUFFIXES, format_of
    from src.prediction.sources import find_inputs

    model, checkpoint = (str(given.get(key) or "") for key in ("model", "checkpoint_path"))
    if not given.get("input"):
        raise InputError("--input is needed: an image, a folder, a pattern or a video")
    find_inputs(str(given["input"]))  # before MindSpore is imported
    if not (model or checkpoint):
        raise InputError("--checkpoint_path is needed, or --model with an exported detector")
    if model and not format_of(model):
        expected = " or ".join(SUFFIXES.values())
        raise InputError(f"{model}: expected {expected}; a checkpoint goes to --checkpoint_path")
    path = model or checkpoint
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file")

    from src.detector import described

    return described(path), path


def watch(detector, frames, use, count: int, unit: str) -> int:
    """Predicts with a progress bar; returns how many frames could not be read."""
    from tqdm import tqdm

    from src.prediction.run import predict

    bad = 0
    with tqdm(total=count or None, unit=unit, file=sys.stderr) as bar:
        for frame in predict(detector, frames, use):
            bar.update()
            if frame.error:
                bar.write(f"passed over: {frame.error}", file=sys.stderr)
                bad += 1
    return bad


def tell(recorder, frames: int, seconds: float, folder: Path, least: float) -> None:
    """Prints what was found, how fast, and where it is."""
    counts = ", ".join(f"{count:,} {name}" for name, count in recorder.objects.most_common())
    found = sum(recorder.objects.values())
    print(
        f"{frames:,} images in {seconds:.1f} s, {frames / seconds:.2f} a second, the first one's "
        f"compilation included\n{found:,} objects with a score of at least {least:g}"
        + (f": {counts}" if counts else "")
        + f"\npictures and predictions.json: {folder}"
    )


if __name__ == "__main__":
    run_command(main)
