"""Evaluation from Python: `evaluate` of a notebook or program, which eval.py is too."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config.command_line import python_config
from src.config.configuration import Config, Layer
from src.distributed.command import start_in_python
from src.distributed.launch import Launch, check_launch
from src.runtime.signals import Interruption

if TYPE_CHECKING:
    from src.data.annotations import Annotations
    from src.distributed.ranks import Ranks
    from src.evaluation.detect import SplitDetections


@dataclass(frozen=True)
class Results:
    """What an evaluation found.

    Attributes:
        folder: with detections.json and report/.
        metrics: AP, AP50 and the others by COCO's names; nan where no object counts.
        losses: "loss" and its terms over the images; none of an exported file.
        by_class: of each metric, the value of each class.
        report: the page, if one is written.
    """

    folder: Path
    metrics: dict[str, float]
    by_class: dict[str, dict[str, float]]
    report: Path | None
    losses: dict[str, float]


def evaluate(checkpoint: str | Path, config: str | Path | None = None, **keys) -> Results:
    """Evaluates a detector as eval.py does, in this process.

    Args:
        checkpoint: of a training run, or an exported .mindir or .onnx file.
        config: recipe file.
        keys: of config/default.yaml, which override the recipe's.

    Raises:
        InputError: bad keys, files or data.
    """
    from src.deploy.formats import format_of

    launch = start_in_python("evaluate()", "eval.py")
    which = "model" if format_of(str(checkpoint)) else "checkpoint_path"
    with Interruption().handled():
        cfg = python_config(
            config,
            {**keys, which: checkpoint},
            where="evaluate()",
            beneath=recorded_layer,
            over_recipe=["classes"],
        )
        if "compile_cache" not in keys:  # its graphs are known by their number in the process
            cfg = cfg.replace(compile_cache=False)
        return run_evaluation(cfg, launch)


def run_evaluation(cfg: Config, launch: Launch) -> Results:
    """Checks all input, evaluates, prints and writes."""
    from src.data.classes import with_classes
    from src.data.dataset import build_annotations, find_source
    from src.deploy.formats import chosen_detector
    from src.evaluation.coco_metric import ground_truth
    from src.evaluation.comparison import find_evaluation, read_other
    from src.evaluation.protocol import build_protocol
    from src.prediction.exported_keys import check_exported
    from src.prediction.recorded import naming_the_detector
    from src.runtime.cards import check_cards
    from src.runtime.files import make_output_folder
    from src.training.callbacks.loading import load_callbacks

    check_launch(launch, cfg)
    if cfg.against and launch.is_main:
        find_evaluation(Path(cfg.against))
    chosen_detector(cfg)
    if cfg.model:
        check_exported(cfg)
    protocol = build_protocol(cfg)
    callbacks = load_callbacks(cfg.callbacks) if launch.is_main else []
    folder = make_output_folder(cfg.output_path) if launch.is_main else Path(cfg.output_path)
    with naming_the_detector(cfg):
        find_source(cfg, training=False)
        check_cards(cfg.device_target)
        cfg = with_classes(cfg, print if launch.is_main else lambda line: None)
        split = build_annotations(cfg, training=False)
    annotations = protocol.images_of(split)
    title = title_of(cfg, split, len(annotations))
    other = None
    if cfg.against and launch.is_main:  # before minutes of work
        other = read_other(cfg.against, ground_truth(annotations, cfg.classes))

    from src.distributed.join import build_device
    from src.evaluation.outputs import write_outputs
    from src.training.callbacks.evaluated import tell_evaluation

    ranks = build_device(cfg, launch)
    if ranks.is_main:
        print_task(cfg, split, annotations)
    found = detect_in(cfg, annotations, ranks)

    def finish() -> Results:
        metrics, page = write_outputs(cfg, title, annotations, found, folder, other)
        if callbacks:
            tell_evaluation(callbacks, cfg, metrics, found.losses, page, folder)
        return Results(folder, metrics.overall, metrics.by_class, page, found.losses)

    return ranks.on_main(finish)


def print_task(cfg: Config, split: "Annotations", annotations: "Annotations") -> None:
    """Prints the device, the split, and the views and tiles of the images that count."""
    from src.detection.tiles import build_tiling, describe_tiles
    from src.prediction.inference import describe_views
    from src.prediction.recorded import device_line

    print(*filter(None, [device_line(cfg), split.summary()]), sep="\n")
    print(describe_views(cfg))
    if cfg.tiles:
        print(describe_tiles(build_tiling(cfg), annotations.sizes))


def title_of(cfg: Config, split: "Annotations", counting: int) -> str:
    """Which detector is evaluated on how many images of a split, and how."""
    from src.evaluation.protocol import build_protocol, unusual_settings

    images = f"{counting} of {len(split)}" if counting < len(split) else len(split)
    where = f"{cfg.model or cfg.checkpoint_path} on {split.source}"
    return f"{where}: {images} images, {build_protocol(cfg)}{unusual_settings(cfg)}"


def detect_in(cfg: Config, annotations: "Annotations", ranks: "Ranks") -> "SplitDetections":
    """What the detector finds in a split; prints how long it took."""
    from src.detection.postprocess import build_postprocessor
    from src.evaluation.compiling import compile_model
    from src.evaluation.detect import detect_with
    from src.evaluation.protocol import build_protocol
    from src.evaluation.split_loss import build_split_model
    from src.prediction.network_model import load_network
    from src.weights.checkpoint_config import recorded_config

    network, model = None, None
    if not cfg.model:
        network = load_network(cfg)
        if "class_loss" not in recorded_config(cfg.checkpoint_path):  # as of converted ones
            cfg = cfg.replace(eval_loss=False)
        postprocess = build_postprocessor(cfg, **build_protocol(cfg).limits())
        model = build_split_model(cfg, network, annotations, postprocess)
        compile_model(cfg, model, ranks)
    started = time.perf_counter()
    found = detect_with(network, cfg, annotations, ranks=ranks, model=model)
    if ranks.is_main:
        seconds = time.perf_counter() - started
        print(f"{seconds:.1f} s for detection, {len(annotations) / seconds:.2f} images/s")
    return found


def recorded_layer(given: Mapping[str, Any]) -> Layer:
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
