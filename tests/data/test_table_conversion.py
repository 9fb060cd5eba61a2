"""Tables of boxes in the layouts that tools write, and files whose images are called otherwise."""

import json

import numpy as np
import pytest
from PIL import Image

from src.data.convert import main
from src.runtime.errors import InputError

WIDTH, HEIGHT = 40, 30
# corners of two boxes in each of two images
BOXES = {"a.png": [(4, 6, 24, 16), (10, 10, 30, 28)], "b.png": [(30, 20, 39, 29), (2, 1, 8, 25)]}
NAMES = ("owl", "jay")
EXPECTED = sorted(
    (name, label, x1, y1, x2 - x1, y2 - y1)
    for name, boxes in BOXES.items()
    for label, (x1, y1, x2, y2) in zip(NAMES, boxes)
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in BOXES:
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "photos" / name)
    return tmp_path


def rows(line):
    """A line for each box by a function of image, class and corners."""
    boxes = [(n, c, *box) for n, two in BOXES.items() for c, box in zip(NAMES, two)]
    return "".join(f"{line(*box)}\n" for box in boxes)


TABLES = {
    "box in one cell": "image,label,bbox\n"
    + rows(lambda n, c, x, y, r, b: f'{n},{c},"[{x}, {y}, {r - x}, {b - y}]"'),
    "corners in one cell": "image;label;box\n" + rows(lambda n, c, *box: f"{n};{c};{list(box)}"),
    "no heading": rows(lambda n, c, *box: ",".join(map(str, (n, *box, c)))),
    "from 0, with the image's size": "path,width,height,label,x0,y0,x1,y1\n"
    + rows(lambda n, c, *box: ",".join(map(str, (n, WIDTH, HEIGHT, c, *box)))),
    "four points": "filename,class,x1,y1,x2,y2,x3,y3,x4,y4\n"
    + rows(lambda n, c, x, y, r, b: f"{n},{c},{x},{y},{r},{y},{r},{b},{x},{b}"),
    "centres": "image,label,x_center,y_center,width,height\n"
    + rows(lambda n, c, x, y, r, b: f"{n},{c},{(x + r) / 2},{(y + b) / 2},{r - x},{b - y}"),
    "other folders, no suffix": "image_id,label,xmin,ymin,xmax,ymax\n"
    + rows(lambda n, c, *box: ",".join(map(str, (n[0], c, *box)))),
}


def convert(folder, tool, name, text, *flags):
    """The rows of the file that is written."""
    source = folder / name
    source.parent.mkdir(exist_ok=True)
    if text is not None:
        source.write_text(text)
    images = () if any("--images" in flag for flag in flags) else (f"--images={folder}/photos",)
    main([f"--from={tool}", str(source), str(folder / "out.json"), *images, *flags])
    content = json.loads((folder / "out.json").read_text())
    files = {image["id"]: image["file_name"] for image in content["images"]}
    classes = {category["id"]: category["name"] for category in content["categories"]}
    return sorted(
        (files[a["image_id"]], classes[a["category_id"]], *np.round(a["bbox"], 3).tolist())
        for a in content["annotations"]
    )


@pytest.mark.parametrize("title", TABLES)
def test_layouts_of_tables(folder, title):
    assert convert(folder, "csv", "boxes.csv", TABLES[title]) == EXPECTED


def test_what_was_taken_is_told(folder, capsys):
    convert(folder, "csv", "a.csv", TABLES["box in one cell"])
    out = capsys.readouterr().out
    assert "note: the four numbers of a box were read as x, y, width and height" in out
    convert(folder, "csv", "a.csv", TABLES["no heading"].replace("a.png", "gs://bucket/a.png"))
    assert "such as 'a.png' for 'gs://bucket/a.png'" in capsys.readouterr().out
    text = "image,label,xmin,ymin,xmax,ymax\na.png,Owl,1,2,3,4\nb.png,owl,1,2,3,4\n"
    convert(folder, "csv", "a.csv", text)
    assert "note: 'Owl' = 'owl' are different classes, of 2" in capsys.readouterr().out


def test_the_class_of_all_boxes(folder):
    text = "filename,xmin,ymin,xmax,ymax\na.png,4,6,24,16\n"
    with pytest.raises(InputError, match="no column for class in .*; where all .* --class=NAME"):
        convert(folder, "csv", "a.csv", text)
    assert convert(folder, "csv", "a.csv", text, "--class=owl") == [("a.png", "owl", 4, 6, 20, 10)]
    bare = "a.png,4,6,24,16\n"
    assert convert(folder, "csv", "a.csv", bare, "--class=owl") == [("a.png", "owl", 4, 6, 20, 10)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image,label,xmin,ymin,xmax,ymax\na.png,owl,4,6,30,20\nb.png,owl,24,6,10,10\n",
            "image 'b.png': not boxes of xmin, .* x, y, w, h, let the heading .*left corner first",
        ),
        ("a.png,1,2\n", "first line 'a.png,1,2' is no heading; .* 3 columns .*: image, class, and"),
        ("owl,1,2,3,4,a.png,40,30\n", "is no heading; write one that names its 8 columns in the"),
    ],
)
def test_tables_that_are_not_what_they_say(folder, text, message):
    with pytest.raises(InputError, match=message):
        convert(folder, "csv", "a.csv", text)
    assert not (folder / "out.json").exists()


def labelme(path):
    """A file with an owl whose imagePath this is."""
    shape = {"label": "owl", "points": [[4, 6], [24, 16]], "shape_type": "rectangle"}
    size = {"imageWidth": WIDTH, "imageHeight": HEIGHT}
    return json.dumps({"shapes": [shape], "imagePath": path, **size})


@pytest.mark.parametrize("path", ["../images/{}.png", "IMG_{}.png", "a.png", "C:\\x\\{}.png"])
def test_labelmes_images_beside_their_files(folder, path):
    """imagePath is of another folder, another name, or that of another file."""
    for stem in "ab":
        (folder / "photos" / f"{stem}.json").write_text(labelme(path.format(stem)))
    found = convert(folder, "labelme", "photos", None)
    assert found == [(f"{stem}.png", "owl", 4, 6, 20, 10) for stem in "ab"]


def test_labelmes_files_of_one_image(folder):
    for name in ("x", "y"):
        (folder / "photos" / f"{name}.json").write_text(labelme("a.png"))
    with pytest.raises(InputError, match="x.json and .*y.json: have the same imagePath, 'a.png'"):
        convert(folder, "labelme", "photos", None)


def via(attributes):
    shape = {"name": "rect", "x": 4, "y": 6, "width": 20, "height": 10}
    region = {"shape_attributes": shape, "region_attributes": attributes}
    return json.dumps({"a": {"filename": "a.png", "regions": [region]}})


def test_vias_classes(folder):
    owl = [("a.png", "owl", 4, 6, 20, 10)]
    assert convert(folder, "via", "a.json", via({"kind": {"owl": True, "jay": False}})) == owl
    with pytest.raises(InputError, match="classes owl, jay are ticked; expected one"):
        convert(folder, "via", "a.json", via({"kind": {"owl": True, "jay": True}}))
    with pytest.raises(InputError, match="have no attributes; where all .* with --class=NAME"):
        convert(folder, "via", "a.json", via({}))
    assert convert(folder, "via", "a.json", via({}), "--class=owl") == owl
