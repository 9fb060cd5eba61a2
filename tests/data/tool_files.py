"""Files of labelling tools, and their conversion as a user types it."""

import json

import numpy as np

from src.data.convert import main

# a.png is 40 x 30 and has an owl from (4, 6) to (24, 16) and a jay from (10, 10) to (30, 28)
OWL, JAY = [4, 6, 20, 10], [10, 10, 20, 18]


def labelme(name, *shapes):
    return json.dumps(
        {
            "version": "5.0.1", "flags": {}, "imagePath": name, "imageData": None,
            "imageWidth": 40, "imageHeight": 30,
            "shapes": [dict(zip(("label", "points", "shape_type"), s)) for s in shapes],
        }
    )  # fmt: skip


def region(value, **shape):
    return {"shape_attributes": shape, "region_attributes": {"kind": value}}


def voc(name, *objects):
    boxes = "".join(VOC_BOX.format(*values) for values in objects)
    return VOC.format(name, boxes)


TRIANGLE = {"all_points_x": [10, 30, 20], "all_points_y": [10, 12, 28]}


VIA = {
    "a.png123": {
        "filename": "a.png",
        "size": 123,
        "file_attributes": {},
        "regions": [
            region("owl", name="rect", x=4, y=6, width=20, height=10),
            region("jay", name="polygon", **TRIANGLE),
            region("jay", name="point", cx=3, cy=3),
        ],
    },
    "b.png123": {"filename": "b.png", "size": 123, "file_attributes": {}, "regions": {}},
}  # fmt: skip
CVAT = """<annotations><version>1.1</version>
<image id="0" name="a.png" width="40" height="30">
<box label="owl" xtl="4.0" ytl="6.0" xbr="24.0" ybr="16.0"/>
<polygon label="jay" points="10.0,10.0;30.0,12.0;20.0,28.0"/>
<points label="jay" points="3.0,3.0"/></image>
<image id="1" name="b.png" width="40" height="30"/></annotations>"""
VOC = """<annotation><filename>{}.png</filename><size><width>40</width><height>30</height></size>
{}</annotation>"""
VOC_BOX = """<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>
<ymax>{}</ymax></bndbox></object>"""
CREATEML = [
    {
        "image": "a.png",
        "annotations": [
            {"label": "owl", "coordinates": {"x": 14, "y": 11, "width": 20, "height": 10}},
            {"label": "jay", "coordinates": {"x": 20, "y": 19, "width": 20, "height": 18}},
        ],
    },
    {"image": "b.png", "annotations": []},
]
OPENIMAGES = """ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded
a,xclick,owl,1,0.1,0.6,0.2,0.5333333333,0
a,xclick,jay,1,0.25,0.75,0.3333333333,0.9333333333,0
"""
CSV = "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,40,30,owl,4,6,24,16\n"
CSV += "a.png,40,30,jay,10,10,30,28\n"
BARE = "a.png,4,6,24,16,owl\na.png,10,10,30,28,jay\nb.png,,,,,\n"
SIDES = "Image;Label;X;Y;Width;Height\na.png;owl;4;6;20;10\na.png;jay;10;10;20;18\n"

VIA_CSV = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes\n"
COCO = {"images": [], "annotations": [], "categories": []}

INPUTS = {
    "labelme": {
        "j/a.json": labelme(
            "..\\a.png",
            ("owl", [[4, 6], [24, 16]], "rectangle"),
            ("jay", [[10, 10], [30, 12], [20, 28]], "polygon"),
            ("jay", [[3, 3]], "point"),
        ),
        "j/b.json": labelme("../b.png"),
    },
    "via": {"via.json": json.dumps({"_via_settings": {}, "_via_img_metadata": VIA})},
    "cvat": {"cvat.xml": CVAT},
    "voc": {
        "x/a.xml": voc("a", ("owl", 5, 7, 24, 16), ("jay", 11, 11, 30, 28)),
        "x/b.xml": voc("b"),
    },
    "createml": {"createml.json": json.dumps(CREATEML)},
    "openimages": {"boxes.csv": OPENIMAGES},
    "csv": {"boxes.csv": CSV},
    "csv without a heading": {"boxes.csv": BARE},
    "csv of sides": {"boxes.csv": SIDES},
}  # fmt: skip


def convert(folder, title, files, *flags):
    """Writes the files, converts them, and gives the content of the json file."""
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    name = next(iter(files))
    source = folder / (name.split("/")[0])
    output = folder / "out" / "coco.json"
    main([f"--from={title.split()[0]}", str(source), str(output), f"--images={folder}", *flags])
    return json.loads(output.read_text())


def boxes_of(folder, tool, files):
    """(class, box) pairs as they are written, rounded."""
    content = convert(folder, tool, files)
    names = {c["id"]: c["name"] for c in content["categories"]}
    return [
        (names[a["category_id"]], *np.round(a["bbox"], 3).tolist()) for a in content["annotations"]
    ]
