"""Exports a checkpoint for deployment; `python3 export.py --help` lists its keys."""

from functools import partial
from pathlib import Path

from src.distributed.command import run_command
from src.distributed.launch import find_launch
from src.runtime.errors import InputError
from src.runtime.signals import Interruption


def main(argv=None, *, interruption: Interruption) -> None:
    from src.config.command_line import parse_args
    from src.deploy.export_request import comparison_images, target_path, with_format
    from src.deploy.formats import check_detector, describe
    from src.deploy.quantized_export import build_conversion
    from src.prediction.recorded import device_line, export_layer, naming_the_detector
    from src.runtime.files import check_file

    if find_launch().size > 1:
        raise InputError("export.py runs as one process; start it without mpirun or msrun")

    cfg = parse_args(__doc__, argv, program="export", beneath=export_layer, over_recipe=["classes"])
    cfg = with_format(cfg)
    check_file(cfg, "checkpoint_path", needed=True)
    check_detector(cfg.checkpoint_path)
    path = target_path(cfg)
    convert = build_conversion(cfg, interruption)
    with naming_the_detector(cfg):
        images = comparison_images(cfg)

    from src.deploy.exporter import Exporter, run_network, temporary_folder
    from src.detection.anchors import build_anchors
    from src.distributed.join import build_device
    from src.models.card_fit import advice_after_forward
    from src.models.folding import fold_norms
    from src.prediction.network_model import load_network
    from src.runtime.device import use_full_float32
    from src.runtime.out_of_memory import with_memory_advice
    from src.weights.checkpoint_file import read_checkpoint

    if line := device_line(cfg):
        print(line)
    build_device(cfg)
    use_full_float32(cfg.device_target)  # as elsewhere
    anchors = build_anchors(cfg).boxes(cfg.image_size)
    exporter = Exporter(anchors, describe(cfg), cfg.winograd)
    cfg = cfg.replace(precision="float32")  # users of the file may choose another
    with with_memory_advice(partial(advice_after_forward, cfg, "export_batch")):
        load = partial(load_network, cfg, read_checkpoint(cfg.checkpoint_path))
        expected = run_network(load(), images, cfg.checkpoint_path)

        def make_network():
            return fold_norms(load()) if cfg.fold_norms else load()

        interruption.unfinished.append(temporary_folder(path))
        result = exporter.export(make_network, expected, path, cfg.file_format, convert)
    print(report(cfg, path, result, len(images)))


def report(cfg, path: Path, result, images: int) -> str:
    """The result as text for the user."""
    from src.deploy.export_request import one_canvas
    from src.deploy.formats import description_path

    batch, rows = cfg.export_batch or "N", result.rows
    height, width = cfg.image_size
    what = "detections" if cfg.nms else "candidates"
    where = "its metadata" if cfg.file_format == "ONNX" else description_path(path).name
    lines = [
        f"exported {path}, with its classes and thresholds in {where}",
        f"input: images ({batch},{height},{width},3) uint8 RGB",
        f"outputs, the best {what} of each image first:",
        f"  boxes ({batch},{rows},4) float32, x1 y1 x2 y2 in pixels of the input",
        f"  scores ({batch},{rows}) float32",
        f"  labels ({batch},{rows}) int32",
    ]
    if cfg.resize == "short_side" and height != width:
        lines.append(one_canvas(height, width))
    found = result.comparison
    if result.by_candidates:
        what = "candidates"
        lines.append(
            f"nothing in the images has a score above {cfg.score_threshold:g}, so the candidates "
            "for suppression were compared; give other images with --export_image"
        )
    if found is None:
        lines.append("not compared with the network: AIR files cannot be run here")
    else:
        lines.append(
            f"compared with the network on {images} images: {found.compared} {what} equal, "
            f"within {found.boxes:.2g} pixels and {found.scores:.2g} in score"
        )
    return "\n".join([*lines, *result.notes])


if __name__ == "__main__":
    interruption = Interruption()
    run_command(partial(main, interruption=interruption), interruption)
