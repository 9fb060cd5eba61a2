from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from src.config.configuration import make_config
from src.data.classes import with_classes
from src.data.dataset import build_annotations, find_source
from src.data.readers.yolo_reader import as_stored, label_file, parse_line
from src.runtime.errors import InputError

WIDTH, HEIGHT = 40, 20


@pytest.fixture
def root(tmp_path):
    """images/train/a.png and b.png, images/val/c.png, their boxes, and data.yaml."""
    for name in ("train/a", "train/b", "val/c"):
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(path)
        (tmp_path / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
    write(tmp_path, "train/a", "1 0.5 0.5 0.25 0.4\n0 0.1 0.2 0.1 0.2\n")
    write(tmp_path, "val/c", "0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [owl, jay]\n")
    return tmp_path


def write(root, name, text):
    (root / "labels" / f"{name}.txt").write_text(text)


def config(root, **keys):
    own = {"dataset": "yolo", "yolo_root": str(root), "output_path": str(root / "run")}
    return with_classes(make_config([({**own, **keys}, "test")]), lambda line: None)


def read(root, *, training=True, **keys):
    return build_annotations(config(root, **keys), training=training)


def test_shares_of_the_sides_become_pixels(root):
    found = read(root)
    assert [found.file_name(i) for i in range(2)] == ["images/train/a.png", "images/train/b.png"]
    # centre 20, 10 with sides 10, 8; centre 4, 4 with sides 4, 4
    assert found[0].boxes == pytest.approx(np.array([[15, 6, 25, 14], [2, 2, 6, 6]]))
    assert found[0].labels.tolist() == [1, 0]
    assert len(found[1].boxes) == 0  # has no file of boxes
    assert len(read(root, training=False)) == 1
    assert config(root).classes == ("background", "owl", "jay")


def test_chosen_classes_in_another_order(root):
    assert read(root, classes=["jay", "owl"])[0].labels.tolist() == [0, 1]
    with pytest.raises(InputError, match="class 'owl' .*not in classes"):
        read(root, classes=["jay"])
    found = read(root, classes=["jay"], unlisted_classes="drop")
    assert found[0].boxes == pytest.approx(np.array([[15, 6, 25, 14]]))


def test_outlines_become_boxes(root):
    write(root, "train/a", "1 0.5 0.5 0.25 0.9 0.75 0.1\n")
    assert read(root)[0].boxes == pytest.approx(np.array([[10, 2, 30, 18]]))


@pytest.mark.parametrize(
    ("shape", "points"), [("[2, 2]", "0.4 0.4 0.6 0.6"), ("[1, 3]", "0.4 0.4 2")]
)
def test_key_points_are_left_out(root, shape, points):
    with (root / "data.yaml").open("a") as file:
        file.write(f"kpt_shape: {shape}\n")
    write(root, "train/a", f"1 0.5 0.5 0.25 0.4 {points}\n0 0.1 0.2 0.1 0.2\n")
    assert read(root)[0].boxes.tolist() == [[15, 6, 25, 14], [2, 2, 6, 6]]
    write(root, "train/a", "1 0.5 0.5 0.25 0.4 0.4 0.4\n")
    with pytest.raises(InputError, match="7 numbers; expected class cx cy w h and [34] of key poi"):
        read(root)


def test_key_points_that_data_yaml_does_not_mention(root):
    faces = [f"0 0.{n} 0.5 0.2 0.4 0.{n} 0.4 0.{n} 0.6 0.{n} 0.5\n" for n in range(10, 90, 2)]
    write(root, "train/a", "".join(faces))
    with pytest.raises(InputError, match=r"all 40 outlines have 10 .* 'kpt_shape: \[3, 2\]'"):
        read(root)
    with (root / "data.yaml").open("a") as file:
        file.write("kpt_shape: [3, 2]\n")
    assert read(root)[0].boxes[0].tolist() == pytest.approx([0, 6, 8, 14])


def test_outlines_are_not_taken_for_key_points(root):
    pentagon = "0.{0} 0.2 0.{1} 0.2 0.{1} 0.5 0.{2} 0.6 0.{0} 0.5"
    lines = [f"0 {pentagon.format(n, n + 9, n + 5)}\n" for n in range(10, 90, 2)]
    write(root, "train/a", "".join(lines))
    assert "key_points" not in [sign.name for sign in read(root).signs]


@pytest.mark.parametrize(
    "text",
    [
        "path: .\ntrain: images/train\nval: images/val\nnames: {0: owl, 1: jay}",
        "path: ../gone\ntrain: images/train\nval: [images/val]\nnames: {'0': owl, '1': jay}",
        "train: ../images/train\nval: ../images/val\nnc: 2\nnames: [owl, jay]",  # Roboflow's
        "path: {root}\ntrain: images/train\nvalid: {root}/images/val\nnames: ['owl', 'jay']",
        "train: train.txt\nval: images/val\nnames:\n  0: owl\n  1: jay",
    ],
)
def test_ways_to_say_where(root, text):
    (root / "train.txt").write_text("./images/train/a.png\n\n./images/train/b.png\n")
    (root / "data.yaml").write_text(text.replace("{root}", str(root)))
    for own in (root, root / "data.yaml"):
        found = read(own, output_path=str(root / "run"))
        assert [path.name for path in (found[0].path, found[1].path)] == ["a.png", "b.png"]
        assert found[0].labels.tolist() == [1, 0]
        assert len(read(own, training=False, output_path=str(root / "run"))) == 1


def test_several_folders_of_one_split(root):
    (root / "data.yaml").write_text(
        "train: [images/train, images/val]\nval: images/val\nnames: [owl, jay]"
    )
    assert len(read(root)) == 3


def test_another_split(root):
    (root / "data.yaml").write_text("train: images/train\ntest: images/val\nnames: [owl, jay]")
    assert len(read(root, training=False, val_split="test")) == 1
    with pytest.raises(
        InputError, match="has no 'val'; there is train, test: name one with --val_"
    ):
        read(root, training=False)


@pytest.mark.parametrize("turn", range(1, 9))
def test_boxes_are_of_the_upright_picture(turn, tmp_path):
    """Against Pillow, which turns a picture with a marked pixel."""
    stored = Image.new("L", (4, 3))
    stored.putpixel((1, 0), 255)
    exif = Image.Exif()
    exif[274] = turn
    stored.save(tmp_path / "a.png", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
    ((y, x),) = np.argwhere(upright)
    height, width = upright.shape
    box = (x / width, y / height, (x + 1) / width, (y + 1) / height)
    assert as_stored(box, turn) == pytest.approx((1 / 4, 0, 2 / 4, 1 / 3))


def test_turned_pictures_are_nothing_suspicious(root):
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 3
    for path in (root / "images" / "train").iterdir():
        Image.open(path).save(path, exif=tags)
    assert {sign.name for sign in read(root).signs} & {"orientation", "turned"} == set()


def test_where_the_boxes_of_an_image_are(tmp_path):
    assert label_file(tmp_path / "images/a/images/b.c.jpg") == tmp_path / "images/a/labels/b.c.txt"
    assert label_file(tmp_path / "mine/b.jpg") == tmp_path / "mine/b.txt"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2", "'0 0.5 0.5 0.2'; expected numbers apart by spaces: class cx cy w h, or"),
        ("0 0.5 0.5 0.2 0.2 0.9", "expected numbers apart by spaces: class cx cy w h, or class x1"),
        ("owl 0.5 0.5 0.2 0.2", "expected numbers apart by spaces: class cx cy w h"),
        ("0.5 0.5 0.5 0.2 0.2", "expected numbers apart by spaces: class cx cy w h"),
        ("0 0.5 0.5 0.2 nan", "nan; expected shares of the image's width and height, 0 to 1"),
        ("0 320 240 20 20", "320; expected shares of the image's width and height, 0 to 1, not pi"),
    ],
)
def test_a_malformed_line_is_named(root, line, message):
    write(root, "train/b", f"0 0.5 0.5 0.2 0.2\n{line}\n")
    with pytest.raises(InputError, match=r"labels/train/b.txt, line 2: ") as error:
        read(root)
    assert message in str(error.value)


def test_classes_without_a_name_are_counted(root):
    write(root, "train/b", "7 0.5 0.5 0.2 0.2\n7 0.5 0.5 0.3 0.2\n")
    where = r"class 7 \(2 objects, first: labels/train/b.txt, line 1\)"
    with pytest.raises(InputError, match=f"{where}: names of data.yaml has 0, 1"):
        read(root)
    write(root, "train/b", "")
    (root / "data.yaml").write_text("train: images/train\nnames: {1: owl, 2: jay}\n")
    with pytest.raises(InputError, match="class 0 .*names of data.yaml has 1, 2$"):
        read(root)


def test_names_stay_as_they_are_written(root):
    """YAML's words for true and false, numbers and dates."""
    text = "train: images/train\nnames: [on, off, 007, 1e3, 2024-01-01, 1_0]\n"
    (root / "data.yaml").write_text(text)
    found = config(root).classes
    assert found == ("background", "on", "off", "007", "1e3", "2024-01-01", "1_0")


def test_a_class_number_with_a_point_and_a_share_beyond_by_rounding():
    assert parse_line("1.0 0.5 0.5 1.000001 1")[0] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "data.yaml: expected lines of 'key: value'"),
        ("train: [", "data.yaml: not YAML"),
        ("train: images/train", "names is missing; expected a list of class names"),
        ("train: images/train\nnames: 3", "names is '3'; expected a list of class names"),
        ("train: images/train\nnames: []", r"names is \[\]; expected"),
        ("train: images/train\nnames: [owl, ]\nnc: 2", "nc is 2, but names has 1: owl; correct"),
        ("train: images/train\nnames:\n- owl\n-\n", r"names is \['owl', None\]; expected"),
        ("train: {a: b}\nnames: [owl]", "train is {'a': 'b'}; expected a path, or a list of"),
        ("train: images/train/*.png\nnames: [owl]", "a pattern; expected .*, images/train"),
        ("train: images/tarin\nnames: [owl]", "'images/tarin': no such folder or list"),
        ("val: images/val\nnames: [owl]", "data.yaml: has no 'train'; there is val"),
    ],
)
def test_what_is_wrong_with_data_yaml(root, text, message):
    (root / "data.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        find_source(make_config([({"dataset": "yolo", "yolo_root": str(root)}, "")]), training=True)


def test_no_data_yaml(root):
    (root / "data.yaml").unlink()
    with pytest.raises(InputError, match="data.yaml: no such file; name .* has images, labels$"):
        read(root)
    for name in ("my.yaml", "your.yaml"):
        (root / name).write_text("a: b")
    with pytest.raises(InputError, match="has images, labels, my.yaml, your.yaml$"):
        read(root)
    with pytest.raises(InputError, match="nowhere: no such folder.*the folder with data.yaml"):
        find_source(config(Path("nowhere"), classes=["owl"]), training=True)


def test_no_images_in_the_folder(root):
    (root / "data.yaml").write_text("train: labels/train\nnames: [owl, jay]")
    with pytest.raises(InputError, match="train: 'labels/train' has no images; expected their fol"):
        read(root)


def test_a_folder_of_boxes_in_another_case(root):
    (root / "labels").rename(root / "Labels")
    with pytest.raises(InputError, match=f"and so on; there is {root}/Labels"):
        read(root)


def test_the_list_is_named_where_its_names_are_wrong(root):
    (root / "train.txt").write_text("".join(f"/a/{n}.png\n" for n in ("train/a", "train/b")))
    (root / "data.yaml").write_text("train: train.txt\nnames: [owl, jay]")
    with pytest.raises(InputError, match=r"write the names in \S*train.txt as they are"):
        read(root)


def test_no_boxes_at_all(root):
    labels = root / "labels" / "train" / "a.txt"
    labels.rename(root / "images" / "train" / "a.txt")
    where = f"expected {labels} and so on; there is {root}/images/train/a.txt: move it"
    with pytest.raises(InputError, match=f"none of its 2 images .* has a file of boxes; {where}$"):
        read(root)
    (root / "images" / "train" / "a.txt").unlink()
    with pytest.raises(InputError, match=f"expected {labels} and so on$"):
        read(root)


def test_a_listed_image_that_is_missing(root):
    (root / "train.txt").write_text("images/train/a.png\nimages/train/x.png\n")
    (root / "data.yaml").write_text("train: train.txt\nnames: [owl, jay]")
    with pytest.raises(InputError, match="train.txt, line 2: no such file .*images/train/x.png"):
        read(root)


def test_changed_boxes_are_read_again(root):
    assert len(read(root)[0].boxes) == 2
    write(root, "train/a", "1 0.5 0.5 0.25 0.4\n")
    assert len(read(root)[0].boxes) == 1


@pytest.mark.parametrize("reading", ["two corners, x1, y1, x2, y2", "x, y, width and height"])
def test_numbers_that_are_no_centres_are_an_error(tmp_path, reading):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for number in range(12):
        Image.new("L", (40, 20)).save(tmp_path / "images" / f"{number}.png")
        x, y = number % 4 / 4, number % 3 / 3
        last = (x + 0.25, y + 0.3) if reading.startswith("two") else (0.25, 0.3)
        lines = [f"0 {x} {y} {last[0]} {last[1]}\n", "0 0.25 0.4 0.6 0.6\n"]
        (tmp_path / "labels" / f"{number}.txt").write_text("".join(lines))
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [owl]\n")
    with pytest.raises(InputError, match=f"box_format: .* none if read as {reading}"):
        read(tmp_path)
