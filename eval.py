"""Evaluates a checkpoint or exported file by COCO's metric; `eval.py --help` lists its keys."""

import time
from pathlib import Path

from src.distributed.command import run_command
from src.distributed.launch import check_launch, find_launch


def main(argv=None) -> None:
    from src.config.command_line import parse_args
    from src.data.classes import with_classes
    from src.data.dataset import build_annotations, find_source
    from src.deploy.formats import chosen_detector
    from src.evaluation.protocol import build_protocol, unusual_settings
    from src.prediction.recorded import device_line, naming_the_classes, naming_the_run
    from src.runtime.cards import check_cards
    from src.runtime.files import make_output_folder
    from src.training.callbacks.loading import load_callbacks

    launch = find_launch()
    cfg = parse_args(
        __doc__,
        argv,
        program="eval",
        beneath=recorded_layer,
        over_recipe=["classes"],
        quiet=not launch.is_main,
    )
    check_launch(launch, cfg)
    chosen_detector(cfg)
    callbacks = load_callbacks(cfg.callbacks) if launch.is_main else []
    folder = make_output_folder(cfg.output_path) if launch.is_main else Path(cfg.output_path)
    with naming_the_run(cfg):
        find_source(cfg, training=False)
    check_cards(cfg.device_target)
    cfg = with_classes(cfg, print if launch.is_main else lambda line: None)
    with naming_the_classes(cfg):
        split = build_annotations(cfg, training=False)
    protocol = build_protocol(cfg)
    annotations = protocol.images_of(split)
    counted = f"{len(annotations)} of {len(split)}" if len(annotations) < len(split) else len(split)
    title = f"{cfg.model or cfg.checkpoint_path} on {split.source}: {counted} images, {protocol}"
    title += unusual_settings(cfg)
    other = None
    if cfg.against and launch.is_main:  # before minutes of detection
        from src.evaluation.against import read_other
        from src.evaluation.coco_metric import ground_truth

        other = read_other(cfg.against, ground_truth(annotations, cfg.classes))

    from src.distributed.join import build_device
    from src.evaluation.detect import detect_with
    from src.evaluation.outputs import write_outputs
    from src.prediction.inference import describe_views
    from src.prediction.network_model import load_network
    from src.training.callbacks.evaluated import tell_evaluation

    ranks = build_device(cfg, launch)
    if ranks.is_main:
        print(*filter(None, [device_line(cfg), split.summary()]), sep="\n")
        print(describe_views(cfg))
    network = None if cfg.model else load_network(cfg)
    started = time.perf_counter()
    found = detect_with(network, cfg, annotations, ranks=ranks)
    if ranks.is_main:
        seconds = time.perf_counter() - started
        print(f"{seconds:.1f} s for detection, {len(annotations) / seconds:.2f} images/s")

    def finish() -> None:
        metrics, page = write_outputs(cfg, title, annotations, found, folder, other)
        if callbacks:
            tell_evaluation(callbacks, cfg, metrics, page, folder)

    ranks.on_main(finish)


def recorded_layer(given):
    """The keys in the checkpoint or exported file, as a layer below recipe and flags."""
    from src.deploy.formats import chosen_detector, read_description
    from src.evaluation.protocol import LIMITS
    from src.prediction.recorded import device_keys, evaluation_folder, evaluation_layer

    if not given.get("model"):
        keys, path = evaluation_layer(str(given.get("checkpoint_path") or ""), given)
        keys |= device_keys(path, given) | evaluation_folder(path, given)
        if given.get("protocol") == "legacy":
            keys = {key: value for key, value in keys.items() if key not in LIMITS}
        return keys, path
    path = chosen_detector(given)
    return read_description(Path(path)), path


if __name__ == "__main__":
    run_command(main)
