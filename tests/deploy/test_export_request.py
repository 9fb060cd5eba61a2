"""Keys of an export, checked without a network."""

import pytest

from src.config.configuration import make_config
from src.deploy.export_request import with_format


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
