"""What is beside a detector in a file: a second one, copies, other tensors, names of classes."""

from pathlib import Path

import numpy as np
import pytest

from src.runtime.errors import InputError
from src.weights.detector_keys import ClassNames
from src.weights.detectors import find_detector
from src.weights.training_notes import Notes, notes_of
from tests.weights.shapes import blank, mmdetection_shapes


def with_classes(count):
    return blank(mmdetection_shapes("gfl", classes=count))


def test_a_detector_beside_its_teacher():
    shapes = mmdetection_shapes("gfl")
    both = blank(shapes) | blank(shapes, "teacher.")
    with pytest.raises(InputError, match="by\n  --prefix=''  GFL.*\n  --prefix=teacher.  GFL"):
        find_detector(both, "a.pth")
    found = find_detector(both, "a.pth", prefix="")
    assert found.is_whole and not any("teacher" in name for name in found.arrays)
    del both["teacher.bbox_head.gfl_cls.bias"]
    found = find_detector(both, "a.pth")
    assert found.prefix == "" and "ignored 1: all under teacher." in found.report()


def test_what_is_no_part_of_a_network_is_ignored():
    arrays = with_classes(3)
    copies = {f"ema_{name.replace('.', '_')}": array for name, array in arrays.items()}
    extra = {"log_vars": np.ones(2), "criterion.weight": np.ones(3), "ema_steps": np.ones(1)}
    found = find_detector({**arrays, **copies, **extra}, "a.pth")
    assert found.is_whole
    assert len(found.copies) == len(copies)
    assert "those without ema_ are used" in found.report()
    assert "ignored 3: criterion.weight, ema_steps, log_vars" in found.report()
    for name in ("neck.downsample_convs.0.weight", "aux_head.conv.bias", "backbone.gc.weight"):
        with pytest.raises(InputError, match=f"unexpected 1: {name}"):
            find_detector({**arrays, name: np.ones(1)}, "a.pth")


def test_names_of_tensors_are_printable():
    arrays = {**with_classes(3), "a\nb\x1b[31m": np.ones(1)}
    assert r"ignored 1: a\nb\x1b[31m" in find_detector(arrays, "a.pth").report()
    hidden = blank(mmdetection_shapes("gfl"), "x\n.")
    assert r"resnet50 under x\n." in find_detector(hidden, "a.pth").report()


@pytest.mark.parametrize(
    ("noted", "names", "words"),
    [
        (("a", "b", "c"), ("a", "b", "c"), "classes: 3, named in the file: a, b, c"),
        (("a", "b"), ("class_1", "class_2", "class_3"), "warning: the file names 2 classes, which"),
        (("background", "a", "b"), ("class_1", "class_2", "class_3"), "has 3 rows"),
    ],
)
def test_names_in_the_file(noted, names, words):
    found = find_detector(with_classes(3), "a.pth", classes=ClassNames((), noted))
    assert found.config.classes[1:] == names
    assert words in found.report()
    chosen = find_detector(with_classes(3), "a.pth", classes=ClassNames(("x", "y", "z"), noted))
    assert chosen.config.classes[1:] == ("x", "y", "z")


def test_a_detector_without_a_class_layer_has_no_classes():
    arrays = {n: a for n, a in with_classes(80).items() if "gfl_cls" not in n}
    with pytest.raises(InputError, match="classes: not known") as error:
        find_detector(arrays, "a.pth")
    assert "of COCO" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "classes", "style"),
    [
        ({"meta": {"CLASSES": ("a", "b")}}, ("a", "b"), ""),
        ({"meta": {"dataset_meta": {"CLASSES": ["a"]}, "CLASSES": ("b",)}}, ("a",), ""),
        ({"meta": {"dataset_meta": {"classes": ("a",)}, "cfg": "style='caffe',"}}, ("a",), "caffe"),
        ({"meta": {"config": 'backbone=dict(\n  style="pytorch")'}}, (), "pytorch"),
        ({"meta": {"CLASSES": ("a", "a")}}, (), ""),
        ({"meta": {"CLASSES": ("a", 1)}}, (), ""),
        ({"meta": {"CLASSES": "ab", "config": 3}}, (), ""),
        ({"meta": [1]}, (), ""),
        ([1], (), ""),
    ],
)
def test_what_a_training_script_notes(content, classes, style):
    assert notes_of(content) == Notes(classes, style)


def test_the_configuration_in_a_file_counts_more_than_its_name():
    path = Path("gfl_r50_caffe.pth")
    assert Notes().is_caffe(path) and not Notes(style="pytorch").is_caffe(path)
    assert Notes(style="caffe").is_caffe(Path("gfl.pth")) and not Notes().is_caffe(Path("gfl.pth"))
