import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.config.configuration import make_config
from src.data.annotations import CROWDS
from src.data.dataset import build_annotations, find_source
from src.data.files.folder import Folder
from src.data.readers.text_lines import other_format
from src.data.readers.txt_reader import image_names, read_txt
from src.runtime.errors import InputError

CLASSES = ("background", "cat", "dog")


@pytest.fixture
def folder(tmp_path):
    """Images a.png (40 x 30), "sub/b c.png" (50 x 20) and d.png (40 x 30)."""
    (tmp_path / "images" / "sub").mkdir(parents=True)
    for name, shape in (("a.png", (30, 40)), ("sub/b c.png", (20, 50)), ("d.png", (30, 40))):
        cv2.imwrite(str(tmp_path / "images" / name), np.zeros((*shape, 3), np.uint8))
    return tmp_path / "images"


def write(folder, text):
    path = folder.parent / "boxes.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_all_that_a_line_may_be(folder):
    text = (
        "# a comment\n"
        "\n"
        "a.png 1,2.5,10,20.25,1 0,0,40,30,2\r\n"
        '"sub/b c.png"   5,5,9,9,2  \n'
        "  # another\n"
        "d.png\n"
    )
    found, problems = read_txt(write(folder, text), folder, CLASSES)
    assert problems.errors == problems.repairs == []
    assert found.regions == CROWDS
    assert found.where(0) == "line 3"
    assert [record.path for record in found] == [
        folder / "a.png",
        folder / "sub" / "b c.png",
        folder / "d.png",
    ]
    assert found.image_ids.tolist() == [3, 4, 6]  # lines of the file
    assert found.sizes.tolist() == [[40, 30], [50, 20], [40, 30]]
    assert found[0].boxes.tolist() == [[1, 2.5, 10, 20.25], [0, 0, 40, 30]]
    assert found[0].labels.tolist() == [0, 1]
    assert found[1].labels.tolist() == [1]
    assert found[2].boxes.shape == (0, 4)
    assert not found.crowd.any()
    assert found.category_ids == (1, 2)
    assert image_names(found.source, Folder(folder)) == ["a.png", "sub/b c.png", "d.png"]


def test_x_comes_first(folder):
    found, _ = read_txt(write(folder, "a.png 30,2,39,8,1\n"), folder, CLASSES)
    assert found[0].boxes.tolist() == [[30, 2, 39, 8]]  # would be outside if y came first


def test_single_quotes_and_byte_order_mark(folder):
    path = write(folder, "\ufeff'sub/b c.png' 1,1,5,5,1")
    assert read_txt(path, folder, CLASSES)[0][0].path.name == "b c.png"


@pytest.mark.parametrize(
    ("line", "where", "what"),
    [
        ("a.png 1,2,3,4", "line 2, box 1", "'1,2,3,4': expected xmin,ymin,xmax,ymax,class"),
        ("a.png 1,1,9,9,1 1,2,3,4,5,6", "line 2, box 2", "expected xmin,ymin,xmax,ymax,class"),
        ("a.png 1,2,x,4,1", "line 2, box 1", "four numbers, and a class's name or whole number"),
        ("a.png 1_0,2,30,4,1", "line 2, box 1", "four numbers, and a class's name or whole number"),
        ("a.png 1,2,3,4,1.5", "line 2, box 1", "four numbers, and a class's name or whole number"),
        ("a.png 1,2,3,4,hot dog", "line 2", "'1,2,3,4,hot dog': a path with spaces, or a box"),
        ("a.png 1, 2, 3, 4, 1", "line 2", "'1,': expected no spaces within a box"),
        ("a.png 1,2,3,4,0", "line 2, box 1", "class 0 (0 is the background, the first"),
        ("a.png 1,2,3,4,3", "line 2, box 1", "class 3; classes has 1 to 2"),
        ("a.png 1,2,nan,4,1", "line 2, box 1", "is not finite"),
        ("a.png 1,2,inf,4,1", "line 2, box 1", "is not finite"),
        ("no.png 1,2,3,4,1", "line 2", "no such file"),
        ('"a.png 1,2,3,4,1', "line 2", "in quotes if it has spaces"),
        ("sub/b c.png 1,2,3,4,1", "line 2", "'sub/b c.png': a path with spaces, or a box whose"),
        ("d.png 1,2,3,4,1", "line 2", "d.png is on line 1 already"),
        ("text.png 1,2,3,4,1", "line 2", "text.png: is text, not an image; it begins 'text'"),
    ],
)
def test_errors_name_the_line(folder, line, where, what):
    (folder / "text.png").write_text("text")
    path = write(folder, f"d.png 1,1,9,9,1\n{line}\n")
    found, problems = read_txt(path, folder, CLASSES)
    assert len(problems.errors) >= 1
    assert problems.errors[0].where == where
    assert what in problems.errors[0].what
    with pytest.raises(InputError, match=r"boxes.txt: \d errors?\n"):
        problems.raise_errors()
    assert found[0].boxes.tolist() == [[1, 1, 9, 9]]  # the good line is kept


def test_repairs_name_the_line(folder):
    path = write(folder, "\na.png 1,1,9,9,1 9,9,2,2,1 -1,0,99,9,2 1,1,9,9,1\n")
    found, problems = read_txt(path, folder, CLASSES)
    assert {(p.where, p.what) for p in problems.repairs} == {
        ("line 2, box 2", "box without area inside the image dropped"),
        ("line 2, box 3", "box clipped to the image"),
        ("line 2, box 4", "box that repeats another dropped"),
    }
    assert found[0].boxes.tolist() == [[1, 1, 9, 9], [0, 0, 40, 9]]


def test_files_that_cannot_be_read(folder):
    with pytest.raises(InputError, match="none.txt: cannot be read"):
        read_txt(folder / "none.txt", folder, CLASSES)
    for encoding, what in (("utf-16", "UTF-16; save it as UTF-8"), ("utf-16-le", "not text")):
        (folder / "wide.txt").write_bytes("a.png 1,2,3,4,1\n".encode(encoding))
        with pytest.raises(InputError, match=f"wide.txt: is {what}"):
            read_txt(folder / "wide.txt", folder, CLASSES)
    (folder / "list.txt").write_bytes(b"PK\x03\x04zip")
    with pytest.raises(InputError, match=r"list.txt: is a zip archive; unpack it"):
        read_txt(folder / "list.txt", folder, CLASSES)


def test_names_of_another_encoding(folder):
    os.rename(folder / "a.png", os.fsencode(folder) + b"/caf\xe9.png")
    os.rename(folder / "d.png", folder / "na\u00efve.png")
    path = folder / "latin.txt"
    path.write_bytes(b"caf\xe9.png 1,2,3,4,1\nna\xefve.png\n")  # the second is UTF-8 on disk
    found, problems = read_txt(path, folder, CLASSES)
    assert problems.errors == []
    assert [found.file_name(i) for i in range(2)] == ["caf\udce9.png", "na\u00efve.png"]
    assert found[0].read().shape == (30, 40, 3)
    assert found.repairs == {
        "file found under a name that differs in an encoding that is not UTF-8": 1
    }


def test_image_that_is_named_twice_in_other_spellings(folder):
    text = "a.png\nA.png\n"
    _, problems = read_txt(write(folder, text), folder, CLASSES)
    (error,) = problems.errors
    assert error.where == "line 2"
    assert error.what.endswith("A.png; the nearest is 'a.png', but that is line 1 ('a.png')")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a.png,1,2,3,4,cat\nd.png,,,,,\n", "has columns apart by commas, as CSV"),
        ("filename,width,height,class,xmin,ymin,xmax,ymax\na.png,9,9,cat,1,2,3,4", "commas"),
        ("a b.png;1;2;3;4;cat\n", "semicolons"),
        ("a.png\t1\t2\t3\t4\t1\n", "tabs"),
        ("a.png|1|2|3|4|1\n", "bars"),
        ("a.png, 1,2,3,4,cat\n", "commas"),
        ("a.png 1 2 3 4 1\n", "apart by spaces (its first line is 'a.png 1 2 3 4 1'); expected a"),
        ("0 0.5 0.5 0.25 0.125\n1 0 0 1 1\n", "the boxes of one image, as YOLO writes them"),
        ('{"images": [', "JSON; --dataset=coco reads COCO's"),
        ("[\n", "JSON"),
        ("<annotation>\n", "XML; --dataset=voc reads"),
    ],
)
def test_other_formats_are_named_once(folder, text, what):
    with pytest.raises(InputError) as caught:
        read_txt(write(folder, text), folder, CLASSES)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)
    is_table = "columns" in str(caught.value)  # that the converter reads
    assert ("--from=csv" in str(caught.value)) == is_table


@pytest.mark.parametrize(
    "line",
    [
        "a.png 1,2,3,4,1 1,2,3,4,2",
        "[1].png",
        "a.png\t1,2,3,4,1\t1,2,3,4,1\t1,2,3,4,1\t1,2,3,4,1",
        "a;b,c.png 1,2,3,4,1",
        "1 2.png",
        "a.png 1,2,3,4,1,2",
        "a.png 1,2,3,4",
    ],
)
def test_our_own_lines_are_not_taken_for_another_format(line):
    assert other_format([line], Path("boxes.txt")) == ""


def test_images_that_are_missing_are_named_where_a_share_is_held_out(folder):
    """Not that nothing is left to hold out."""
    path = write(folder, "no.png 1,2,3,4,1\nnone.png 1,2,3,4,1\n")
    keys = {"dataset": "other", "anno_path": str(path), "image_dir": str(folder)}
    cfg = make_config([({**keys, "val_share": 0.1, "classes": ["cat", "dog"]}, "test")])
    for training in (True, False):
        with pytest.raises(InputError, match="all 2 images: no such file .* such as line 1"):
            build_annotations(cfg, training=training)


def test_folders_in_front_are_what_is_wrong_beside_backslashes(folder):
    _, problems = read_txt(write(folder, "C:\\data\\x\\a.png 1,2,3,4,1\n"), folder, CLASSES)
    assert "'a.png' (it differs in backslashes, folders in front)" in problems.errors[0].what


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"bbox": [1]}]', "of another tool .*labelme"),
        ("<annotation>", "of another tool .*cvat"),
    ],
)
def test_other_formats_lead_on(folder, text, expected):
    with pytest.raises(InputError, match=expected):
        read_txt(write(folder, text), folder, CLASSES)


def test_a_share_that_cannot_be_held_out_evaluates_nothing_beside_errors(folder):
    """So no image counts as being in both splits."""
    path = write(folder, "a.png 1,2,3,4,1\nno.png\n")
    keys = {"dataset": "other", "anno_path": str(path), "image_dir": str(folder)}
    cfg = make_config([({**keys, "val_share": 0.1, "classes": ["cat", "dog"]}, "test")])
    trained, problems = find_source(cfg, training=True).read()
    assert len(problems.errors) == 1 and len(trained) == 1
    assert len(find_source(cfg, training=False).read()[0]) == 0
