"""A share of the training split that is held out for evaluation."""

import numpy as np
import pytest

from src.config.configuration import make_config
from src.data.dataset import build_annotations
from src.data.hold_out import describe, group_of, held_out, listing
from src.runtime.errors import InputError
from tests.datasets import make_split, write_txt

BOX = (1, 1, 9, 9)


def split(counts, *, empty=0):
    """So many images of each class alone, and images without objects."""
    images = [[(BOX, label)] for label, count in enumerate(counts) for _ in range(count)]
    return make_split(images + [[]] * empty, classes=len(counts))


def held_by_class(annotations, share):
    held = annotations.take(np.flatnonzero(held_out(annotations, share)))
    return np.bincount(held.labels, minlength=len(annotations.category_ids)).tolist(), len(held)


def test_each_class_gives_its_share():
    # 0.1 of 200, 30 and 12 rounded; of three at least one, of one none; 0.1 of 50 empty images
    assert held_by_class(split([200, 30, 12, 3, 1], empty=50), 0.1) == ([20, 3, 1, 1, 0], 30)


def test_an_image_of_several_classes_counts_for_each():
    images = [[(BOX, 0), (BOX, 1)]] * 20 + [[(BOX, 0)]] * 20
    by_class, total = held_by_class(make_split(images, classes=2), 0.25)
    assert by_class == [10, 5] and total == 10


def test_the_choice_does_not_depend_on_the_order():
    annotations = split([30, 20, 10])
    order = np.random.default_rng(0).permutation(60)
    one = annotations.file_names[held_out(annotations, 0.2)]
    other = annotations.take(order).file_names[held_out(annotations.take(order), 0.2)]
    assert sorted(one) == sorted(other) and len(one) == 12
    assert set(one) != set(annotations.file_names[held_out(split([20, 20, 20]), 0.2)])


def test_folders_and_the_order_of_classes_do_not_matter():
    images = [[(BOX, label)] for label in range(4) for _ in range(10)]
    turned = [[(BOX, 3 - label)] for label in range(4) for _ in range(10)]
    one, other = (make_split(objects, classes=4) for objects in (images, turned))
    names = [b"train/images/" + name for name in other.file_names.tolist()]
    object.__setattr__(other, "file_names", np.array(names))
    held = held_out(one, 0.2)
    assert held.sum() == 8
    assert (held == held_out(other, 0.2)).all()


def test_more_than_the_share_is_told():
    annotations = split([10, 10, 10])
    held = held_out(annotations, 0.001)
    parts = (annotations.take(np.flatnonzero(which)) for which in (~held, held))
    line = describe(*parts, ("background", "a", "b", "c"), 0.001)
    expected = "3 of 30 images held out for evaluation, more than val_share 0.001, for one of each"
    assert f"{expected} class of 2 or more, by class: a 1 of 10, b 1 of 10, c 1 of 10" in line


def test_copies_of_one_image_stay_together():
    ends = [f"{letter * 32}.jpg" for letter in "abc"]
    names = [f"{number}_jpg.rf.{end}" for number in range(20) for end in ends]
    annotations = split([60])
    object.__setattr__(annotations, "file_names", np.array([n.encode() for n in names]))
    held = held_out(annotations, 0.1).reshape(20, 3)
    assert held.any(axis=1).sum() == 2
    assert (held.any(axis=1) == held.all(axis=1)).all()
    assert group_of("./a/b.jpg") == group_of("a//b.jpg") != group_of("b.jpg")
    assert group_of("a.rf.short.jpg") == "a.rf.short.jpg"


@pytest.mark.parametrize(
    ("counts", "share", "left"), [([1], 0.5, "train on"), ([1, 1], 0.1, "eval")]
)
def test_too_few_images(counts, share, left):
    with pytest.raises(InputError, match=f"val_share is {share}.*leaves none to {left}"):
        held_out(split(counts), share)


def test_no_images():
    with pytest.raises(InputError, match="leaves none to evaluate"):
        held_out(split([0]), 0.1)


def test_both_sides_of_a_split(shapes, tmp_path):
    keys = {"coco_root": str(shapes), "val_share": 0.25, "output_path": str(tmp_path / "run")}
    keys["classes"] = ["ellipse", "rectangle", "triangle", "cross"]
    cfg = make_config([(keys, "test")])
    trained, evaluated = (build_annotations(cfg, training=role) for role in (True, False))
    whole = build_annotations(cfg.replace(val_share=0.0), training=True)
    assert trained.source == evaluated.source == whole.source
    assert sorted([*trained.file_names, *evaluated.file_names]) == sorted(whole.file_names)
    assert set(evaluated.objects()["image_id"]) <= set(evaluated.image_ids)
    assert 24 * 0.25 <= len(evaluated) <= 12
    line = describe(trained, evaluated, cfg.classes, 0.25)
    assert f"{len(evaluated)} of 24 images held out for evaluation, by class: ellipse " in line
    assert listing(evaluated).splitlines() == sorted(name.decode() for name in evaluated.file_names)


def test_the_format_does_not_matter(shapes, tmp_path):
    keys = {"coco_root": str(shapes), "output_path": str(tmp_path / "run"), "keep_empty": False}
    keys["classes"] = ["ellipse", "rectangle", "triangle", "cross"]
    coco = make_config([(keys, "test")])
    write_txt(build_annotations(coco.replace(keep_empty=True), training=True), tmp_path / "a.txt")
    text = {"anno_path": str(tmp_path / "a.txt"), "image_dir": str(shapes / "train2017")}
    text = coco.replace(dataset="other", **text)
    names = [
        listing(build_annotations(cfg.replace(val_share=0.2), training=False))
        for cfg in (coco, text)
    ]
    assert names[0].count("\n") >= 4
    assert [name.split("/")[-1] for name in names[0].split()] == [
        name.split("/")[-1] for name in names[1].split()
    ]
