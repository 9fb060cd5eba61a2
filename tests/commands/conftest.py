"""A small run of train.py that the tests of the command lines share, and its data."""

import pytest

from src.data.readers.coco_layout import coco_paths
from src.data.readers.coco_reader import read_coco
from tests.conftest import small_keys, write_recipe
from tests.datasets import write_txt, write_voc
from tests.programs import run

SHAPES = ("ellipse", "rectangle", "triangle", "cross")


@pytest.fixture(scope="session")
def recipe(shapes, tmp_path_factory):
    """A small recipe as a file, and the folder that its run goes to."""
    folder = tmp_path_factory.mktemp("commands")
    keys = {**small_keys(shapes, folder), "epoch_size": 3}
    return write_recipe(folder / "small.yaml", keys), folder / "run"


@pytest.fixture(scope="session")
def trained(recipe):
    """The folder of a run of train.py."""
    path, folder = recipe
    process = run("train.py", f"--config_path={path}", "--callbacks=[tests/told.py:Told]")
    assert process.returncode == 0, process.stderr
    return path, folder, process


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
