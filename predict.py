"""Finds objects in images and videos; `python3 predict.py --help` lists its keys."""

import sys
from functools import partial
from pathlib import Path

from src.distributed.command import run_command
from src.distributed.launch import check_launch, find_launch
from src.runtime.errors import InputError, RunError
from src.runtime.signals import Interruption


def main(argv=None, *, interruption: Interruption) -> None:
    from src.deploy.formats import format_of
    from src.prediction.recorded import device_line
    from src.prediction.sources import Video
    from src.prediction.targets import plan_targets
    from src.runtime.files import make_output_folder

    launch = find_launch()
    if launch.size > 1:
        raise InputError("predict.py runs as one process; start it without mpirun or msrun")
    cfg, inputs = parse(argv)
    check_launch(launch, cfg)
    folder = make_output_folder(cfg.output, "output")
    targets = plan_targets(folder, cfg.input, inputs)
    stream = Video(inputs.stream) if inputs.stream else None  # fails before minutes of work

    from src.distributed.join import build_device
    from src.prediction.crops import find_batch_size
    from src.prediction.detector import build_detector
    from src.prediction.job import failure_summary, predict_all

    build_device(cfg)
    cfg = cfg.replace(eval_batch_size=find_batch_size(cfg, inputs))
    detector = build_detector(cfg)
    for line in filter(None, [device_line(cfg), *inputs.lines()]):
        print(line)
    predict_all(
        detector,
        inputs,
        targets,
        folder=folder,
        min_score=max(cfg.drawn_score, cfg.score_threshold),
        compiled=format_of(cfg.model) != "ONNX",
        stream=stream,
        interruption=interruption,
    )
    interruption.check()
    if inputs.failed:
        raise RunError(failure_summary(inputs))


def parse(argv):
    """The configuration, and the Inputs that --input stands for."""
    from src.config.command_line import parse_args
    from src.prediction.exported_keys import check_exported
    from src.prediction.inputs import check_arguments

    check_arguments(sys.argv[1:] if argv is None else argv)
    found = []
    cfg = parse_args(
        __doc__,
        argv,
        program="predict",
        beneath=partial(detector_layer, found),
        over_recipe=["classes"],
    )
    if cfg.model:
        check_exported(cfg)
    return cfg, found[0]


def detector_layer(found, given):
    """The keys in the checkpoint or exported file, beneath the others; `found` gets the Inputs."""
    from src.config.keys import load_keys
    from src.deploy.formats import chosen_detector, format_of
    from src.prediction.inputs import find_inputs
    from src.prediction.recorded import detector_config, device_keys

    if not given.get("input"):
        raise InputError(
            "--input is needed: an image, a video, a folder, a pattern, a camera's number, an "
            "address or a list [a.jpg, b.mp4] of these"
        )
    output = Path(str(given.get("output", load_keys()["output"].default)))
    found.append(find_inputs(str(given["input"]), output))
    path = chosen_detector(given)
    own = {} if format_of(path) else device_keys(path, given)
    return detector_config(path) | own, path


if __name__ == "__main__":
    interruption = Interruption()
    run_command(partial(main, interruption=interruption), interruption)
