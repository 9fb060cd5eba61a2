"""Files of a folder by name, and the nearest one."""

import pytest

from src.data.files.folder import ELSEWHERE, IN_FRONT, SUB_FOLDER, SUFFIX, Folder


def test_folder_lists_each_directory_once(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.jpg").touch()
    (tmp_path / "y.jpg").touch()
    folder = Folder(tmp_path)
    for name, there in (
        ("a/b/x.jpg", True),
        ("y.jpg", True),
        ("./y.jpg", True),
        ("a/../y.jpg", True),
        ("x.jpg", False),
        ("no/y.jpg", False),
        (str(tmp_path / "y.jpg"), True),
    ):
        assert folder.holds(name) == there
    (tmp_path / "y.jpg").unlink()
    assert folder.holds("y.jpg")  # not looked at again


@pytest.fixture
def folder(tmp_path):
    """A folder train2017 with a few files."""
    root = tmp_path / "train2017"
    for name in ("a one.jpg", "b.jpg", "caf\u00e9.jpg", "sub/c.jpg", "d.png", ".hidden/e.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return Folder(root)


@pytest.mark.parametrize(
    ("name", "found", "what"),
    [
        ("sub\\c.jpg", "sub/c.jpg", "backslashes"),
        ("a%20one.jpg", "a one.jpg", "URL escapes such as %20"),
        ("cafe\u0301.jpg", "caf\u00e9.jpg", "another Unicode form"),
        ("caf%C3%A9.jpg", "caf\u00e9.jpg", "URL escapes such as %20"),
        ("B.JPG", "b.jpg", "upper or lower case"),
        ("b.jpg ", "b.jpg", "spaces at the ends"),
        ("SUB\\C.jpg", "sub/c.jpg", "backslashes, upper or lower case"),
        ("train2017/b.jpg", "b.jpg", "the folder's own name in front"),
        ("C:\\data\\train2017\\b.jpg", "b.jpg", "backslashes, the folder's own name in front"),
        ("..\\train2017\\sub\\c.jpg", "sub/c.jpg", "backslashes, the folder's own name in front"),
    ],
)
def test_names_that_can_mean_one_file_alone(folder, name, found, what):
    file, match = folder.resolve(name)
    assert file == found
    assert match.describe() == what


@pytest.mark.parametrize(
    ("name", "nearest", "how"),
    [
        ("/home/me/b.jpg", "b.jpg", IN_FRONT),
        ("upload/4/a%20one.jpg", "a one.jpg", IN_FRONT),
        ("c.jpg", "sub/c.jpg", SUB_FOLDER),
        ("other/c.jpg", "sub/c.jpg", ELSEWHERE),
        ("d.jpg", "d.png", SUFFIX),
        ("D.jpeg", "d.png", SUFFIX),
    ],
)
def test_names_that_are_a_guess_are_not_taken(folder, name, nearest, how):
    file, match = folder.resolve(name)
    assert file is None
    assert (match.name, match.how) == (nearest, how)


@pytest.mark.parametrize("name", ["x.jpg", "e.jpg", "", "..", "a\0.jpg", "\ud800.jpg"])
def test_names_with_nothing_near(folder, name):
    assert folder.resolve(name) == (None, None)


def test_two_files_that_are_as_near(folder):
    (folder.path / "B.jpg").touch()
    file, match = folder.resolve("b.JPG")
    assert file is None
    assert {match.name, match.other} == {"b.jpg", "B.jpg"}
    assert folder.resolve("b.jpg") == ("b.jpg", None)
    # of two files in the folders the one with the equal name is nearer
    assert folder.resolve("train2017/B.jpg")[0] == "B.jpg"


def test_a_file_that_is_spelled_with_escapes_itself(tmp_path):
    (tmp_path / "50%20off.jpg").touch()
    assert Folder(tmp_path).resolve("50%20off.jpg") == ("50%20off.jpg", None)
    assert Folder(tmp_path).resolve("50 off.jpg")[0] == "50%20off.jpg"


def test_first_suffix_counts(tmp_path):
    for name in ("a.png", "a.JPG", "b.c.png", "sub/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = Folder(tmp_path)
    suffixes = (".jpg", ".png")
    found = [folder.with_suffix(name, suffixes) for name in ("a", "b.c", "sub/a", "b", "no/a")]
    assert found == ["a.JPG", "b.c.png", "sub/a.png", None, None]
