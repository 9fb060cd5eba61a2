import pytest

from src.config.configuration import make_config
from src.data.readers.coco_file import load_content
from src.data.readers.coco_layout import coco_paths, find_coco
from src.runtime.errors import InputError


def find(training=True, **keys):
    return find_coco(make_config([(keys, "test")]), training=training)


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"images": [], "annotations": []}')
    return path


@pytest.mark.parametrize(("own", "name"), [("valid", "valid"), ("val", "val")])
def test_roboflows_folders_without_further_keys(tmp_path, own, name):
    for split in ("train", own, "test"):
        touch(tmp_path / split / "_annotations.coco.json")
    root = {"coco_root": str(tmp_path)}
    train, val, test = (tmp_path / split for split in ("train", name, "test"))
    assert find(**root) == (train / "_annotations.coco.json", train)
    assert find(False, **root) == (val / "_annotations.coco.json", val)
    found = find(False, **root, val_split="test")
    assert found == (test / "_annotations.coco.json", test)


def test_cocos_layout_with_other_names(tmp_path):
    path = touch(tmp_path / "annotations" / "instances_train.json")
    (tmp_path / "train").mkdir()
    assert find(coco_root=str(tmp_path)) == (path, tmp_path / "train")
    with pytest.raises(InputError, match="instances_train2014.json: no such file"):
        find(coco_root=str(tmp_path), train_split="train2014")  # it was asked for


def test_images_in_another_folder_than_cocos(tmp_path):
    """As CVAT exports them, in images/."""
    path = touch(tmp_path / "annotations" / "instances_default.json")
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError) as error:
        find(coco_root=str(tmp_path), train_split="default")
    flags = f"--train_json={path} and --train_images"
    assert str(error.value).endswith(f"of default there; for another folder give {flags}")


def test_any_file_and_folder(tmp_path):
    path = touch(tmp_path / "a" / "labels.json")
    (tmp_path / "pictures").mkdir()
    keys = {"train_json": str(path), "train_images": str(tmp_path / "pictures")}
    assert find(**keys) == (path, tmp_path / "pictures")
    assert find(train_json=str(path)) == (path, tmp_path / "a")  # images beside it
    assert find(False, val_json=str(path)) == (path, tmp_path / "a")


@pytest.mark.parametrize(
    ("training", "keys", "message"),
    [
        (True, {"train_json": "none.json"}, "none.json: no such file"),
        (True, {"train_images": "x"}, "--train_images is given without --train_json"),
        (False, {"train_json": "{path}"}, "--val_json is needed, or hold out .* --val_share=0.1"),
        (
            True,
            {"train_json": "{path}", "train_images": "no"},
            "no: no such folder.*--train_images",
        ),
    ],
)
def test_what_is_missing_is_named(tmp_path, training, keys, message):
    path = touch(tmp_path / "labels.json")
    with pytest.raises(InputError, match=message):
        find(training, **{key: value.replace("{path}", str(path)) for key, value in keys.items()})


def test_a_folder_in_place_of_the_file(tmp_path):
    touch(tmp_path / "labels.json")
    with pytest.raises(InputError, match="is a folder; expected a file; it holds labels.json; che"):
        find(train_json=str(tmp_path))


def test_a_file_in_place_of_the_folder(tmp_path):
    path = touch(tmp_path / "labels.json")
    with pytest.raises(InputError, match="is a file; coco_root is .* goes to --train_json"):
        find(coco_root=str(path))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            [*(f"{number}.jpg" for number in range(9)), "train.txt"],
            "{root} has train.txt, 0.jpg, 1.jpg, 2.jpg, 3.jpg and 5 more",
        ),
        (["data.yaml"], "with --train_json, --train_images (and val); {root} has data.yaml"),
        (
            ["train/_annotations.coco.json", "valid/_annotations.coco.json"],
            "there is train, valid: name one with --train_split",
        ),
    ],
)
def test_what_the_folder_has_is_named(tmp_path, files, message):
    for name in files:
        touch(tmp_path / name)
    with pytest.raises(InputError) as error:
        find(coco_root=str(tmp_path), train_split="trian")
    assert str(error.value).endswith(message.format(root=tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,class,xmin,ymin,xmax,ymax\na.png,owl,4,6,24,16\n", "it is CSV, .*--from=csv"),
        (
            "<annotations><image/></annotations>",
            "it is XML, CVAT's; .*--from=cvat /.*a.json",
        ),
        ("<annotation/>", "it is XML, Pascal VOC's; .*--from=voc /.*/a.json OUTPUT"),
        ("hello", "Expecting value"),
    ],
)
def test_other_files_in_place_of_json(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=f"a.json: not a json file: .*{message}"):
        load_content(tmp_path / "a.json")


def test_the_splits_that_are_there_are_named(tmp_path):
    touch(tmp_path / "annotations" / "instances_val.json")
    with pytest.raises(InputError, match="there is val: name one with --val_split, or hold out"):
        coco_paths(str(tmp_path), "val2017", training=False)
