"""What build_annotations does for every run: find, read or take from the cache, check."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.config.keys import load_keys
from src.data import dataset
from src.data.dataset import CACHE_FOLDER, build_annotations, find_source
from src.data.problems import Problems
from src.data.readers.building import Builder
from src.data.synthetic import write_dataset
from src.runtime.errors import InputError
from tests.conftest import REPOSITORY

ARRAYS = ("file_names", "image_ids", "sizes", "offsets", "boxes", "labels", "crowd")


@pytest.fixture
def own(small, tmp_path):
    """The small configuration on a data set that a test may change."""
    write_dataset(tmp_path / "own", train=12, val=4, seed=5)
    return small.replace(coco_root=str(tmp_path / "own"))


@pytest.fixture
def reads(monkeypatch):
    """A list that grows by one format with every time that annotations are parsed."""
    found = []
    read = dataset.Source.read

    def count(self):
        found.append(self.format)
        return read(self)

    monkeypatch.setattr(dataset.Source, "read", count)
    return found


def entries(cfg):
    return sorted((Path(cfg.output_path).parent / CACHE_FOLDER).glob("*.npz"))


def assert_same(one, other):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype
    for name in (
        "source",
        "image_dir",
        "category_ids",
        "regions",
        "id_kind",
        "repairs",
        "repair_lines",
    ):
        assert getattr(one, name) == getattr(other, name)


def edit(cfg, change):
    """Changes the content of the training annotations in place."""
    path = Path(cfg.coco_root) / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_second_read_comes_from_the_cache(own, reads):
    edit(own, lambda c: c["annotations"][0].update(bbox=[-5, 0, 90, 90]))
    first, second = (build_annotations(own, training=True) for _ in range(2))
    assert reads == ["coco"]
    assert first.repairs == {"box clipped to the image": 1}
    assert_same(first, second)
    assert first.summary() == second.summary()
    (entry,) = entries(own)
    assert entry.parent.parent == Path(own.output_path).parent
    # and is what it takes to share it: arrays alone
    buffers = []
    assert len(pickle.dumps(second, protocol=5, buffer_callback=buffers.append)) < 5000
    assert len(buffers) == len(ARRAYS)


def test_objects_of_the_file_are_kept_for_the_metric_alone(own, reads):
    edit(own, lambda c: c["annotations"][0].update(bbox=[-5, 0.1, 90, 90], area=70.5))
    evaluated = own.replace(val_split="train2017")
    first, second = (build_annotations(evaluated, training=False) for _ in range(2))
    trained = build_annotations(own, training=True)
    assert reads == ["coco", "coco"]  # the second of three comes from the cache
    np.testing.assert_array_equal(first.truth, second.truth)
    assert first.truth.dtype == second.truth.dtype
    assert first.truth["box"][0].tolist() == [-5, 0.1, 90, 90]
    assert first.truth["area"][0] == 70.5
    assert trained.truth is None
    # of a part of the split those of its images, in the file's order
    part = first.take(np.array([4, 0]))
    ids = first.truth["image_id"]
    np.testing.assert_array_equal(part.objects(), first.truth[(ids == 4) | (ids == 0)])
    # without those of the file, the repaired boxes
    assert trained.objects()["box"][0].tolist() == [0, np.float32(0.1), 85, 90]


def test_every_format_of_the_configuration_has_a_reader(own):
    keys = load_keys()
    assert keys["dataset"].spec == "one of " + ", ".join(dataset.READERS)
    assert all(reader.key in keys for reader in dataset.READERS.values())


def test_another_content_or_config_is_read_again(own, reads):
    build_annotations(own, training=True)
    edit(own, lambda c: c["annotations"].pop())
    shorter = build_annotations(own, training=True)
    build_annotations(own.replace(unlisted_classes="drop"), training=True)
    others = ["background", "cross", "ellipse", "rectangle", "triangle"]
    reordered = build_annotations(own.replace(classes=others), training=True)
    build_annotations(own, training=False)
    assert len(reads) == len(entries(own)) == 5
    assert (shorter.labels != reordered.labels).all()
    # what does not shape the arrays does not matter
    build_annotations(own.replace(keep_empty=False, seed=7), training=True)
    assert len(reads) == 5


def test_damaged_entry_is_replaced(own, reads):
    build_annotations(own, training=True)
    (entry,) = entries(own)
    whole = entry.read_bytes()
    for damage in (b"", whole[:100], whole[: len(whole) // 2], b"x" * len(whole)):
        entry.write_bytes(damage)
        build_annotations(own, training=True)
        assert entry.read_bytes() == whole
    assert len(reads) == 5


def test_nothing_is_saved_in_a_folder_that_cannot_be_written_to(own, reads):
    (Path(own.output_path).parent / CACHE_FOLDER).write_text("a file in its place")
    build_annotations(own, training=True)
    build_annotations(own, training=True)
    assert len(reads) == 2


def test_errors_are_not_cached(own, reads):
    edit(own, lambda c: c["annotations"][0].update(bbox=None))
    for _ in range(2):
        with pytest.raises(InputError, match="annotation entry 0"):
            build_annotations(own, training=True)
    assert len(reads) == 2
    assert entries(own) == []


RANK = """
import sys
from src.config.command_line import parse_args
from src.data import dataset

read = dataset.Source.read
def report(self):
    print("read", flush=True)
    return read(self)
dataset.Source.read = report
if __name__ == "__main__":
    annotations = dataset.build_annotations(parse_args("", sys.argv[1:]), training=True)
    print(len(annotations), annotations.boxes.sum())
"""


def test_of_several_processes_one_reads(own, tmp_path):
    (tmp_path / "config.yaml").write_text(own.to_yaml())
    (tmp_path / "rank.py").write_text(RANK)
    processes = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "rank.py"), f"--config_path={tmp_path}/config.yaml"],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    outputs = [process.communicate(timeout=60)[0].split("\n") for process in processes]
    assert sum("read" in lines for lines in outputs) == 1
    assert len({lines[-2] for lines in outputs}) == 1
    assert outputs[0][-2].startswith("12 ")
    folder = Path(own.output_path).parent / CACHE_FOLDER
    assert sorted(p.suffix for p in folder.iterdir()) == ["", ".npz"]  # the lock and the entry


@pytest.mark.parametrize("from_cache", [False, True])
def test_missing_images_are_named_each_time(own, from_cache):
    if from_cache:
        build_annotations(own, training=True)
    (Path(own.coco_root) / "train2017" / "000003.jpg").unlink()
    with pytest.raises(InputError, match=r"1 error\n  image 3: no such file .*000003.jpg$"):
        build_annotations(own, training=True)


def test_images_without_objects(own):
    edit(own, lambda c: c.update(annotations=[a for a in c["annotations"] if a["image_id"] > 5]))
    assert len(build_annotations(own, training=True)) == 12
    kept = build_annotations(own.replace(keep_empty=False), training=True)
    assert kept.image_ids.tolist() == list(range(6, 12))
    evaluated = own.replace(keep_empty=False, val_split="train2017")
    assert len(build_annotations(evaluated, training=False)) == 12


def test_nothing_left(own):
    edit(own, lambda c: c.update(annotations=[]))
    with pytest.raises(InputError, match="no objects in it; nothing to train on"):
        build_annotations(own, training=True)
    edit(own, lambda c: c.update(images=[]))
    with pytest.raises(InputError, match="lists no images"):
        build_annotations(own, training=True)


def as_text_file(cfg, folder):
    """The training split of `own` as a text file; returns its configuration."""
    record_lines = []
    for record in build_annotations(cfg, training=True):
        boxes = [f"{','.join(map(str, b))},{n + 1}" for b, n in zip(record.boxes, record.labels)]
        record_lines.append(" ".join([record.path.name, *boxes]))
    (folder / "boxes.txt").write_text("\n".join(record_lines))
    image_dir = f"{cfg.coco_root}/train2017"
    return cfg.replace(dataset="other", image_dir=image_dir, anno_path=str(folder / "boxes.txt"))


def test_text_file_says_the_same_and_its_cache_notices_changed_images(own, reads, tmp_path):
    other = as_text_file(own, tmp_path)
    expected = build_annotations(own, training=True)
    found = build_annotations(other, training=True)
    for name in ("file_names", "sizes", "offsets", "labels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_allclose(found.boxes, expected.boxes)
    build_annotations(other, training=True)
    assert reads == ["coco", "other"]
    path = Path(other.image_dir) / "000002.jpg"
    path.write_bytes((Path(other.image_dir) / "000004.jpg").read_bytes())
    sizes = build_annotations(other, training=True).sizes
    assert reads == ["coco", "other", "other"]
    assert sizes[2].tolist() == expected.sizes[4].tolist()


@pytest.mark.parametrize(
    ("changes", "training", "message"),
    [
        ({"dataset": "other"}, True, "--anno_path is needed"),
        (
            {"dataset": "other", "anno_path": "{}"},
            False,
            "--val_anno_path is needed, or hold out a part .*, or train with --eval_interval=0",
        ),
        ({"dataset": "other", "anno_path": "no.txt"}, True, "no.txt: no such file; check --anno"),
        ({"dataset": "other", "anno_path": "{}", "image_dir": "no"}, True, "check --image_dir"),
        ({"dataset": "voc", "voc_root": "no"}, True, "no: no such folder; voc_root is"),
        ({"coco_root": "no"}, True, "no: no such folder; set coco_root"),
    ],
)
def test_what_is_not_there_is_found_before_anything_is_read(
    own, reads, tmp_path, changes, training, message
):
    (tmp_path / "boxes.txt").touch()
    changes = {k: str(v).replace("{}", str(tmp_path / "boxes.txt")) for k, v in changes.items()}
    with pytest.raises(InputError, match=message):
        find_source(own.replace(**changes), training=training)
    assert reads == []


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda builder: builder.add_image(5, 2, (9, 9)), "file name 5; expected text"),
        (lambda builder: builder.add_image("", 2, (9, 9)), "file name ''; expected text"),
        (lambda builder: builder.add_image("b.jpg", 2, (0, 9)), r"image size \(0, 9\); expected"),
        (lambda builder: builder.add_image("b.jpg", 2, (9.5, 9)), r"image size \(9.5, 9\)"),
        (lambda builder: builder.add_image("b.jpg", 2, (10**11, 9)), r"image size \(10{11}, 9\)"),
        (lambda builder: builder.add_box("here", (1, 2, 3), 0), r"box \[1, 2, 3\]; expected four"),
        (lambda builder: builder.add_box("here", (1, 2, "3", 4), 0), "expected four numbers"),
        (lambda builder: builder.add_named("here", (1, 2, 3, 4), ["cat"]), r"class \['cat'\]"),
    ],
)
def test_a_reader_that_passes_on_what_is_no_image_or_box_gets_an_error(add, message, tmp_path):
    builder = Builder(Problems(tmp_path), ("background", "cat"))
    builder.add_image("a.jpg", 1, (9, 9))
    with pytest.raises(InputError, match=message):
        add(builder)
    assert len(builder.build(tmp_path)) == 1
