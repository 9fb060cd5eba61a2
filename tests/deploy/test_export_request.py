"""Keys of an export and the images it is compared by, without a network."""

from pathlib import Path

import pytest

from src.config.configuration import make_config
from src.deploy.export_request import comparison_images, images_in, target_path, with_format
from src.runtime.errors import InputError


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, "MINDIR"),
        ({"file_name": "a.onnx"}, "ONNX"),
        ({"file_name": "a.air"}, "AIR"),
        ({"file_name": "a.b"}, "MINDIR"),
        ({"file_name": "a", "file_format": "ONNX"}, "ONNX"),
        ({"file_name": "a.onnx", "file_format": "MINDIR"}, "MINDIR"),  # which is refused
    ],
)
def test_the_suffix_decides_on_the_format(keys, expected):
    assert with_format(make_config([(keys, "flags")])).file_format == expected


def test_images_of_a_folder_are_chosen_by_content(small, tmp_path):
    photo = next(Path(small.coco_root).glob("val2017/*.jpg")).read_bytes()
    for name in ("a.png", "b", "._a.png", "c.txt"):
        (tmp_path / name).write_bytes(photo)
    (tmp_path / "d.jpg").write_bytes(b"no image")
    assert [path.name for path in images_in(tmp_path)] == ["a.png", "b", "c.txt"]


@pytest.mark.parametrize("batch", [0, 1, 3, 20])
def test_as_many_different_images_as_rows(small, batch):
    path = next(Path(small.coco_root).glob("val2017/*.jpg"))
    cfg = small.replace(export_batch=batch, export_image=str(path))
    images = comparison_images(cfg)
    assert len(images) == {0: 2, 1: 2, 3: 3, 20: 8}[batch]
    assert len({image.tobytes() for image in images}) == len(images)
    assert len(comparison_images(cfg.replace(export_image=""))) == max(4, len(images))


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"file_format": "MINDIR"}, "the file is MINDIR; give --file_format=ONNX"),
        (
            {"file_format": "ONNX", "quantize": "int8"},
            "the file is to be quantized, int8; leave --quantize out",
        ),
    ],
)
def test_winograd_is_refused_where_it_would_do_nothing(keys, found):
    cfg = make_config([({**keys, "winograd": 0.5}, "flags")])
    with pytest.raises(InputError, match=f"winograd is 0.5, which .* {found}, or --winograd=0"):
        target_path(cfg)
