"""Suggestions for paths that are not there."""

import pytest

from src.runtime.near_path import nearest, no_file, no_folder


@pytest.fixture
def root(tmp_path):
    """Some files and folders."""
    for name in ("Data/train.txt", "Data/val.txt", "Data/boxes 1.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("data", "Data"),
        ("data/train.txt", "Data"),
        ("Data/Train.TXT", "Data/train.txt"),
        ("Data/trian.txt", "Data/train.txt"),
        ("Data/boxes_1.csv", "Data/boxes 1.csv"),
        ("Data\\train.txt", "Data/train.txt"),
        ("Data/train.txt ", "Data/train.txt"),
        ("Data/boxes%201.csv", "Data/boxes 1.csv"),
        ("Data/train.csv", "Data/train.txt"),
        ("Data/val", "Data/val.txt"),
        ("Data/box", "Data/boxes 1.csv"),
    ],
)
def test_nearly_the_name(root, wanted, there):
    assert nearest(root / wanted) == f"; there is {root / there}"


@pytest.mark.parametrize("wanted", ["other", "Data/test.jpg", "a\0b", "Data/a\0"])
def test_nothing_near(root, wanted):
    assert nearest(root / wanted) == ""


def test_relative_paths(root, monkeypatch):
    monkeypatch.chdir(root / "Data")
    assert nearest("trains.txt") == "; there is train.txt"
    assert nearest("") == nearest(".") == ""


def test_paths_with_more_around_them(root, monkeypatch):
    there = f"; there is {root}/Data/val.txt"
    assert nearest(f'"{root}/Data/val.txt"') == nearest(f"file://{root}/Data/val.txt") == there
    monkeypatch.chdir(root)
    for other in ("/content/pets/Data/val.txt", "C:\\pets\\Data\\val.txt"):
        assert nearest(other) == "; there is Data/val.txt"
    assert nearest("/x/Data") == ""  # by one name alone only below a base
    assert nearest("/x/Data", base=root) == f"; there is {root}/Data"


def test_links_that_lead_nowhere(root):
    (root / "circle").symlink_to("circle")
    (root / "gone").symlink_to("/gone/far")
    assert no_folder(root / "circle" / "x").endswith(
        f"/x: no such folder; {root}/circle is a link to circle, which leads nowhere"
    )
    assert no_file(root / "gone").endswith(
        f"{root}/gone is a link to /gone/far, which leads nowhere"
    )


def test_files_of_a_kind_where_none_is_near(root):
    assert nearest(root / "Data" / "zzzzzzz.txt", ".txt") == "; there is train.txt, val.txt"
    for number in range(9):
        (root / "Data" / f"{number}.txt").touch()
    assert nearest(root / "Data" / "zzzzzzz.txt", ".txt").endswith("3.txt, 4.txt, ...")


def test_a_folder_in_place_of_a_file(root):
    (root / "run" / "ckpt").mkdir(parents=True)
    for name in ("config.yaml", "ckpt/best.ckpt", "ckpt/best.txt"):
        (root / "run" / name).touch()
    wanted = f"{root}/run: is a folder; expected a file; it holds ckpt/best.ckpt"
    assert no_file(root / "run", ".ckpt") == wanted
    assert no_file(root / "Data").endswith("it holds boxes 1.csv, train.txt, val.txt")
    assert no_file(root / "run" / "Ckpt").endswith(f"there is the folder {root}/run/ckpt")


def test_a_file_in_place_of_a_folder(root):
    wanted = f"{root}/Data/val.txt: is a file; expected a folder"
    assert no_folder(root / "Data" / "val.txt") == wanted
    assert no_folder(root / "data") == f"{root}/data: no such folder; there is {root}/Data"
