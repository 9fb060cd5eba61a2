"""What is said of an input that is not there, and of arguments that are no flag's value."""

import pytest

from src.prediction.inputs import find_inputs
from src.prediction.near_input import check_arguments
from src.runtime.errors import InputError


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("val2017/1.png", "there is val2017/1.jpg"),
        ("Val2017", "there is val2017"),
        ("val2017/1.jpg ", "there is val2017/1.jpg"),
        ("file://val2017/1.jpg", "there is val2017/1.jpg"),
        (r"C:\photos\val2017\1.jpg", "there is val2017/1.jpg"),
        ('"val2017/*.jpg"', "2 paths match val2017/*.jpg"),
        ('"val2017/*.png"', "val2017 holds 2 .jpg, 1 without suffix"),
        ("Val2017/*.jpg", "there is val2017"),
        ("*.png", ". holds val2017/"),
        ("val2017/1.jpg,val2017/2.jpg", "several inputs are a list, --input='[val2017/1.jpg, "),
        ("ftp://host/1.jpg", "addresses of ftp are not read, those of http, https, rtsp, "),
        ("gone.jpg", "gone.jpg is a link to nowhere, which is not there"),
    ],
)
def test_the_nearest_thing_is_named(tmp_path, monkeypatch, text, hint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "val2017").mkdir()
    for name in ("1.jpg", "2.jpg", "list"):
        (tmp_path / "val2017" / name).write_bytes(b"\xff\xd8\xff")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    with pytest.raises(InputError) as caught:
        find_inputs(text, tmp_path / "out")
    assert str(caught.value).startswith(f"{text}: no such file, folder or match; {hint}")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--input", "in/a.jpg", "in/b.jpg"], "such as --input='in/*.jpg', or a list"),
        (["--input=in/a.jpg", "in/b.jpg", "--model=x"], "unknown argument 'in/b.jpg'; --input"),
        (["--model=x", "."], "unknown argument '.'; give it as --input='.'"),
        (["in/*.jpg"], "give it as --input='in/*.jpg'"),
    ],
)
def test_inputs_that_are_no_flags_value(arguments, hint):
    with pytest.raises(InputError) as caught:
        check_arguments(arguments)
    assert hint in str(caught.value)


def test_values_of_flags_are_left_to_the_parser():
    check_arguments(["a.ckpt", "config/default.yaml"])
    check_arguments(["--input", ".", "--classes=cat,", ".", "--model=x", "stray", "--output", "."])
