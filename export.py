"""Exports a checkpoint for deployment; `python3 export.py --help` lists every key."""

from pathlib import Path

from src.command import run_command
from src.errors import InputError
from src.launch import find_launch


def main(argv=None) -> None:
    from src.config import parse_args
    from src.files import check_file, make_output_folder
    from src.formats import SUFFIXES, description_path, format_of, write_description

    cfg = parse_args(__doc__, argv)
    if find_launch().size > 1:
        raise InputError("export.py runs as one process; start it without mpirun or msrun")
    check_file(cfg, "checkpoint_path", needed=True)
    path = Path(cfg.file_name)
    if not path.name:
        raise InputError(f"--file_name is {cfg.file_name!r}; expected the path of a file")
    if format_of(str(path)) not in ("", cfg.file_format):
        raise InputError(
            f"--file_name is {cfg.file_name}, but --file_format is {cfg.file_format}; its suffix "
            f"is {SUFFIXES[cfg.file_format]}"
        )
    if path.suffix != SUFFIXES[cfg.file_format]:
        path = path.with_name(path.name + SUFFIXES[cfg.file_format])
    make_output_folder(str(path.parent), "file_name")
    images = comparison_image(cfg)

    from src.deploy import DeployedDetector, export
    from src.detection.anchors import build_anchors
    from src.device import build_device
    from src.inference import load_network

    build_device(cfg)
    network = load_network(cfg)
    anchors = build_anchors(cfg).boxes(cfg.image_size)
    detector = DeployedDetector(network, anchors, cfg.image_size)
    differences = export(detector, images, path, cfg.file_format)
    write_description(cfg, path, len(images))
    print(f"exported {path}, with its classes and thresholds in {description_path(path).name}")
    print(f"  input: images {images.shape} uint8 RGB")
    print(f"  outputs: boxes {(1, len(anchors), 4)} float32 in pixels of the input")
    print(f"           scores {(1, len(anchors), network.num_classes)} float32")
    print(
        "  largest difference of the file from the network: "
        f"boxes {differences['boxes']:.3g} pixels, scores {differences['scores']:.3g}"
    )


def comparison_image(cfg):
    """The image (1,S,S,3) uint8 that the exported file is compared on."""
    from src.data.dataset import build_annotations
    from src.data.images import read_image
    from src.data.transforms import fit_image
    from src.files import check_file

    if cfg.export_image:
        check_file(cfg, "export_image")
        path = Path(cfg.export_image)
    else:
        try:
            path = build_annotations(cfg, training=False)[0].path
        except InputError as error:
            raise InputError(
                f"{error}; or name an image to compare the file on with --export_image"
            ) from None
    keep_aspect = cfg.resize == "letterbox"
    return fit_image(read_image(path), cfg.image_size, keep_aspect=keep_aspect)[0][None]


if __name__ == "__main__":
    run_command(main)
