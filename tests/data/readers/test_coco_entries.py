"""COCO files of other tools, and what is said of those that are none."""

import cv2
import numpy as np
import pytest

from src.data.problems import Problems, first_lines
from src.data.readers.coco_entries import ImageEntry
from src.data.readers.coco_reader import read_coco
from src.runtime.errors import InputError
from tests.data.coco_files import CATEGORIES, CLASSES, annotation, image, read, write


@pytest.mark.parametrize("used", [5, 6])
def test_category_without_annotations_beside_one_of_its_name(tmp_path, used):
    boxes = [annotation(1, 1, used, [1, 1, 5, 5])]
    path, folder = write(tmp_path, [image(1)], boxes, [*CATEGORIES, {"id": 6, "name": "cat"}])
    found = read(path, folder)
    assert found.category_ids == (used, 44)
    assert found.labels.tolist() == [0]
    assert found.repair_lines == (
        f"category {11 - used} ('cat'): category without annotations dropped, whose name "
        "another has",
    )


def test_two_categories_of_one_name_with_annotations(tmp_path):
    boxes = [annotation(i, 1, category, [i, 1, 5, 5]) for i, category in enumerate((5, 6, 6))]
    path, folder = write(tmp_path, [image(1)], boxes, [*CATEGORIES, {"id": 6, "name": "cat"}])
    message = (
        r"the name 'cat': 5 \(1 annotation\) and 6 \(2 annotations\); write 5 as their "
        "annotations' category_id if they are one class"
    )
    with pytest.raises(InputError, match=message):
        read(path, folder)


@pytest.mark.parametrize(
    ("category", "message"),
    [
        ({"id": 5, "name": "cow"}, "two categories have the id 5: 'cat' and 'cow'"),
        ({"id": "x", "name": "cow"}, "category entry 2: id is 'x'; expected a whole number"),
        ({"id": 9}, "category entry 2: name is missing; expected the name of a class"),
        ({"id": 9, "name": [3]}, "category entry 2: name is [3]"),
    ],
)
def test_malformed_categories(tmp_path, category, message):
    path, folder = write(tmp_path, [image(1)], [], [*CATEGORIES, category])
    with pytest.raises(InputError) as error:
        read(path, folder)
    assert message in str(error.value)


def test_category_that_is_there_twice(tmp_path):
    path, folder = write(tmp_path, [image(1)], [], [*CATEGORIES, CATEGORIES[0]])
    assert read(path, folder).category_ids == (5, 44)


@pytest.mark.parametrize("name", ["background", "Background", "__background__"])
def test_regions_of_background_are_dropped(tmp_path, name):
    boxes = [annotation(1, 1, 0, [1, 1, 5, 5]), annotation(2, 1, 5, [9, 9, 5, 5])]
    path, folder = write(tmp_path, [image(1)], boxes, [*CATEGORIES, {"id": 0, "name": name}])
    found = read(path, folder)
    assert found.boxes.tolist() == [[9, 9, 14, 14]]
    assert found.repairs == {"background dropped: it is what no box marks": 1}


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("CAT", ", which has 'cat': write both alike, or --unlisted_classes=drop"),
        ("Cats", "; add it, or --unlisted_classes=drop; did you mean 'cat'?"),
    ],
)
def test_categories_in_another_spelling_are_suggested(tmp_path, name, advice):
    boxes = [annotation(1, 1, 1, [1, 1, 5, 5])]
    path, folder = write(tmp_path, [image(1)], boxes, [{"id": 1, "name": name}])
    with pytest.raises(InputError) as error:
        read(path, folder)
    assert str(error.value).endswith(f"category 1 ({name!r}, 1 annotation): not in classes{advice}")


def test_names_are_read_without_spaces_around_them_and_may_be_numbers(tmp_path):
    categories = [{"id": 1, "name": " cat"}, {"id": 2, "name": 7}]
    boxes = [annotation(i, 1, i, [i, 1, 5, 5]) for i in (1, 2)]
    path, folder = write(tmp_path, [image(1)], boxes, categories)
    found, problems = read_coco(path, folder, ("background", "7", "cat"))
    assert found.labels.tolist() == [1, 0] and not problems.errors
    assert [str(problem) for problem in problems.repairs] == [
        "category entry 0: spaces around the name left out",
        "category entry 1: number taken as a name",
    ]


def test_numbers_written_as_text_are_read(tmp_path):
    categories = [{"id": "5", "name": "cat"}, {"id": 44.0, "name": "dog"}]
    path, folder = write(
        tmp_path,
        [image("7", width="40", height=30.0), image(8.0)],
        [
            annotation(1, "7", "5", ["1", 2, "3.5", 4], iscrowd="0"),
            annotation(2, 8, 44, [0, 0, 9, 9], iscrowd=None),
        ],
        categories,
    )
    found = read(path, folder)
    assert found.image_ids.tolist() == [7, 8]
    assert found.sizes.tolist() == [[40, 30], [40, 30]]
    assert found.category_ids == (5, 44)
    assert found.boxes.tolist() == [[1, 2, 4.5, 6], [0, 0, 9, 9]]
    assert found.crowd.tolist() == [False, False]
    # an image, an annotation and a category have such numbers
    assert found.repairs == {"number written as text": 3, "iscrowd without a value taken as 0": 1}


def test_missing_sizes_are_read_from_the_images(tmp_path):
    content = [{"id": 1, "file_name": "a%20b.png"}, image(2, width=None, height=0)]
    path, folder = write(tmp_path, content, [annotation(1, 1, 5, [60, 1, 30, 30])])
    folder.mkdir()
    for name in ("a b.png", "2.png"):
        cv2.imwrite(str(folder / name), np.zeros((50, 70, 3), np.uint8))
    found, problems = read_coco(path, folder, CLASSES)
    assert problems.errors == []
    assert problems.from_images  # not to be cached under the file's content
    assert found.sizes.tolist() == [[70, 50], [70, 50]]
    assert found.file_name(0) == "a b.png"
    assert found.boxes.tolist() == [[60, 1, 70, 31]]
    assert found.repairs["width and height read from the image"] == 2


@pytest.mark.parametrize(
    ("outline", "box"),
    [
        ([[1, 2, 11, 2, 6, 22]], [1, 2, 11, 22]),
        ([[1, 2, 11, 2, 6, 22], [20, 1, 25, 1, 25, 5]], [1, 1, 25, 22]),
        ([1, 2, 11, 2, 6, 22], [1, 2, 11, 22]),
    ],
)
@pytest.mark.parametrize("bbox", [None, []])
def test_box_of_an_outline_alone(tmp_path, outline, box, bbox):
    own = annotation(1, 1, 5, bbox, segmentation=outline)
    if bbox is None:
        del own["bbox"]
    path, folder = write(tmp_path, [image(1)], [annotation(2, 1, 44, [0, 0, 1, 1]), own])
    found = read(path, folder)
    assert found.boxes.tolist() == [[0, 0, 1, 1], box]
    assert found.repairs == {"box taken from the outline": 1}


@pytest.mark.parametrize("outline", [[[1, 2, 3]], [["a", "b"]], [7], {"size": 3}, "all", [[]]])
def test_outlines_that_are_malformed(tmp_path, outline):
    own = annotation(1, 1, 5, None, segmentation=outline)
    path, folder = write(tmp_path, [image(1)], [own])
    with pytest.raises(InputError, match=r"annotation entry 0 \(id 1\): segmentation is "):
        read(path, folder)


OTHER_FILES = {
    b'[{"image_id": 1, "score": 0.5}]': "a list of detections (COCO's results)",
    b'[{"image": "a.png", "annotations": []}]': "CreateML's",
    b"[]": "it is []; expected an object with images, annotations, categories; export it as C",
    b"7": "it is 7; expected an object",
    b'{"shapes": [], "imagePath": "a.png"}': "LabelMe's; 'python3 -m",
    b'{"a.png1": {"filename": "a.png", "regions": []}}': "VIA's",
    b'{"images": [], "categories": []}': "images but no annotations, as the lists of test images",
    b'{"annotations": [], "labels": []}': "no images and no categories; it has 'annotations', 'lab",
    b'{"images": [null], "annotations": [], "categories": []}': "images[0] is None; expected an ob",
    b'{"images": [{"id": 1, "file_na': "it is cut off, as it ends with",
    b'{"images": {}, "annotations": [], "categories": []}': "images is {}; expected a list",
    b"<html><body>": "is a web page (HTML), not the file",
    b"\x1f\x8b\x08": "is compressed with gzip; unpack it with gunzip",
    b"a.png,1,2": "it begins 'a.png,1,2'",
}


@pytest.mark.parametrize("data", OTHER_FILES, ids=lambda data: data[:12].decode("latin-1"))
def test_other_files_are_called_what_they_are(tmp_path, data):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(InputError) as error:
        read_coco(tmp_path / "a.json", tmp_path, CLASSES)
    assert OTHER_FILES[data] in str(error.value)


def test_errors_of_one_kind_are_one_line(tmp_path):
    problems = Problems(tmp_path)
    for position in range(50):
        with problems.at(f"image entry {position}"):
            ImageEntry(id=f"x{position}", file_name="a.png", width=4, height=4).mend()
    assert first_lines(problems.errors) == [
        "image entry 0 and 49 more: id is 'x0'; expected a whole number"
    ]


@pytest.mark.parametrize("field", ["filename", "path", "name"])
def test_other_names_of_a_file_name(field):
    entry = ImageEntry(id=1, width=4, height=4, **{field: "a.png"})
    assert entry.mend() == {f"{field} read as file_name"}
    assert entry.file_name == "a.png" and entry.is_usable()


@pytest.mark.parametrize("name", ["", ".", "..", "a/..", "a/"])
def test_names_of_no_file(name):
    with pytest.raises(InputError, match="file_name is .*; expected the name of a file"):
        ImageEntry(id=1, file_name=name, width=4, height=4).mend()
