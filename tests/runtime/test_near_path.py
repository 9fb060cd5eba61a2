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
    assert no_file(root / "run" / "Ckpt").endswith(f"no such file; there is {root}/run/ckpt")


def test_a_file_in_place_of_a_folder(root):
    wanted = f"{root}/Data/val.txt: is a file; expected a folder"
    assert no_folder(root / "Data" / "val.txt") == wanted
    assert no_folder(root / "data") == f"{root}/data: no such folder; there is {root}/Data"
