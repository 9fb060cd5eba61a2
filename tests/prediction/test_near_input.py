"""What is said of an input that is not there, and of arguments that are no flag's value."""

import pytest

from src.prediction.inputs import check_arguments, find_inputs
from src.runtime.errors import InputError


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("val2017/1.png", "there is val2017/1.jpg"),
        ("Val2017", "there is val2017"),
        ("val2017/1.jpg ", "there is val2017/1.jpg"),
        ("file://val2017/1.jpg", "there is val2017/1.jpg"),
        (r"C:\photos\val2017\1.jpg", "there is val2017/1.jpg"),
        ('"val2017/*.jpg"', "there is val2017"),
        ("Val2017/*.jpg", "there is val2017"),
        ("val2017/1.jpg,val2017/2.jpg", "several inputs are a list, --input='[val2017/1.jpg, "),
        ("gone.jpg", "gone.jpg is a link to nowhere, which leads nowhere"),
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


def test_a_pattern_that_the_shell_has_replaced_by_files():
    with pytest.raises(InputError, match=r"unknown argument 'b.jpg'; --input .* quotes, .* list"):
        check_arguments(["--model=x", "--input", "a.jpg", "b.jpg", "c.jpg"])
    check_arguments(["--input", "a.jpg", "--model", "x"])
    check_arguments(["--input=a.jpg", "--classes", "cat,", "dog", "--output", "."])
