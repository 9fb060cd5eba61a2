"""Missing images, reported by their causes."""

import pytest

from src.data.files.folder import Folder
from src.data.files.image_files import ImageFinder, Search
from src.data.problems import Problems


def look_for(root, names, source="boxes.txt", flag="--image_dir"):
    """Errors and repairs for these names in a folder, as (where, what)."""
    problems = Problems(root.parent / source)
    finder = ImageFinder(Folder(root), problems, flag)
    for number, name in enumerate(names, 1):
        finder.find(f"line {number}", name)
    finder.report()
    return [[(p.where, p.what) for p in kind] for kind in (problems.errors, problems.repairs)]


@pytest.fixture
def make(tmp_path):
    """Makes files below a folder and returns the folder `images` in it."""

    def make(*names):
        (tmp_path / "images").mkdir()
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path / "images"

    return make


def test_single_images_are_reported_with_the_nearest_file(make):
    root = make("images/a.jpg", "images/b.png", "images/sub/c.jpg")
    errors, repairs = look_for(root, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
    assert errors == [
        ("line 2", f"no such file {root}/b.jpg; there is 'b.png'"),
        ("line 3", f"no such file {root}/c.jpg; there is 'sub/c.jpg'"),
        ("line 4", f"no such file {root}/d.jpg"),
    ]
    assert repairs == []


def test_another_suffix_of_all(make):
    root = make("images/0.png", "images/1.png")
    (error,), _ = look_for(root, ["0.jpg", "1.jpg"])
    assert error == (
        "all 2 images",
        f"no such file in {root}, such as line 1 ('0.jpg'); there is '0.png'; write the suffix "
        f"of the files in {root.parent}/boxes.txt, or convert the files",
    )


def test_sub_folder_of_all_is_the_folder_that_fits(make):
    root = make("images/train/x/0.jpg", "images/train/x/1.jpg")
    (error,), _ = look_for(root, ["x/0.jpg", "x/1.jpg"])
    assert error[0] == "all 2 images"
    assert error[1].endswith(f"they are in {root}/train: set --image_dir={root}/train")


@pytest.mark.parametrize("place", ["photos", "photos/deep", "."])
def test_folder_beside_that_fits(make, place):
    root = make(f"{place}/0.jpg", f"{place}/1.jpg", "images/other.jpg")
    (error,), _ = look_for(root, ["0.jpg", "1.jpg"])
    fits = root.parent / place
    assert error == (
        "all 2 images",
        f"no such file in {root}, such as line 1 ('0.jpg'); they are in {fits}: "
        f"set --image_dir={fits}",
    )


def test_folders_in_front_of_all(make):
    root = make("images/0.jpg", "images/1.jpg")
    (error,), _ = look_for(root, ["/home/me/0.jpg", "/home/you/1.jpg"], "it's.json", "")
    assert error[1].endswith("there is '0.jpg'; --accept=[folders] takes them by their ends")


def test_files_of_all_in_one_folder_below(make):
    """As of Label Studio: the export names its own server's folders."""
    root = make("images/photos/0.jpg", "images/photos/1.jpg")
    (error,), _ = look_for(root, ["/data/upload/0.jpg", "/data/upload/1.jpg"])
    flags = f"--image_dir={root}/photos --accept=[folders]"
    assert error[1].endswith(f"there is 'photos/0.jpg'; {flags} takes them by their ends")
    (root / "other").mkdir()
    (root / "other" / "2.jpg").touch()
    (error,), _ = look_for(root, [f"/data/upload/{n}.jpg" for n in range(3)])
    assert error[1].endswith("boxes.txt as they are in the folder")


def test_folders_in_front_that_are_accepted(make):
    root = make("images/0.jpg", "images/sub/1.jpg", "images/sub/2.jpg", "images/2.jpg")
    names = ["/me/0.jpg", "C:\\me\\sub\\1.jpg", "/you/0.jpg", "/me/sub/2.jpg", "/me/x/2.jpg"]
    problems = Problems(root.parent / "boxes.txt")
    finder = Search("--image_dir", by_end=True).finder(root, problems)
    found = [finder.find(f"line {number}", name) for number, name in enumerate(names, 1)]
    # the third is a file that the first has, the last may be either of two
    assert found == ["0.jpg", "sub/1.jpg", None, "sub/2.jpg", None]
    assert [repair.what.partition("differs in ")[2] for repair in problems.repairs] == [
        "folders in front", "backslashes, folders in front", "folders in front",
    ]  # fmt: skip


def test_no_trace_of_any(make):
    root = make("images/x.jpg", "images/y.jpg")
    (error,), _ = look_for(root, ["0.jpg", "1.jpg"])
    assert error == (
        "all 2 images",
        f"no such file in {root}, such as line 1 ('0.jpg'); the folder has 2 files, such as "
        "'x.jpg'; check --image_dir",
    )


def test_folder_without_files(make):
    (error,), _ = look_for(make(), ["0.jpg", "1.jpg"])
    assert error[1].endswith("the folder has no files; check --image_dir")


def test_repairs_are_counted_and_no_file_is_taken_twice(make):
    root = make("images/a b.jpg", "images/c.jpg")
    names = ["a%20b.jpg", "A b.jpg", "c.jpg", "images/c.jpg"]
    errors, repairs = look_for(root, names)
    what = "file found under a name that differs in URL escapes such as %20"
    assert repairs == [("line 1 ('a%20b.jpg')", what)]
    assert [where for where, _ in errors] == ["line 2", "line 4"]
    assert errors[1][1].endswith("; the nearest is 'c.jpg', but that is line 3 ('c.jpg')")


def test_many_of_one_kind_are_one_error(make):
    root = make(*(f"images/{i}.png" for i in range(4)), "images/4.jpg")
    (error,), _ = look_for(root, [f"{i}.jpg" for i in range(5)])
    assert error[0] == "4 of 5 images"
