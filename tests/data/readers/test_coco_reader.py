import json

import pytest

from src.data.annotations import what_is_lacking, without_empty
from src.data.problems import first_lines
from src.data.readers.coco_layout import coco_paths
from src.data.readers.coco_reader import read_coco
from src.runtime.errors import InputError
from tests.data.coco_files import CATEGORIES, CLASSES, annotation, image, read, write


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
    found = read(path, folder)
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
        [image(1), image(2)],
        [
            annotation(1, 1, 5, [-5, 10, 20, 100]),
            annotation(2, 1, 5, [3, 3, 0, 7]),
            annotation(3, 1, 5, [50, 3, 7, 7]),
            annotation(4, 1, 5, [2, 3, 7, 7]),
            annotation(5, 1, 44, [2, 3, 7, 7]),
            annotation(6, 2, 5, [2, 3, 7, 7]),
            annotation(7, 1, 5, [2, 3, 7, 7]),
            annotation(8, 1, 5, [-9, 10, 24, 100]),  # the first one's, once clipped
            annotation(9, 1, 5, [2, 3, 7, 7], iscrowd=1),
        ],
    )
    found, problems = read_coco(path, folder, CLASSES)
    assert problems.errors == []
    assert [(p.where, p.what) for p in problems.repairs] == [
        ("annotation 2 (image 1)", "box without area inside the image dropped"),
        ("annotation 3 (image 1)", "box without area inside the image dropped"),
        ("annotation 7 (image 1)", "box that repeats another dropped"),
        ("annotation 8 (image 1)", "box that repeats another dropped"),
        ("annotation 1 (image 1)", "box clipped to the image"),
    ]
    assert found[0].boxes.tolist() == [
        [0, 10, 15, 30],
        [2, 3, 9, 10],
        [2, 3, 9, 10],
        [2, 3, 9, 10],
    ]
    assert found[0].labels.tolist() == [0, 0, 1, 0]
    assert found[0].crowd.tolist() == [False, False, False, True]
    assert len(found[1].boxes) == 1
    lines = found.summary().splitlines()
    assert "2 x box without area inside the image dropped" in lines[1]
    assert "1 x box clipped to the image" in lines[1]
    assert lines[4].strip() == "annotation 7 (image 1): box that repeats another dropped"


@pytest.mark.parametrize(
    ("images", "annotations", "message"),
    [
        ([image(1), image(1)], [], "image 1: the id is used twice ('1.png' and '1.png')"),
        ([image(1, width=0)], [], "image entry 0: width is 0; expected a number of 1 to"),
        ([{"id": 1}], [], "file_name is missing; expected the name of a file"),
        ([image(1)], [annotation(8, 3, 5, [0, 0, 1, 1])], "annotation 8: the file has no image 3"),
        (
            [image(1)],
            [annotation(8, 1, 6, [0, 0, 1, 1]), annotation(9, 1, 6, [0, 0, 1, 1])],
            "category 6: 2 annotations, but the file does not define it",
        ),
        (
            [image(1)],
            [annotation(8, 1, 5, [0, 0, 1])],
            "entry 0 (id 8): bbox is [0, 0, 1]; expected 4",
        ),
        ([image(1)], [annotation(8, 1, 5, "0 0 1 1")], "bbox is '0 0 1 1'; expected 4 numbers"),
        ([image(1)], [annotation(8, 1, 5, [0, 0, 1, float("nan")])], "is not finite"),
        ([image(1)], [7], "annotations[0] is 7; expected an object"),
        ([image(1)], [annotation(8, [1], 5, [0, 0, 1, 1])], "image_id is [1]; expected a whole"),
        ([image(1)], [annotation(8, 1, {}, [0, 0, 1, 1])], "category_id is {}; expected a whole"),
        (
            [image(1)],
            [annotation(8, 1, 5, [0, 0, 1, 1], iscrowd="no")],
            "iscrowd is 'no'; expected a number",
        ),
        ([image("one")], [], "image entry 0: id is 'one'; expected a whole number"),
        (
            [image(1, width=float("inf"))],
            [],
            "width is inf; expected a number of 1 to",
        ),
        ([{**image(1), "file_name": 3}], [], "file_name is 3; expected the name of a file"),
        ([image(2**70)], [], "id is 1180591620717411303424; expected a whole number"),
        ([image(True)], [], "id is True; expected a whole number"),
        ([image(1, file_name="")], [], "file_name is ''; expected"),
        ([image(1)], [annotation(8, 1, 5, [0, 0, True, 1])], "bbox is [0, 0, True, 1]; expected"),
        (
            [image(1)],
            [annotation(8, 1, 5, None)],
            "bbox is missing; expected 4 numbers: x, y, width",
        ),
        ([image(1)], [annotation(8, 1, 5, ["0", "x", "1", "1"])], "bbox is ['0', 'x', '1', '1'];"),
        ([image(1)], [annotation(8, 1, 5, ["0", "1_0", "1", "1"])], "bbox is ['0', '1_0',"),
        ([image(1)], [annotation(8, 1, 5, [0, 0, 1, 1], iscrowd=2)], "iscrowd is 2; expected 0 or"),
        ([image(1, file_name="a\0.png")], [], r"file_name is 'a\x00.png'; expected the name of"),
        (
            [image(1, file_name="\ud800.png")],
            [],
            r"file_name is '\ud800.png'; expected the name of",
        ),
        ([image(1, width="wide")], [], "width is 'wide'; expected a number"),
        (
            [{"id": 1, "file_name": "no.png"}],
            [],
            "image 1, which has no width and height: no such file",
        ),
    ],
)
def test_errors_name_the_entry(tmp_path, images, annotations, message):
    path, folder = write(tmp_path, images, annotations)
    with pytest.raises(InputError) as error:
        read(path, folder)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_box_too_thin_for_float32_is_dropped(tmp_path):
    path, folder = write(tmp_path, [image(1)], [annotation(1, 1, 5, [30, 1, 1e-6, 2])])
    found = read(path, folder)
    assert found[0].boxes.shape == (0, 4)
    assert "1 x box without area" in found.summary()


def test_nothing_to_train_on(tmp_path):
    path, folder = write(tmp_path, [image(1)], [annotation(1, 1, 5, [1, 1, 5, 5], iscrowd=1)])
    found = read(path, folder)
    assert what_is_lacking(found, training=True) == "no objects in it; nothing to train on"
    assert what_is_lacking(found, training=False) == ""


def test_first_twenty_problems_are_named_and_all_counted(tmp_path):
    wrong = [annotation(i, 1, 5, [0, 0, 1, float("nan")]) for i in range(33)]
    right = annotation(99, 1, 5, [0, 0, 1, 1])
    path, folder = write(tmp_path, [image(1)], [*wrong, right])
    with pytest.raises(InputError) as error:
        read(path, folder)
    text = str(error.value)
    assert "33 errors" in text
    assert "and 13 more" in text
    assert len(text.splitlines()) == 22


def test_annotations_of_another_file(tmp_path):
    boxes = [annotation(i, 70 + i, 5, [0, 0, 1, 1]) for i in range(3)]
    path, folder = write(tmp_path, [image(4), image(9)], boxes)
    _, problems = read_coco(path, folder, CLASSES)
    assert first_lines(problems.errors) == ["annotation 0 and 2 more: the file has no image 70"]


def test_classes_that_the_file_does_not_list_get_free_ids(tmp_path):
    path, folder = write(tmp_path, [image(1)], [annotation(1, 1, 44, [1, 1, 5, 5])])
    found, problems = read_coco(path, folder, ("background", "owl", "cat", "dog", "jay"))
    assert found.category_ids == (1, 5, 44, 2)
    assert found.labels.tolist() == [2] and not problems.errors


def test_categories_left_out_are_one_error_each(tmp_path):
    categories = [*CATEGORIES, {"id": 9, "name": "cats"}, {"id": 10, "name": "unused"}]
    boxes = [annotation(i, 1, 9, [i, 0, 1, 1]) for i in range(3)]
    path, folder = write(tmp_path, [image(1)], [*boxes, annotation(5, 1, 44, [1, 1, 5, 5])])
    path.write_text(path.read_text().replace(json.dumps(CATEGORIES), json.dumps(categories)))
    _, problems = read_coco(path, folder, CLASSES)
    (error,) = problems.errors
    assert str(error) == (
        "category 9 ('cats', 3 annotations): not in classes; "
        "add it, or --unlisted_classes=drop; did you mean 'cat'?"
    )
    annotations, problems = read_coco(path, folder, CLASSES, drop_unlisted=True)
    assert problems.errors == []
    assert annotations.labels.tolist() == [1]
    assert "category 9 ('cats', 3 annotations)" in annotations.summary()


def test_what_the_standard_library_reads_is_read(tmp_path):
    path, folder = write(tmp_path, [image(1)], [annotation(1, 1, 5, [1, 1, 5, 5], score=1.5)])
    text = path.read_text().replace("1.5", "NaN")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())  # a byte order mark, and NaN
    assert read(path, folder).boxes.tolist() == [[1, 1, 6, 6]]


def test_images_without_objects_can_be_left_out(tmp_path):
    boxes = [annotation(1, 3, 5, [1, 1, 5, 5]), annotation(2, 2, 5, [1, 1, 5, 5], iscrowd=1)]
    boxes += [annotation(3, 5, 44, [2, 2, 5, 5]), annotation(4, 3, 5, [3, 3, 5, 5], iscrowd=1)]
    path, folder = write(tmp_path, [image(i) for i in range(1, 6)], boxes)
    found = without_empty(read(path, folder))
    assert found.image_ids.tolist() == [3, 5]
    assert found[0].boxes.tolist() == [[1, 1, 6, 6], [3, 3, 8, 8]]
    assert found[0].crowd.tolist() == [False, True]
    assert found[1].boxes.tolist() == [[2, 2, 7, 7]]
    assert found[1].labels.tolist() == [1]
    assert found[1].path.name == "5.png"


def test_file_without_images_or_boxes(tmp_path):
    path, folder = write(tmp_path, [], [])
    found = read(path, folder)
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


def test_one_name_for_two_categories(tmp_path):
    path, folder = write(tmp_path, [image(1)], [], [*CATEGORIES, {"id": 6, "name": "cat"}])
    # none has annotations: the last counts, since a root comes first
    assert read(path, folder).category_ids == (6, 44)


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
