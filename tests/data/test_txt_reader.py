import cv2
import numpy as np
import pytest

from src.data.annotations import CROWDS
from src.data.txt_reader import image_names, read_txt
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
    assert image_names(found.source) == ["a.png", "sub/b c.png", "d.png"]


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
        ("a.png 1,2,x,4,1", "line 2, box 1", "four numbers and a whole one"),
        ("a.png 1_0,2,30,4,1", "line 2, box 1", "four numbers and a whole one"),
        ("a.png 1,2,3,4,1.5", "line 2, box 1", "four numbers and a whole one"),
        ("a.png 1, 2, 3, 4, 1", "line 2, box 1", "'1,': expected"),
        ("a.png 1,2,3,4,0", "line 2, box 1", "class 0 (0 is the background); classes has 1 to 2"),
        ("a.png 1,2,3,4,3", "line 2, box 1", "class 3; classes has 1 to 2"),
        ("a.png 1,2,nan,4,1", "line 2, box 1", "is not finite"),
        ("a.png 1,2,inf,4,1", "line 2, box 1", "is not finite"),
        ("no.png 1,2,3,4,1", "line 2", "no such file"),
        ('"a.png 1,2,3,4,1', "line 2", "in quotes if it has spaces"),
        ("sub/b c.png 1,2,3,4,1", "line 2", "sub/b; a path with spaces goes in quotes"),
        ("d.png 1,2,3,4,1", "line 2", "d.png is on line 1 already"),
        ("text.png 1,2,3,4,1", "line 2", "text.png: not an image"),
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
    (folder / "latin.txt").write_bytes("a.png\nb\u00e9.png".encode("latin-1"))
    with pytest.raises(InputError, match="latin.txt: line 2: not UTF-8"):
        read_txt(folder / "latin.txt", folder, CLASSES)
