import cv2
import numpy as np
import pytest

from src.data.annotations import DIFFICULT
from src.data.readers.voc_reader import inputs as voc_inputs
from src.data.readers.voc_reader import read_voc, voc_paths
from src.runtime.errors import InputError

CLASSES = ("background", "cat", "dog")


def object_xml(name, box, difficult=None):
    corners = "".join(
        f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box)
    )
    flag = "" if difficult is None else f"<difficult>{difficult}</difficult>"
    return f"<object><name>{name}</name>{flag}<bndbox>{corners}</bndbox></object>"


def image_xml(*objects, size="<size><width>40</width><height>30</height></size>"):
    return f"<annotation>{size}{''.join(objects)}</annotation>"


@pytest.fixture
def root(tmp_path):
    """Pascal VOC's folders with nothing in them."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def add(root, name, xml, suffix=".jpg"):
    """An image of 40 x 30 with its annotation, added to the split "train"."""
    cv2.imwrite(str(root / "JPEGImages" / f"{name}{suffix}"), np.zeros((30, 40, 3), np.uint8))
    if xml is not None:
        (root / "Annotations" / f"{name}.xml").write_text(xml)
    with open(root / "ImageSets" / "Main" / "train.txt", "a") as file:
        file.write(f"{name}\n")


def read(root, **options):
    return read_voc(*voc_paths(str(root), "train"), CLASSES, **options)


def test_boxes_count_pixels_from_one_and_include_the_last(root):
    add(
        root,
        "2007_01",
        image_xml(object_xml("dog", (1, 1, 40, 30)), object_xml("cat", (5, 6, 7.5, 8))),
    )
    add(root, "empty", image_xml())
    found, problems = read(root)
    assert problems.errors == problems.repairs == []
    assert found.regions == DIFFICULT
    assert found.where(1) == "line 2"
    assert found[0].boxes.tolist() == [[0, 0, 40, 30], [4, 5, 7.5, 8]]
    assert found[0].labels.tolist() == [1, 0]
    assert found[1].boxes.shape == (0, 4)
    assert found.image_ids.tolist() == [1, 2]
    assert found[1].path == root / "JPEGImages" / "empty.jpg"


def test_difficult_objects_are_ignored_regions(root):
    boxes = [(1, 1, 9, 9), (2, 2, 9, 9), (3, 3, 9, 9)]
    flags = [None, 0, 1]
    add(root, "a", image_xml(*(object_xml("cat", b, f) for b, f in zip(boxes, flags))))
    found, _ = read(root)
    assert found.crowd.tolist() == [False, False, True]
    assert "(1 difficult)" in found.summary()


def test_parts_of_a_person_are_no_objects(root):
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    add(
        root,
        "a",
        image_xml(object_xml("cat", (1, 1, 9, 9)).replace("</object>", f"{part}</object>")),
    )
    found, problems = read(root)
    assert problems.errors == []
    assert len(found.boxes) == 1


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>"])
def test_size_comes_from_the_image_where_the_annotation_lacks_it(root, size):
    add(root, "a", image_xml(size=size))
    found, problems = read(root)
    assert problems.errors == []
    assert found.sizes.tolist() == [[40, 30]]


def test_other_image_formats(root):
    add(root, "a", image_xml(), ".png")
    add(root, "b.c", image_xml(), ".JPEG")
    add(root, "d", image_xml(), ".png")
    add(root, "d", image_xml(), ".jpg")
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\nb.c\nd\n")
    found, _ = read(root)
    assert [found.file_name(i) for i in range(3)] == ["a.png", "b.c.JPEG", "d.jpg"]


@pytest.mark.parametrize(
    ("xml", "where", "what"),
    [
        (None, "line 2 of train.txt", "no such file"),
        (
            '<?xml version="1.0" encoding="gb2312"?><a/>',
            "line 2 of train.txt",
            "not XML: multi-byte",
        ),
        (
            '<?xml version="1.0" encoding="foo"?><a/>',
            "line 2 of train.txt",
            "not XML: unknown encoding",
        ),
        (
            "<annotation>",
            "line 2 of train.txt",
            "bad.xml: not XML: no element found: line 1",
        ),
        (image_xml("<object><name>cat</name></object>"), "bad.xml, object 1", "has no <bndbox>"),
        (image_xml(object_xml("cat", (1, 2, "x", 4))), "bad.xml, object 1", "<xmax> is 'x'"),
        (image_xml(object_xml("", (1, 2, 3, 4))), "bad.xml, object 1", "has no <name>"),
        (
            "<object><bndbox/></object>",
            "line 2 of train.txt",
            "bad.xml: begins with <object>, not with VOC's",
        ),
        ("<annotations><image/></annotations>", "line 2 of train.txt", "src.data.convert"),
        ("<html></html>", "line 2 of train.txt", "bad.xml: begins with <html>"),
        ("", "line 2 of train.txt", "bad.xml: is empty (0 bytes)"),
        ("<a/><b/>", "line 2 of train.txt", "not XML: junk after document element: line 1"),
        ("<a>\0</a>", "line 2 of train.txt", "not XML: not well-formed (invalid token): line 1"),
        ("<!doctype html><p>", "line 2 of train.txt", "bad.xml: is a web page (HTML)"),
        (image_xml(object_xml("cat", (1, 2, "nan", 4))), "bad.xml, object 1", "is not finite"),
        (
            image_xml(object_xml("cta", (1, 2, 3, 4)), object_xml("cta", (1, 2, 3, 4))),
            "class 'cta' (2 objects, first: bad.xml, object 1)",
            "not in classes; add it, or --unlisted_classes=drop; did you mean 'cat'?",
        ),
    ],
)
def test_errors_name_the_file(root, xml, where, what):
    add(root, "good", image_xml(object_xml("cat", (1, 1, 9, 9))))
    add(root, "bad", xml)
    found, problems = read(root)
    (error,) = problems.errors
    assert error.where == where
    assert what in error.what
    assert found[0].boxes.tolist() == [[0, 0, 9, 9]]


def test_images_that_are_missing_or_listed_twice(root):
    add(root, "a", image_xml())
    add(root, "a", image_xml())
    add(root, "b", image_xml())
    (root / "JPEGImages" / "b.jpg").unlink()
    _, problems = read(root)
    assert [e.where for e in problems.errors] == ["line 2 of train.txt", "line 3 of train.txt"]
    assert problems.errors[0].what == "a is on line 1 already; leave one of them out"
    assert problems.errors[1].what.endswith("JPEGImages/b.jpg")


def listing(root, text):
    (root / "ImageSets" / "Main" / "train.txt").write_text(text)


def test_list_of_one_class(root):
    for name in ("a", "b", "c"):
        add(root, name, image_xml(object_xml("cat", (1, 1, 9, 9))))
    listing(root, "a  1\nb -1\nc  0\n")
    found, problems = read(root)
    assert problems.errors == []
    assert [found.file_name(i) for i in range(3)] == ["a.jpg", "b.jpg", "c.jpg"]
    assert len(found.boxes) == 3  # what is in an image its annotation says
    (what,) = found.repairs
    assert what.startswith("second column left out: 1, -1 or 0 for one class, as in VOC's own")


def test_names_in_the_list_with_suffixes_folders_and_annotations(root):
    for name in ("a", "b", "c"):
        add(root, name, image_xml())
    listing(root, "a.jpg a.xml\nJPEGImages/b.jpg b.xml\nC c.xml\n")
    found, problems = read(root)
    assert problems.errors == []
    assert [found.file_name(i) for i in range(3)] == ["a.jpg", "b.jpg", "c.jpg"]
    assert found.repairs == {
        "second column left out: the annotations' names": 1,
        "suffix in the list left out": 2,
        "file found under a name that differs in the folder's own name in front": 1,
        "file found under a name that differs in upper or lower case": 1,
    }


def test_images_in_sub_folders(root):
    (root / "JPEGImages" / "x").mkdir()
    (root / "Annotations" / "x").mkdir()
    for name in ("x/a", "x/b", "x/c"):
        add(root, name, image_xml(object_xml("dog", (1, 1, 9, 9))))
    found, problems = read(root)
    assert problems.errors == []
    assert found[0].path == root / "JPEGImages" / "x" / "a.jpg"
    assert len(found.boxes) == 3
    listing(root, "a\nb\nc\n")
    _, problems = read(root)
    (error,) = problems.errors
    assert error.where == "all 3 images"
    assert "such as line 1 of train.txt ('a.jpg'); there is 'x/a.jpg'" in error.what
    read_files, _ = voc_inputs(root / "ImageSets" / "Main" / "train.txt", root / "JPEGImages")
    assert len(read_files) == 4


@pytest.mark.parametrize(
    ("text", "crowd", "what"),
    [
        ("Unspecified", False, "difficult 'Unspecified' taken as 0"),
        ("", False, "difficult '' taken as 0"),
        ("False", False, "difficult 'False' taken as 0"),
        ("true", True, "difficult 'true' taken as 1"),
        (" 1 ", True, None),
    ],
)
def test_difficult_as_other_tools_write_it(root, text, crowd, what):
    xml = object_xml("cat", (1, 1, 9, 9), 1).replace("t>1</d", f"t>{text}</d")
    add(root, "a", image_xml(xml))
    found, problems = read(root)
    assert problems.errors == []
    assert found.crowd.tolist() == [crowd]
    assert list(found.repairs) == ([] if what is None else [what])


def test_annotations_with_a_namespace_or_another_root(root):
    body = image_xml(object_xml("cat", (1, 1, 9, 9)))
    add(root, "a", body.replace("<annotation>", '<annotation xmlns="http://voc">'))
    add(root, "b", body.replace("annotation>", "Annotation>"))
    found, problems = read(root)
    assert problems.errors == []
    assert len(found.boxes) == 2
    assert found.repairs == {"<Annotation> read as <annotation>": 1}


def test_sizes_with_a_point(root):
    add(root, "a", image_xml(size="<size><width>40.0</width><height>30.0</height></size>"))
    assert read(root)[0].sizes.tolist() == [[40, 30]]


def test_unlisted_classes_can_be_dropped(root):
    add(root, "a", image_xml(object_xml("cow", (1, 1, 9, 9)), object_xml("dog", (2, 2, 9, 9))))
    found, problems = read(root, drop_unlisted=True)
    assert problems.errors == []
    assert found.labels.tolist() == [1]
    assert "class 'cow' (1 object, first: a.xml, object 1)" in found.summary()


def test_missing_folders_and_lists_are_named(root, tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder; voc_root"):
        voc_paths("nowhere", "train")
    with pytest.raises(InputError, match=r"train.txt: no such file; check --train_split"):
        voc_paths(str(root), "train")
    (root / "JPEGImages").rmdir()
    with pytest.raises(InputError, match="JPEGImages: no such folder"):
        voc_paths(str(root), "train")


def test_what_another_folder_holds(tmp_path):
    (tmp_path / "devkit" / "VOC2007").mkdir(parents=True)
    with pytest.raises(InputError, match="voc_root is the .*; .*/devkit has VOC2007$"):
        voc_paths(str(tmp_path / "devkit"), "train")


def test_xml_files_without_lists_are_converted(root):
    (root / "ImageSets" / "Main").rmdir()
    with pytest.raises(InputError, match="train.txt: no such file; write it, .* --from=voc .*/Ann"):
        voc_paths(str(root), "train")
