"""Which files are recognised as detectors, as which, and what is said of others."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from src.config.configuration import make_config
from src.prediction.recorded import detector_layer, finetuning_layer
from src.runtime.errors import InputError
from src.weights.__main__ import main
from src.weights.checkpoint_config import recorded_config
from src.weights.checkpoint_file import read_checkpoint, run_config
from src.weights.coco_classes import COCO_NAMES
from src.weights.detector_arrays import by_size, chosen_classes, scaled_deltas, with_epsilon
from src.weights.detector_keys import ClassNames
from src.weights.detectors import find_detector
from tests.weights.shapes import SHAPES, blank, mmdetection_shapes

COCO = COCO_NAMES
V1, V2 = blank(SHAPES["v1"]), blank(SHAPES["v2"])


@pytest.mark.parametrize(
    ("arrays", "words", "keys"),
    [
        (
            V1,
            "first version of torchvision",
            {"p6_from": "p5", "head_norm": "none", "box_loss": "l1", "box_weight": 0.5},
        ),
        (
            V2,
            "second version of torchvision",
            {"p6_from": "c5", "max_detections": 300, "box_loss": "giou", "box_weight": 1.0},
        ),
        (
            blank(mmdetection_shapes("retina", from_c5=True)),
            "RetinaNet of mmdetection",
            {"p6_from": "c5", "anchor_pixels": "exact", "fpn_relu": "none", "nms_iou": 0.5},
        ),
        (blank(mmdetection_shapes("retina")), "RetinaNet of mmdetection", {"p6_from": "p5"}),
        (blank(mmdetection_shapes("atss")), "ATSS", {"centerness": True, "level_scale": True}),
        (
            blank(mmdetection_shapes("gfl")),
            "GFL",
            {"box_coding": "distribution", "distribution_bins": 17, "nms_iou": 0.6},
        ),
        (
            blank(mmdetection_shapes("gfl"), "module."),
            "GFL of mmdetection, resnet50 under module.",
            {"max_detections": 100, "aspect_ratios": (1.0,)},
        ),
    ],
)
def test_a_family_is_recognised_by_its_tensors(arrays, words, keys):
    found = find_detector(arrays, "a.pth")
    assert found.is_whole
    assert words in found.report()
    assert {key: found.config[key] for key in keys} == keys
    assert found.config.classes[1:] == COCO
    assert found.config.resize == "short_side"
    for part in ("backbone", "pyramid", "heads"):
        assert f"  {part}: matched" in found.report()


def test_a_deeper_backbone():
    shapes = mmdetection_shapes("gfl")
    for name, shape in list(shapes.items()):
        if name.startswith("backbone.layer3.5."):
            shapes |= {name.replace("3.5.", f"3.{block}."): shape for block in range(6, 23)}
    assert find_detector(blank(shapes), "a.pth").config.backbone == "resnet101"


def test_the_names_of_torchvision_before_0_13():
    """Those of its published file of the first version."""
    old = {}
    for name, array in V1.items():
        parts = name.split(".")
        if ".fpn.inner_blocks." in name or ".fpn.layer_blocks." in name:
            parts.pop(-2)
        elif "_head.conv." in name:
            parts[3:5] = [str(2 * int(parts[3]))]
        old[".".join(parts)] = array
    assert "head.regression_head.conv.6.bias" in old
    assert "backbone.fpn.layer_blocks.2.weight" in old
    found = find_detector(old, "a.pth")
    assert found.is_whole
    assert found.arrays.keys() == {n for n in V1 if not n.endswith("num_batches_tracked")}


def test_other_detectors_are_described_by_part():
    fcos = blank(mmdetection_shapes("atss"))
    for name in list(fcos):
        if "atss_" in name:
            fcos[name.replace("atss_cls", "conv_cls").replace("atss_reg", "conv_reg")] = fcos.pop(
                name
            )
    del fcos["neck.fpn_convs.4.conv.bias"]
    with pytest.raises(InputError) as error:
        find_detector(fcos, "a.pth")
    text = str(error.value)
    assert "a.pth: is no detector that this network can be; the closest is ATSS" in text
    assert "backbone: matched 265\n  pyramid: matched 15\n    missing 1: neck" in text
    assert "missing 1: neck.fpn_convs.4.conv.bias" in text
    assert "missing 4: " in text and "bbox_head.atss_cls.weight" in text
    assert "unexpected 4: " in text and "bbox_head.conv_cls.weight" in text
    assert "--backbone converts the backbone alone" in text


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"gfl_cls.bias": []}, "misshaped 1: bbox_head.gfl_cls.bias () for (80,)"),
        ({"gfl_cls.bias": [10**9]}, "misshaped 1: bbox_head.gfl_cls.bias (1000000000,) for (80,)"),
        ({"gfl_cls.weight": [80, 0, 3, 3]}, "bbox_head.gfl_cls.weight (80, 0, 3, 3) for (80,"),
        ({"gfl_cls.weight": [10**9], "gfl_cls.bias": [10**9]}, "weight (1000000000,) for (80, 256"),
        ({"gfl_reg.bias": []}, "misshaped 1: bbox_head.gfl_reg.bias () for (68,)"),
        (
            {"gfl_reg.weight": [4000, 256, 3, 3], "gfl_reg.bias": [4000]},
            "a.pth: distribution_bins is 1000; expected",
        ),
    ],
)
def test_impossible_shapes(shapes, words):
    arrays = blank(mmdetection_shapes("gfl") | {f"bbox_head.{n}": s for n, s in shapes.items()})
    with pytest.raises(InputError) as error:
        find_detector(arrays, "a.pth")
    assert words in str(error.value)


def test_files_without_pyramid_and_heads_are_no_detectors():
    body = {n: a for n, a in V1.items() if n.startswith("backbone.body.")}
    assert find_detector(body, "a.pth") is None
    assert find_detector({**body, "neck.fc0.weight": np.zeros(3)}, "a.pth") is None


def with_classes(count):
    return blank(mmdetection_shapes("gfl", classes=count))


def torchvision_with(count):
    shapes = dict(SHAPES["v2"])
    name = "head.classification_head.cls_logits."
    shapes |= {f"{name}weight": [9 * count, 256, 3, 3], f"{name}bias": [9 * count]}
    return blank(shapes)


@pytest.mark.parametrize(
    ("arrays", "names", "rows", "classes", "words"),
    [
        (with_classes(3), (), (0, 1, 2), ("class_1", "class_2", "class_3"), "--classes=a,b"),
        (with_classes(3), ("a", "b", "c"), (0, 1, 2), ("a", "b", "c"), "named by --classes"),
        (torchvision_with(3), (), (1, 2), ("class_1", "class_2"), "row 0 is taken for the back"),
        (torchvision_with(3), ("a", "b"), (1, 2), ("a", "b"), "named by --classes"),
        (torchvision_with(3), ("a", "b", "c"), (0, 1, 2), ("a", "b", "c"), "named by --classes"),
        (torchvision_with(80), (), tuple(range(80)), COCO, "the 80 of COCO"),
    ],
)
def test_classes(arrays, names, rows, classes, words):
    found = find_detector(arrays, "a.pth", classes=ClassNames(names))
    assert found.is_whole
    assert (found.rows, found.config.classes[1:]) == (rows, classes)
    assert words in found.report()


def test_another_number_of_names():
    with pytest.raises(InputError, match="has 3 rows, and --classes 1 names; expected 2 or 3"):
        find_detector(torchvision_with(3), "a.pth", classes=ClassNames(("a",)))


def test_one_of_two_detectors_is_chosen():
    shapes = mmdetection_shapes("gfl")
    two = blank(shapes, "student.") | blank(shapes, "teacher.")
    with pytest.raises(InputError, match="2 detectors; choose one by\n  --prefix=stu"):
        find_detector(two, "a.pth")
    assert find_detector(two, "a.pth", prefix="teacher").prefix == "teacher."
    with pytest.raises(InputError, match="no detector under ema.; there are --prefix=student."):
        find_detector(two, "a.pth", prefix="ema.")
    with pytest.raises(InputError, match="under ema.; its names have no prefix, so leave --prefix"):
        find_detector(blank(shapes), "a.pth", prefix="ema.")


def test_rows_by_ratio_become_rows_by_size():
    """Row names are ratio, size and number, as digits."""
    theirs = [100 * r + 10 * s + n for r in range(2) for s in range(3) for n in range(4)]
    ours = [100 * r + 10 * s + n for s in range(3) for r in range(2) for n in range(4)]
    assert by_size(np.array(theirs), 2, 3).tolist() == ours


def test_rows_of_classes_and_deltas():
    rows = np.arange(6)  # two anchors, three classes
    assert chosen_classes(rows, 2, (2, 0)).tolist() == [2, 0, 5, 3]
    assert scaled_deltas(np.ones(8, np.float32)).tolist() == [10, 10, 5, 5] * 2


def test_another_epsilon_in_the_scale():
    arrays = {
        "backbone.bn1.gamma": np.array([2, 2, 0], np.float32),
        "backbone.bn1.moving_variance": np.array([1e-5, 4, 0], np.float32),
        "class_head.norms.0.0.gamma": np.ones(3, np.float32),
    }
    changed = with_epsilon(arrays, 0.0)
    gamma = changed["backbone.bn1.gamma"]
    variance = arrays["backbone.bn1.moving_variance"]
    np.testing.assert_allclose(gamma[:2] / np.sqrt(variance[:2] + 1e-5), [2e5**0.5 * 2**0.5, 1])
    assert np.isnan(gamma[2])  # as 0 / 0 is there
    assert changed["class_head.norms.0.0.gamma"] is arrays["class_head.norms.0.0.gamma"]


@pytest.fixture(scope="module")
def gfl_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("gfl") / "gfl.safetensors"
    save_file({n: np.ascontiguousarray(a) for n, a in with_classes(2).items()}, path)
    yield path
    path.unlink()


def test_the_command(gfl_file, tmp_path, capsys):
    target = tmp_path / "a.ckpt"
    main([str(gfl_file), "--dry_run"])
    out = capsys.readouterr().out
    assert "GFL of mmdetection, resnet50" in out and "missing" not in out
    assert "images: short side 800 px, long side at most 1333, padded to multiples of 32" in out
    assert "detections: score above 0.05, suppressed above an IoU of 0.6, at most 100" in out
    assert "nothing was written; ckpt/NAME.ckpt instead of --dry_run converts it\n" in out
    main([str(gfl_file), "--dry_run", "--classes=cat,hot dog", str(target)])
    assert "2, named by --classes" in capsys.readouterr().out
    assert not target.exists()
    target.write_text("earlier")
    main([str(gfl_file), str(target), "--classes=cat, hot dog", "--image_mean", *"123"])
    out = capsys.readouterr().out
    assert f"predict.py --checkpoint_path={target} --input=photo.jpg" in out
    assert "the earlier file of this name is replaced" in out
    recorded = recorded_config(str(target))
    assert recorded == run_config(str(target))
    assert recorded["classes"] == ["background", "cat", "hot dog"]
    assert recorded["image_mean"] == [1, 2, 3]
    assert "class_head.predictor.weight" in read_checkpoint(str(target))
    cfg = make_config([detector_layer(str(target))])
    assert (cfg.box_coding, cfg.image_size, cfg.nms_iou) == ("distribution", (800, 1344), 0.6)
    assert (cfg.canvas_step, cfg.eval_batch_size) == (32, 1)
    cfg = make_config([finetuning_layer(str(target))])
    assert (cfg.assigner, cfg.class_loss, cfg.resize) == ("atss", "quality", "letterbox")
    assert cfg.image_size == (640, 640)
    target.unlink()

    main([str(gfl_file), str(target), "--backbone"])
    assert "--backbone=resnet50" in capsys.readouterr().out
    assert not any("head" in name for name in read_checkpoint(str(target)))
    target.unlink()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--padding=same"], "holds a detector, for which there is no --padding"),
        (["--backbone", "--classes=a"], "holds a backbone, for which there is no --classes"),
        (["--classes=a"], "has 2 rows, and --classes 1 names"),
        (["--classes=a,,b"], "--classes is 'a,,b'; expected names"),
        (["--classes=background,a"], "--classes names the background, which is none of them"),
        (["--norm_epsilon=-1"], "--norm_epsilon is -1"),
        (["--norm_epsilon=0"], "--norm_epsilon is for frozen batch norms.*; leave it out"),
    ],
)
def test_flags_that_do_not_fit(gfl_file, tmp_path, flags, words):
    with pytest.raises(InputError, match=words):
        main([str(gfl_file), str(tmp_path / "a.ckpt"), *flags])
    assert not list(tmp_path.iterdir())


def test_caffe_models_are_refused(gfl_file, tmp_path):
    path = tmp_path / "retinanet_r50_caffe_fpn_1x.safetensors"
    path.symlink_to(gfl_file)
    with pytest.raises(InputError, match="'caffe' is in its name: .*, or rename the file if it"):
        main([str(path), "--dry_run"])


def test_no_output_is_an_error(gfl_file):
    with pytest.raises(InputError, match="give the checkpoint to write"):
        main([str(gfl_file)])


@pytest.mark.parametrize(
    "content", [b"", b"x" * 99, b"\n\xff", b"\n\x0c\n\nrun.config", b"\n" * 99]
)
def test_no_configuration_in_other_files(tmp_path, content):
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    assert recorded_config(str(path)) == {}
    assert recorded_config(str(tmp_path / "none.ckpt")) == {}
