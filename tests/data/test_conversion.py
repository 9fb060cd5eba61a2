"""Files of labelling tools as COCO's format, by the command that a user types."""

import json

import numpy as np
import pytest
from PIL import Image

from src.data.convert import main
from src.data.readers.coco_reader import read_coco
from src.runtime.errors import InputError
from tests.data.tool_files import (
    COCO,
    CSV,
    CVAT,
    INPUTS,
    JAY,
    OPENIMAGES,
    OWL,
    SIDES,
    VIA,
    VIA_CSV,
    boxes_of,
    convert,
    labelme,
    region,
    voc,
)


@pytest.fixture
def folder(tmp_path):
    """Two images; around the folder is nothing of other tests."""
    root = tmp_path / "own"
    root.mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (40, 30)).save(root / f"{name}.png")
    return root


@pytest.mark.parametrize("title", INPUTS)
def test_boxes_and_classes_are_those_of_the_tool(folder, title, capsys):
    content = convert(folder, title, INPUTS[title])
    assert [c["name"] for c in content["categories"]] == ["jay", "owl"]
    names = {c["id"]: c["name"] for c in content["categories"]}
    found = sorted(
        (names[a["category_id"]], *np.round(a["bbox"], 4)) for a in content["annotations"]
    )
    assert found == [("jay", *JAY), ("owl", *OWL)]
    assert [(i["width"], i["height"]) for i in content["images"]] == [(40, 30)] * len(
        content["images"]
    )
    printed = capsys.readouterr().out
    assert "2 boxes, 2 classes: jay, owl" in printed and "train with --train_json=" in printed
    assert ("left out, as they are no boxes: 1 x point" in printed) == (
        title in ("labelme", "via", "cvat")
    )
    # as the reader gets it
    annotations, problems = read_coco(
        folder / "out" / "coco.json", folder, ("background", "owl", "jay")
    )
    assert problems.errors == []
    assert sorted(annotations.boxes.round(3).tolist()) == [[4, 6, 24, 16], [10, 10, 30, 28]]
    assert annotations.object_counts()[0] == 2
    assert len(annotations) == (1 if title in ("openimages", "csv", "csv of sides") else 2)


def test_an_attribute_that_is_not_there(folder):
    with pytest.raises(InputError, match="the regions have kind, but no 'color'; name .* --label"):
        convert(folder, "via", INPUTS["via"], "--label=color")


def test_a_table_in_shares_of_the_sides(folder, capsys):
    """The image is 40 x 30; x and width are shares of 40, y and height of 30."""
    text = "image,label,x_min,y_min,x_max,y_max\na.png,owl,0.1,0.2,0.6,0.5\na.png,jay,0,0,1,1\n"
    assert boxes_of(folder, "csv", {"a.csv": text}) == [("owl", 4, 6, 20, 9), ("jay", 0, 0, 40, 30)]
    assert "within 0 and 1: read as shares of the images' sides" in capsys.readouterr().out
    sides = "image,label,x,y,w,h\na.png,owl,0.1,0.2,0.6,0.5\n"
    assert boxes_of(folder, "csv", {"a.csv": sides}) == [("owl", 4, 6, 24, 15)]


def test_sizes_of_images_in_a_table(folder):
    """Those of the table are taken, so images may be elsewhere."""
    content = convert(folder, "csv", {"a.csv": CSV.replace("a.png", "nowhere.png")})
    assert [(i["width"], i["height"]) for i in content["images"]] == [(40, 30)]
    sides = "image,label,x,y,w,h,image_width,image_height\nnowhere.png,owl,1,2,6,5,80,60\n"
    content = convert(folder, "csv", {"a.csv": sides})
    assert content["images"][0]["width"] == 80 and content["annotations"][0]["bbox"] == [1, 2, 6, 5]


def test_names_of_open_images_classes(folder, capsys):
    text = OPENIMAGES.replace("owl", "/m/01").replace("jay", "/m/02")
    assert [name for name, *_ in boxes_of(folder, "openimages", {"boxes.csv": text})] == [
        "/m/01",
        "/m/02",
    ]
    assert "note: /m/01 and so on are ids: for names put Open Images'" in capsys.readouterr().out
    (folder / "class-descriptions-boxable.csv").write_text('/m/01,Owl\n/m/02,"Jay, blue"\n')
    assert [name for name, *_ in boxes_of(folder, "openimages", {"boxes.csv": text})] == [
        "Owl",
        "Jay, blue",
    ]
    assert "are ids" not in capsys.readouterr().out


def test_images_are_found_near_the_annotations(folder, capsys):
    """The command that is printed names the folder in which they are."""
    place = folder / "voc" / "Annotations"
    place.mkdir(parents=True)
    (folder / "voc" / "JPEGImages").mkdir()
    (folder / "a.png").rename(folder / "voc" / "JPEGImages" / "a.png")
    (place / "a.xml").write_text(voc("a", ("owl", 5, 7, 24, 16)))
    main(["--from=voc", str(place), str(folder / "out.json")])
    assert f"--train_images={folder}/voc/JPEGImages; " in capsys.readouterr().out
    with pytest.raises(InputError, match="no 'a.png' in it; they are in .*: set --images=.*JPEGIm"):
        main(["--from=voc", str(place), str(folder / "out.json"), f"--images={place}"])
    (folder / "voc" / "JPEGImages" / "a.png").unlink()
    main(["--from=voc", str(place), str(folder / "out.json")])
    printed = capsys.readouterr().out
    assert "--train_images=FOLDER; " in printed
    assert f"note: not in {place}: 1 of 1 image, such as 'a.png'; name their folder" in printed


def test_the_folder_of_the_images_in_front_of_their_names(folder):
    sides = SIDES.replace("a.png", f"{folder.name}/a.png")
    assert boxes_of(folder, "csv", {"a.csv": sides})[0] == ("owl", *OWL)


def test_a_folder_that_is_made_is_named(folder, capsys):
    convert(folder, "csv", {"a.csv": CSV})
    assert f"note: made the folder {folder}/out" in capsys.readouterr().out


def test_text_that_is_not_utf8(folder):
    (folder / "a.json").write_bytes('{"shapes": []}'.encode("utf-16"))
    with pytest.raises(InputError, match="it is UTF-16; save it as UTF-8"):
        main(["--from=labelme", str(folder / "a.json"), str(folder / "out.json")])


def test_rotated_shapes_of_cvat_get_the_box_around_them(folder):
    """A 10 x 4 box at (15, 12) turned by 90 degrees is 4 x 10; a square of 2 by 45, 2.828."""
    shapes = """<box label="a" xtl="10" ytl="10" xbr="20" ybr="14" rotation="90.0"/>
<box label="b" xtl="9" ytl="9" xbr="11" ybr="11" rotation="315"/>
<ellipse label="c" cx="15" cy="12" rx="5" ry="2"/>
<ellipse label="d" cx="15" cy="12" rx="5" ry="2" rotation="90"/>
<mask label="e" rle="1" left="3" top="4" width="5" height="6"/></image>"""
    text = CVAT.replace("</image>", shapes, 1)
    assert boxes_of(folder, "cvat", {"a.xml": text})[2:] == [
        ("a", 13, 7, 4, 10),
        ("b", 8.586, 8.586, 2.828, 2.828),
        ("c", 10, 10, 10, 4),
        ("d", 13, 7, 4, 10),
        ("e", 3, 4, 5, 6),
    ]


def test_round_and_drawn_shapes_of_labelme_get_the_box_around_them(folder):
    shapes = (
        ("a", [[20, 15], [23, 19]], "circle"),  # of radius 5
        ("b", [[3, 4], [7, 9]], "mask"),  # pixels 3 to 7 and 4 to 9
        ("c", [[10, 5], [20, 15], [15, 20], [5, 10]], "oriented_rectangle"),
    )
    assert boxes_of(folder, "labelme", {"a.json": labelme("a.png", *shapes)}) == [
        ("a", 15, 10, 10, 10),
        ("b", 3, 4, 5, 6),
        ("c", 5, 5, 15, 15),
    ]


def test_a_turned_ellipse_of_via(folder):
    ellipse = {"name": "ellipse", "cx": 15, "cy": 12, "rx": 5, "ry": 2, "theta": np.pi / 2}
    content = {"a": {"filename": "a.png", "regions": [region("owl", **ellipse)]}}
    files = {"via.json": json.dumps(content)}
    assert boxes_of(folder, "via", files) == [("owl", 13, 7, 4, 10)]


def test_the_class_is_the_attribute_that_is_named(folder):
    two = json.loads(json.dumps(VIA))
    two["a.png123"]["regions"][0]["region_attributes"]["seen"] = "yes"
    files = {"via.json": json.dumps(two)}
    with pytest.raises(InputError, match="the regions have kind, seen; name .* by --label"):
        convert(folder, "via", files)
    assert len(convert(folder, "via", files, "--label=kind")["annotations"]) == 2


@pytest.mark.parametrize(
    ("title", "files", "message"),
    [
        ("labelme", {"a.json": "{"}, "a.json: not LabelMe's annotations of an image"),
        ("labelme", {"a.json": '{"shapes": [3]}'}, "a.json: not LabelMe's"),
        ("labelme", {"j/a.txt": ""}, "j: no file .*json in it"),
        ("via", {"a.json": "[]"}, "a.json: not VIA's annotations"),
        ("cvat", {"a.xml": "<annotations><track/></annotations>"}, "it is for video, whose tracks"),
        ("cvat", {"a.xml": CVAT.replace('"4.0"', '"4,0"')}, "a.xml: image 'a.png': not CVAT"),
        ("voc", {"x/a.xml": "<annotation/>"}, "a.xml: not Pascal VOC's annotations of an image"),
        ("createml", {"a.json": '[{"image": "a.png"}]'}, "a.json: entry 0: not CreateML's"),
        ("openimages", {"a.csv": OPENIMAGES.replace("\na,", "\nc,")}, "no size of .*c: .*; name"),
        ("csv", {"a.csv": CSV.replace("xmin", "foo")}, "a.csv: no column for .* in 'filename,"),
        ("csv", {"a.csv": CSV.replace(",16", ",x")}, "a.csv: line 2: not a box"),
        ("csv", {"a.csv": CSV.replace(",24,16", "")}, "a.csv: line 2: 6 cells; expected 8"),
        ("csv", {"a.csv": CSV.replace("16", "nan")}, "line 2: .*'nan'; expected a finite"),
        ("csv", {"a.csv": CSV.replace("owl", "")}, "line 2: not a box .*class ''; expected a name"),
        ("csv", {"a.csv": ""}, "a.csv: no images in it"),
        ("csv", {"a.csv": SIDES.replace("a.png", "nowhere.png")}, "no.* folder with --images"),
        ("csv", {"a.csv": SIDES.replace("20;", "2,5;")}, "'2,5' has a decimal comma; expected 2.5"),
        ("csv", {"a.csv": OPENIMAGES}, "a.csv: is Open Images'; use --from=openimages"),
        ("csv", {"a.csv": VIA_CSV}, "a.csv: is VIA's CSV; export .* as JSON and use --from=via"),
        ("via", {"a.csv": VIA_CSV}, "a.csv: is VIA's CSV; export .* as JSON and use --from=via"),
        ("via", {"a.json": labelme("a.png")}, "it is LabelMe's; use --from=labelme"),
        ("labelme", {"a.json": json.dumps(VIA)}, "it is VIA's; use --from=via"),
        ("via", {"a.json": json.dumps(COCO)}, "COCO's, which is read as it is: --train_json="),
        ("labelme", {"a.json": '{"a": 1}'}, r"not LabelMe's .* \(it has no 'shapes'"),
        ("createml", {"a.json": "3"}, r"\(a part of it is of another kind than expected\)"),
        ("cvat", {"a.xml": CVAT.replace('"40"', '"4O"')}, "'4O' is no number"),
        ("csv", {"a.csv": "\x00\x01\n"}, "a.csv"),
    ],
)  # fmt: skip
def test_bad_input_is_named_and_nothing_is_written(folder, title, files, message):
    with pytest.raises(InputError, match=message):
        convert(folder, title, files)
    assert not (folder / "out").exists()


@pytest.mark.parametrize("title", INPUTS)
def test_damaged_files_end_in_one_line(folder, title):
    """A file with bytes changed or cut off is converted or refused, never a traceback."""
    rng = np.random.default_rng(5)
    files = INPUTS[title]
    first = next(iter(files))
    for _ in range(40):
        data = bytearray(files[first].encode())
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.choice(list(b'0,"{}<>[]x;\n-\x00\xff'))
        if rng.random() < 0.3:
            del data[rng.integers(0, len(data)) :]
        try:
            convert(folder, title, {**files, first: bytes(data).decode("utf-8", "replace")})
        except InputError as error:
            assert "\n" not in str(error)


def test_the_command_line(folder, tmp_path):
    out = str(folder / "out.json")
    for argv, message in (
        ([], "command line: the following arguments are required"),
        (["--from=foo", "a", "b"], "command line: argument --from: invalid choice: 'foo'"),
        (["--from=coco", "a", "b"], "coco is read as it is: train.py --train_json=FILE"),
        (["--from=yolo", "a", "b"], "yolo is read as it is: train.py --dataset=yolo --yolo_root"),
        (["--from=csv", str(folder / "no.csv"), out], "no.csv: no such file or folder"),
        (["--from=csv", str(folder / "a.png"), str(folder)], "is a folder; expected the json file"),
        (
            ["--from=csv", str(folder / "a.png"), str(folder / "a.png")],
            "is the input; write to ano",
        ),
        (["--from=csv", str(folder / "a.png"), out, "--images=no"], "no: no such folder.*--images"),
        (["--from=csv", str(folder), out], "is a folder; expected one file"),
    ):
        with pytest.raises(InputError, match=message):
            main(argv)
