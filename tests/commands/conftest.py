"""A small run of train.py that the tests of the command lines share, and its data.

Tests that use it need `narrow`, as the run does.
"""

from pathlib import Path

import pytest

from src.data.readers.coco_layout import coco_paths
from src.data.readers.coco_reader import read_coco
from tests.conftest import made_once, narrowed, small_keys, write_recipe
from tests.datasets import write_txt, write_voc
from tests.programs import call, checkpoint, run

SHAPES = ("ellipse", "rectangle", "triangle", "cross")


@pytest.fixture(scope="session")
def recipe(shapes, tmp_path_factory):
    """A small recipe as a file, and the folder that its run goes to."""

    def write(folder: Path) -> None:
        keys = {"epoch_size": 3, "freeze_backbone_stages": 3}  # which compiles faster
        keys = {**small_keys(shapes, folder), **keys}
        write_recipe(folder / "small.yaml", keys)

    folder = made_once(tmp_path_factory, "commands", write)
    return folder / "small.yaml", folder / "run"


@pytest.fixture(scope="session")
def trained(recipe, tmp_path_factory):
    """The recipe, the folder of its run of train.py, and what the run printed."""
    path, run_folder = recipe

    def train(folder: Path) -> None:
        with narrowed():
            process = run("train.py", f"--config_path={path}", "--callbacks=[tests/told.py:Told]")
        assert process.returncode == 0, process.stderr
        (folder / "printed.txt").write_text(process.stdout)

    folder = made_once(tmp_path_factory, "commands_printed", train)
    return path, run_folder, (folder / "printed.txt").read_text()


@pytest.fixture(scope="session")
def exported(trained, tmp_path_factory):
    """An ONNX file without suppression of the run's best checkpoint, and what was printed."""

    def export(folder: Path) -> None:
        flags = [checkpoint(trained), "--file_format=ONNX", "--nms=False", "--export_batch=0"]
        with narrowed():
            printed = call("export", *flags, f"--file_name={folder / 'a.onnx'}")
        (folder / "printed.txt").write_text(printed)

    folder = made_once(tmp_path_factory, "commands_exported", export)
    return folder / "a.onnx", (folder / "printed.txt").read_text()


@pytest.fixture(scope="session")
def formats(shapes, tmp_path_factory):
    """The flags that read the shapes as a text file and as Pascal VOC's folders."""
    folder = tmp_path_factory.mktemp("formats")
    for split, voc_split in (("train2017", "trainval"), ("val2017", "test")):
        path, image_dir = coco_paths(str(shapes), split)
        annotations, _ = read_coco(path, image_dir, ("background", *SHAPES))
        write_txt(annotations, folder / f"{split}.txt")
        write_voc(annotations, folder / "VOC", voc_split, SHAPES)
        for image in image_dir.iterdir():
            (folder / "images").mkdir(exist_ok=True)
            (folder / "images" / image.name).write_bytes(image.read_bytes())
    return {
        "other": [
            "--dataset=other",
            f"--image_dir={folder / 'images'}",
            f"--anno_path={folder / 'train2017.txt'}",
            f"--val_anno_path={folder / 'val2017.txt'}",
        ],
        "voc": [
            "--dataset=voc",
            f"--voc_root={folder / 'VOC'}",
            "--train_split=trainval",
            "--val_split=test",
        ],
    }
