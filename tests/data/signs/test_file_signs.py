"""Signs of VOC's files that name other images."""

from src.data.signs.split import other_names


def test_annotations_that_name_other_images():
    shifted = {f"{n}.jpg": f"{n + 1}.jpg" for n in range(5)}
    sign = other_names(shifted)
    assert (sign.name, sign.certain) == ("file_names", False)
    assert sign.found.startswith(
        "4 of 5 annotation files name the image of another one in <filename> (0 names 1, 1 names 2"
    )
    assert other_names({f"{n}.jpg": f"C:\\photos\\{n}.png" for n in range(5)}) is None
    assert other_names({f"{n}.jpg": f"old{n + 1}.jpg" for n in range(5)}) is None
    assert other_names({f"{n}.jpg": "" for n in range(5)}) is None
