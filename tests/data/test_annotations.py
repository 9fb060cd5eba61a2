import json

import cv2
import numpy as np
import pytest

from src.data.annotations import check_has_objects, coco_paths, read_coco
from src.errors import InputError

CLASSES = ("background", "cat", "dog")
CATEGORIES = [{"id": 44, "name": "dog"}, {"id": 5, "name": "cat"}]


def write(tmp_path, images, annotations, categories=CATEGORIES):
    """A json file and an image file for every entry that has a name."""
    folder = tmp_path / "images"
    folder.mkdir(exist_ok=True)
    for image in images:
        if "file_name" in image:
            cv2.imwrite(str(folder / f"{image['id']}.png"), np.zeros((4, 4, 3), np.uint8))
    path = tmp_path / "instances.json"
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
    return path, folder


def image(image_id, **changes):
    return {"id": image_id, "file_name": f"{image_id}.png", "width": 40, "height": 30, **changes}


def annotation(own_id, image_id, category, bbox, **more):
    return {"id": own_id, "image_id": image_id, "category_id": category, "bbox": bbox, **more}


def test_records_in_image_order_with_sparse_categories(tmp_path):
    path, folder = write(
        tmp_path,
        [image(9), image(2), image(7)],
        [
            annotation(1, 9, 44, [1, 2, 3, 4]),
            annotation(2, 2, 5, [0, 0, 10.5, 20]),
            annotation(3, 9, 5, [5, 5, 5, 5], iscrowd=1),
        ],
    )
    found = read_coco(path, folder, CLASSES)
    assert [r.image_id for r in found] == [2, 7, 9]
    assert found.category_ids == (5, 44)
    assert found[0].boxes.tolist() == [[0, 0, 10.5, 20]]
    assert found[1].boxes.shape == (0, 4)
    assert found[2].boxes.tolist() == [[1, 2, 4, 6], [5, 5, 10, 10]]
    assert found[2].labels.tolist() == [1, 0]
    assert found[2].crowd.tolist() == [False, True]
    assert (found[2].path, found[2].width, found[2].height) == (folder / "9.png", 40, 30)
    assert found.max_objects() == 2
    assert "3 images (1 without objects), 3 boxes (1 of crowds)" in found.summary()


def test_repairs_are_made_and_counted(tmp_path):
    path, folder = write(
        tmp_path,
        [image(1)],
        [
            annotation(1, 1, 5, [-5, 10, 20, 100]),
            annotation(2, 1, 5, [3, 3, 0, 7]),
            annotation(3, 1, 5, [50, 3, 7, 7]),
        ],
    )
    found = read_coco(path, folder, CLASSES)
    assert found[0].boxes.tolist() == [[0, 10, 15, 30]]
    assert sorted(found.repairs.values()) == [1, 2]
    assert "1 x box clipped" in found.summary()
    assert "2 x box without area" in found.summary()


@pytest.mark.parametrize(
    ("images", "annotations", "message"),
    [
        ([image(1), image(1)], [], "image 1 (1.png): the id comes twice"),
        ([image(1, width=0)], [], "width and height must be positive"),
        ([{"id": 1}], [], "image entry 0: needs a whole id, file_name, width and height"),
        ([image(1)], [annotation(8, 3, 5, [0, 0, 1, 1])], "annotation 8: image 3 is not"),
        ([image(1)], [annotation(8, 1, 6, [0, 0, 1, 1])], "annotation 8: category_id 6"),
        ([image(1)], [annotation(8, 1, 5, [0, 0, 1])], "annotation entry 0: needs"),
        ([image(1)], [annotation(8, 1, 5, "0 0 1 1")], "annotation entry 0: needs"),
        ([image(1)], [annotation(8, 1, 5, [0, 0, 1, float("nan")])], "bbox is not finite"),
        ([image(1)], [7], "annotation entry 0: needs"),
        ([image(1)], [annotation(8, [1], 5, [0, 0, 1, 1])], "annotation entry 0: needs"),
        ([image(1)], [annotation(8, 1, {}, [0, 0, 1, 1])], "annotation entry 0: needs"),
        ([image(1)], [annotation(8, 1, 5, [0, 0, 1, 1], iscrowd="no")], "iscrowd, if given"),
        ([image("one")], [], "image entry 0: needs a whole id"),
        ([image(1, width=float("inf"))], [], "image entry 0: needs a whole id"),
        ([{**image(1), "file_name": 3}], [], "image entry 0: needs a whole id"),
        ([], [], "no images in it"),
    ],
)
def test_errors_name_the_entry(tmp_path, images, annotations, message):
    path, folder = write(tmp_path, images, annotations)
    with pytest.raises(InputError) as error:
        read_coco(path, folder, CLASSES)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_box_too_thin_for_float32_is_dropped(tmp_path):
    path, folder = write(tmp_path, [image(1)], [annotation(1, 1, 5, [30, 1, 1e-6, 2])])
    found = read_coco(path, folder, CLASSES)
    assert found[0].boxes.shape == (0, 4)
    assert "1 x box without area" in found.summary()


def test_nothing_to_train_on(tmp_path):
    path, folder = write(tmp_path, [image(1)], [annotation(1, 1, 5, [1, 1, 5, 5], iscrowd=1)])
    with pytest.raises(InputError, match="nothing to train on"):
        check_has_objects(read_coco(path, folder, CLASSES))


def test_missing_image_is_named(tmp_path):
    path, folder = write(tmp_path, [image(1), image(2)], [])
    (folder / "2.png").unlink()
    with pytest.raises(InputError, match=r"image 2: no such file .*2\.png"):
        read_coco(path, folder, CLASSES)


def test_first_twenty_problems_are_named_and_all_counted(tmp_path):
    wrong = [annotation(i, 1, 6, [0, 0, 1, 1]) for i in range(33)]
    path, folder = write(tmp_path, [image(1)], wrong)
    with pytest.raises(InputError) as error:
        read_coco(path, folder, CLASSES)
    text = str(error.value)
    assert "33 problem(s)" in text
    assert "and 13 more" in text
    assert len(text.splitlines()) == 22


def test_class_that_is_no_category_gets_a_suggestion(tmp_path):
    path, folder = write(tmp_path, [image(1)], [])
    with pytest.raises(InputError, match="class 'dgo' .*did you mean 'dog'"):
        read_coco(path, folder, ("background", "cat", "dgo"))


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"images": []}', '{"images": 3}'])
def test_unreadable_json_names_the_file(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(InputError, match="broken.json"):
        read_coco(path, tmp_path, CLASSES)


@pytest.mark.parametrize("spelling", ["instances_val.json", "instance_val.json"])
def test_both_spellings_of_the_annotation_file(tmp_path, spelling):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val").mkdir()
    (tmp_path / "annotations" / spelling).write_text("{}")
    expected = (tmp_path / "annotations" / spelling, tmp_path / "val")
    assert coco_paths(str(tmp_path), "val") == expected


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder; set coco_root"):
        coco_paths("nowhere", "val")
    with pytest.raises(InputError, match="instances_val.json: no such file"):
        coco_paths(str(tmp_path), "val")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val.json").write_text("{}")
    with pytest.raises(InputError, match="val: no such folder"):
        coco_paths(str(tmp_path), "val")
