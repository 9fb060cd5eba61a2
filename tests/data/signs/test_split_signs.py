"""Signs of whole data sets on disk, as train.py and the check of a data set find them."""

import os
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from src.config.configuration import make_config
from src.data.dataset import build_annotations, find_source
from src.data.validate import main
from src.distributed.command import exit_with_status
from src.runtime.errors import InputError

WIDTH, HEIGHT = 60, 40
BOXES = ([5, 4, 20, 18], [22, 10, 48, 36], [30, 2, 58, 12], [3, 20, 19, 39])  # x1 y1 x2 y2


def picture(seed):
    return np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


def write(root, names, boxes=BOXES, save=None):
    """A text file and images; returns keys that read it."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (name, box) in enumerate(zip(names, boxes)):
        path = root / "images" / name
        if not path.exists():
            image = Image.fromarray(picture(number))
            save(image, path) if save else image.save(path)
        lines.append(f"{name} {','.join(map(str, box))},1\n")
    (root / "boxes.txt").write_text("".join(lines))
    return {
        "dataset": "other",
        "image_dir": str(root / "images"),
        "anno_path": str(root / "boxes.txt"),
        "val_anno_path": str(root / "boxes.txt"),
    }


def config(keys, root, **changes):
    own = {"classes": ["background", "cat"], "output_path": str(root / "run"), "batch_size": 2}
    own |= {"image_size": [64, 64], "anchor_size": 1.0, "eval_interval": 0, "num_workers": 0}
    return make_config([({**own, **keys, **changes}, "test")])


def read(keys, root, training=True, **changes):
    return build_annotations(config(keys, root, **changes), training=training)


def names_of(annotations):
    return [sign.name for sign in annotations.signs]


def validate(keys, root, capsys, **changes):
    """Status, output and errors of the command."""
    path = root / "config.yaml"
    path.write_text(config(keys, root, **changes).to_yaml())
    status = 0
    try:
        exit_with_status(partial(main, [f"--config_path={path}"]))
    except SystemExit as end:
        status = end.code
    return status, *capsys.readouterr()


PNGS = ("a.png", "b.png", "c.png", "d.png")


def test_sound_split_has_no_sign(tmp_path, capsys):
    keys = write(tmp_path, PNGS)
    assert read(keys, tmp_path).signs == ()
    status, out, _ = validate(keys, tmp_path, capsys)
    assert status == 0
    line = "not checked: whether boxes lie on their objects; the page shows it"
    assert out.endswith(f"\n{line}\nfit for training\n")


def test_one_image_is_sound(tmp_path, capsys):
    keys = write(tmp_path, PNGS[:1])
    status, out, _ = validate(keys, tmp_path, capsys, batch_size=1)
    assert (status, out.splitlines()[-1]) == (0, "fit for training")


def test_certain_signs_stop_a_run_unless_accepted(tmp_path, capsys):
    shares = [[x1 / 60, y1 / 40, x2 / 60, y2 / 40] for x1, y1, x2, y2 in BOXES]
    keys = write(tmp_path, PNGS, shares)
    for _ in range(2):  # the second from the cache
        with pytest.raises(InputError, match="1 error\n  shares: all 4 boxes are within 0 and 1"):
            read(keys, tmp_path)
    assert names_of(read(keys, tmp_path, accept=["shares"])) == []
    status, out, err = validate(keys, tmp_path, capsys)
    assert status == 2
    assert "1 error:\n  shares: " in out
    assert "not fit for training: 1 error" in err
    with pytest.raises(InputError, match="accept has 'share', which is no sign; did you mean 'sh"):
        read(keys, tmp_path, accept=["share"])


def test_warnings_come_from_the_cache_and_are_in_the_log(tmp_path):
    keys = write(tmp_path, PNGS)
    fresh = read(keys, tmp_path, classes=["background", "cat", "dog"])
    cached = read(keys, tmp_path, classes=["background", "cat", "dog"])
    assert fresh.signs == cached.signs
    assert names_of(cached) == ["unused_class"]
    assert "\n  warning: unused_class: 'dog' of the 2 in classes has no object" in cached.summary()
    assert read(keys, tmp_path, training=False, classes=["background", "cat", "dog"]).signs == ()


def test_evaluation_without_objects(tmp_path):
    keys = write(tmp_path, PNGS)
    (tmp_path / "boxes.txt").write_text("a.png\nb.png\n")
    with pytest.raises(InputError, match="no_objects: no objects in 2 images to evaluate on"):
        read(keys, tmp_path, training=False)
    assert len(read(keys, tmp_path, training=False, accept=["no_objects"])) == 2


def test_one_file_under_two_names(tmp_path):
    keys = write(tmp_path, ("a.png", "b.png", "./a.png"))
    with pytest.raises(InputError, match=r"same_file: 1 file used .*\(a.png \(line 1\) = ./a.png"):
        read(keys, tmp_path)
    # harmless where both have the same objects
    keys = write(tmp_path, ("a.png", "b.png", "./a.png"), [BOXES[0], BOXES[1], BOXES[0]])
    assert names_of(read(keys, tmp_path)) == ["same_file"]


def test_copies_and_links(tmp_path, capsys):
    keys = write(tmp_path, PNGS)
    images = tmp_path / "images"
    (images / "b.png").write_bytes((images / "a.png").read_bytes())
    (images / "d.png").unlink()
    os.symlink("c.png", images / "d.png")
    status, out, _ = validate(keys, tmp_path, capsys)
    assert status == 0
    assert "1 warning:\n  equal_images: 2 pictures in several files" in out
    assert "a.png (line 1) = b.png (line 2), c.png (line 3) = d.png (line 4)" in out
    assert "in 2 of them with different boxes" in out
    assert out.endswith("fit for training, 1 warning: equal_images\n")


def test_images_of_both_splits(tmp_path, capsys):
    keys = write(tmp_path, PNGS)
    (tmp_path / "images" / "copy.png").write_bytes((tmp_path / "images" / "b.png").read_bytes())
    Image.fromarray(picture(9)).save(tmp_path / "images" / "new.png")
    (tmp_path / "val.txt").write_text("copy.png 5,4,20,18,1\nnew.png 5,4,20,18,1\n")
    keys["val_anno_path"] = str(tmp_path / "val.txt")
    status, out, _ = validate(keys, tmp_path, capsys, eval_interval=1)
    assert status == 0
    assert (
        "leak: 1 of 2 images to evaluate on are in the training split too (copy.png as b.png)"
        in out
    )
    assert out.endswith("fit for training, 1 warning: leak\n")
    page = (tmp_path / "run" / "data" / "report.html").read_text()
    assert page.count("leak: 1 of 2 images") == 1
    assert "--accept=[leak]" in page
    assert '<div class="bad"><b>1</b><span>warnings</span></div>' in page


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_boxes_of_turned_pictures(tmp_path, capsys, suffix):
    def portrait(image, path):
        tags = Image.Exif()
        tags[0x0112] = 6
        image.save(path, exif=tags)

    upright = [[y1, x1, y2, x2] for x1, y1, x2, y2 in BOXES]  # of 40 x 60 pixels
    names = [f"{number}.{suffix}" for number in range(4)]
    keys = write(tmp_path, names, upright, save=portrait)
    with pytest.raises(InputError) as caught:
        read(keys, tmp_path)
    assert "1 error\n  turned: EXIF orientations in 4 of 4 images" in str(caught.value)
    assert "swapped_axes" not in str(caught.value)
    # of the stored pixels there is evidence too: boxes that the upright picture could not hold
    keys = write(tmp_path / "stored", names, BOXES, save=portrait)
    assert read(keys, tmp_path).signs == ()
    # and where they fit both ways
    small = [[3, 4, 20, 18], [5, 6, 30, 28], [1, 2, 9, 8], [10, 4, 38, 39]]
    keys = write(tmp_path / "both", names, small, save=portrait)
    assert names_of(read(keys, tmp_path)) == ["orientation"]


def test_the_last_line_counts_warnings_beside_errors(tmp_path, capsys):
    keys = write(tmp_path, PNGS, [[value / 60 for value in box] for box in BOXES])
    images = tmp_path / "images"
    (images / "b.png").write_bytes((images / "a.png").read_bytes())
    status, _, err = validate(keys, tmp_path, capsys)
    assert status == 2
    assert err.splitlines()[-1] == "not fit for training: 1 error, 1 warning: equal_images"


@pytest.mark.parametrize(("bits", "mode"), [(12, "L"), (12, "RGB"), (10, "RGB")])
def test_few_bits_in_sixteen(tmp_path, capsys, bits, mode):
    def save(image, path):
        cv2.imwrite(str(path), np.asarray(image.convert(mode)).astype(np.uint16) << (bits - 8))

    keys = write(tmp_path, PNGS, save=save)
    status, out, _ = validate(keys, tmp_path, capsys)
    assert status == 2
    assert "pixel_range: 4 of 4 images use less than 32 of 256 levels" in out
    assert f"so they probably fill {bits} bits: scale all" in out
    assert f"'mogrify -evaluate multiply {2 ** (16 - bits)} *.png'" in out
    status, out, _ = validate(keys, tmp_path, capsys, accept=["pixel_range"])
    assert (status, out.splitlines()[-1]) == (0, "fit for training")


def test_masks_or_dark_images_are_a_warning(tmp_path, capsys):
    keys = write(tmp_path, PNGS, save=lambda image, path: image.point(lambda v: v % 3).save(path))
    status, out, _ = validate(keys, tmp_path, capsys)
    assert status == 0
    assert "Dark pictures, ones of low contrast, or masks in place of the images: look at" in out
    assert out.endswith("fit for training, 1 warning: pixel_range\n")


def test_tiny_objects(tmp_path, capsys):
    boxes = [[x1, y1, x1 + 1.5, y1 + 1.5] for x1, y1, _, _ in BOXES]
    keys = write(tmp_path, PNGS, boxes)
    status, out, _ = validate(keys, tmp_path, capsys, image_size=[32, 32])
    assert status == 0
    assert "tiny: 4 of 4 objects have a side below 2 pixels of the network's input" in out
    assert "warning: tiny" not in read(keys, tmp_path).summary()  # needs the size of the input


def test_objects_without_anchors(tmp_path, capsys):
    keys = write(tmp_path, PNGS)
    status, out, _ = validate(keys, tmp_path, capsys, anchor_size=16.0)
    assert status == 0
    assert out.endswith("fit for training, 1 warning: unmatched\n")


def test_batch_that_exceeds_the_split(tmp_path, capsys):
    keys = write(tmp_path, PNGS)
    _, out, _ = validate(keys, tmp_path, capsys, batch_size=3, accumulate=2)
    last = "fit for training with --batch_size=2 at most (4 images, fewer than the 6 of an update)"
    assert out.splitlines()[-1] == last
    status, _, err = validate(keys, tmp_path, capsys, accumulate=8)
    assert status == 2
    assert "not fit for training: 4 images, fewer than the 16 of an update; use a smaller" in err


def test_batch_that_the_repeats_of_an_epoch_fill(tmp_path, capsys):
    keys = write(tmp_path, PNGS)
    text = (tmp_path / "boxes.txt").read_text()
    (tmp_path / "boxes.txt").write_text(text.replace("18,1\n", "18,2\n"))
    own = {"classes": ["cat", "dog"], "batch_size": 5}
    _, out, _ = validate(keys, tmp_path, capsys, **own)
    assert "with --batch_size=4 at most (4 images" in out.splitlines()[-1]
    # the dog's image comes twice, the three with cats 1.15 times
    _, out, _ = validate(keys, tmp_path, capsys, **own, repeat_threshold=1.0)
    assert out.splitlines()[-1] == "fit for training"


def test_empty_images_that_are_left_out_are_not_checked(tmp_path, capsys):
    keys = write(tmp_path, PNGS)
    with open(tmp_path / "boxes.txt", "a") as file:
        file.write("empty.png\n")
    whole = Path(tmp_path / "images" / "a.png").read_bytes()
    (tmp_path / "images" / "empty.png").write_bytes(whole[: len(whole) // 2])
    assert validate(keys, tmp_path, capsys)[0] == 2
    status, out, _ = validate(keys, tmp_path, capsys, keep_empty=False)
    assert (status, out.splitlines()[-1]) == (0, "fit for training")
    assert "4 images (0 without objects)" in out


def test_source_reads_signs(tmp_path):
    keys = write(tmp_path, ("a.png", "b.png", "./a.png"), [BOXES[0], BOXES[1], BOXES[0]])
    annotations, _ = find_source(config(keys, tmp_path), training=True).read()
    assert names_of(annotations) == ["same_file"]
