"""What a malformed record is taken for, and that many of one kind are one line."""

import pytest

from src.data.problems import Problems, first_lines
from src.data.readers.coco_entries import ImageEntry
from src.data.readers.malformed import not_shares, text_box, yolo_line
from src.data.readers.text_lines import other_format
from src.data.readers.txt_boxes import class_in_front


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("1 0.7 0.8 0.1 0.2 0.91", "has a number too many, probably a confidence"),
        ("0.7 0.8 0.1 0.2 1", "has its class behind the box"),
        ("dog 0.7 0.8 0.1 0.2", "has a class by name; expected its number in the names"),
        ("1,0.7,0.8,0.1,0.2", "has commas between numbers"),
        ("1, 0.7, 0.8, 0.1, 0.2", "has commas between numbers"),
        ("1 0,7 0,8 0,1 0,2", "has decimal commas"),
        ("1 0.7 x 0.1 0.2", "expected class cx cy w h, or class x1 y1"),
        ("1", "expected class cx cy w h, or class x1 y1"),
    ],
)
def test_lines_of_yolo(text, what):
    assert what in str(yolo_line(text))


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ([210, 188.5, 50, 49], "210; expected shares of the sides, 0 to 1; these are probably pix"),
        ([79.5, 85.7, 18.9, 22.3], "these are probably pixels, or percent"),
        ([0.5, 0.5, -0.2, 0.1], ": -0.2; expected shares of the sides, 0 to 1"),
    ],
)
def test_lines_of_yolo_without_shares(values, what):
    assert what in str(not_shares("1 ...", values))


@pytest.mark.parametrize(
    ("item", "what"),
    [
        ("185,164,235,213,0.87,2", "has a value too many, probably a confidence"),
        ("185,164,235,213,2.0", "has a class with a point; expected its name or a whole number"),
        ("1,0.79,0.85,0.18,0.22", "is a class and shares of the sides, as YOLO writes"),
        ("dog,185,164,235,213", "has its class in front; expected it last"),
        ("1_0,2,30,4,1", "four numbers, and a class's name or whole number"),
        ("4,5,24", "four numbers, and a class's name or whole number"),
    ],
)
def test_boxes_of_text_files(item, what):
    assert what in str(text_box(item, "xmin,ymin,xmax,ymax,class"))


def test_signs_between_path_and_box():
    assert other_format(["a.png;1,2,30,40,dog"]).startswith("has ';' behind a path")
    assert other_format(["a.png dog,1,2,30,40", "b.png"]) == ""  # an error of the box
    assert other_format(["a;b.png 1,2,30,40,dog"]) == ""


def test_a_number_of_the_class_in_front():
    boxes = [((float(n % 2), float(n), 50.0, 60.0), str(4 * n)) for n in range(1, 11)]
    assert "begin with few numbers (0, 1) and end with many" in class_in_front(boxes)
    turned = [((*box[1:], 80.0), str(n % 2)) for n, (box, _) in enumerate(boxes)]
    assert class_in_front(turned) == class_in_front([]) == ""


def test_errors_of_one_kind_are_one_line(tmp_path):
    problems = Problems(tmp_path)
    for position in range(50):
        with problems.at(f"image entry {position}"):
            ImageEntry(id=f"x{position}", file_name="a.png", width=4, height=4).mend()
    assert first_lines(problems.errors) == [
        "image entry 0 and 49 more: id is 'x0'; expected a whole number; number the images, and "
        "write an image's number as image_id of its annotations"
    ]


@pytest.mark.parametrize("field", ["filename", "path", "name"])
def test_other_names_of_a_file_name(field):
    entry = ImageEntry(id=1, width=4, height=4, **{field: "a.png"})
    assert entry.mend() == {f"{field} read as file_name"}
    assert entry.file_name == "a.png" and entry.is_usable()
