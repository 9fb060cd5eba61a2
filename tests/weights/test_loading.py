import re

import mindspore as ms
import numpy as np
import pytest

from src.config.configuration import make_config
from src.models.ssd import initialize
from src.prediction.network_model import load_network
from src.runtime.errors import InputError
from src.weights.checkpoint_file import write_detector
from src.weights.loading import load_backbone, load_detector, load_for_finetuning
from tests.networks import make_network


def network(classes=2, seed=1, channels=8, backbone="resnet18"):
    net = make_network(classes, backbone=backbone, fpn_channels=channels, head_depth=1)
    initialize(net, seed)
    return net


def save(path, arrays):
    rows = [{"name": n, "data": ms.Tensor(a)} for n, a in arrays.items()]
    ms.save_checkpoint(rows, str(path))
    return str(path)


def arrays_of(net, prefix="", new_prefix=""):
    return {
        new_prefix + name[len(prefix) :]: p.asnumpy().copy()
        for name, p in net.parameters_dict().items()
        if name.startswith(prefix)
    }


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_detector_comes_back(tmp_path):
    source, target = network(seed=1), network(seed=2)
    path = save(tmp_path / "a.ckpt", arrays_of(source))
    load_detector(target, path)
    assert_equal(arrays_of(source), arrays_of(target))


@pytest.mark.parametrize("prefix", ["", "backbone.", "network.backbone.", "module.", "student."])
def test_backbone_with_any_prefix_and_a_classifier(tmp_path, prefix):
    source, target = network(seed=1), network(seed=2)
    arrays = arrays_of(source, "backbone.", prefix)
    arrays[f"{prefix}end_point.weight"] = np.zeros((10, 512), np.float32)
    arrays[f"{prefix}end_point.bias"] = np.zeros(10, np.float32)
    report = load_backbone(target, save(tmp_path / "a.ckpt", arrays))
    assert_equal(arrays_of(source, "backbone."), arrays_of(target, "backbone."))
    assert report.endswith(f"matched {len(arrays_of(source, 'backbone.'))}")


def test_two_backbones_are_refused(tmp_path):
    target = network(seed=2)
    before = arrays_of(target)
    source = network()
    two = arrays_of(source, "backbone.", "student.") | arrays_of(source, "backbone.", "teacher.")
    path = save(tmp_path / "a.ckpt", two)
    with pytest.raises(InputError, match="under 'student.' and 'teacher.'; keep one"):
        load_backbone(target, path)
    assert_equal(before, arrays_of(target))


def test_partial_backbone_is_refused_and_nothing_is_loaded(tmp_path):
    source, target = network(seed=1), network(seed=2)
    before = arrays_of(target)
    arrays = arrays_of(source, "backbone.")
    del arrays["layer2.0.conv1.weight"]
    arrays["bn1.gamma"] = np.ones(3, np.float32)
    with pytest.raises(InputError) as error:
        load_backbone(target, save(tmp_path / "a.ckpt", arrays))
    assert "missing 1: layer2.0.conv1.weight" in str(error.value)
    assert "misshaped 1: bn1.gamma (3,) for (64,)" in str(error.value)
    assert_equal(before, arrays_of(target))


def test_another_network_s_checkpoint_names_what_differs(tmp_path):
    path = save(tmp_path / "a.ckpt", arrays_of(network(classes=5)))
    with pytest.raises(InputError) as error:
        load_detector(network(classes=2), path)
    assert "class_head.predictor.weight" in str(error.value)
    path = save(tmp_path / "b.ckpt", arrays_of(network(backbone="resnet34")))
    with pytest.raises(InputError, match=r"unexpected \d+: backbone.layer1.2"):
        load_detector(network(), path)


def test_a_backbone_alone_is_called_one(tmp_path):
    path = save(tmp_path / "a.ckpt", arrays_of(network(), "backbone."))
    with pytest.raises(InputError, match=f"is a backbone, not a detector.*--pretrained={path}"):
        load_detector(network(), path)
    cfg = make_config([({"checkpoint_path": path}, "")])
    with pytest.raises(InputError, match="is a backbone, not a detector"):
        load_network(cfg)
    foreign = tmp_path / "a.pth"
    foreign.write_bytes(b"PK")
    words = f"src.weights {foreign} ckpt/NAME.ckpt converts files of torchvision, mmdetection"
    with pytest.raises(InputError, match=words):
        load_network(cfg.replace(checkpoint_path=str(foreign)))


def test_finetuning_from_another_class_count(tmp_path):
    source, target = network(classes=5, seed=1), network(classes=2, seed=2)
    fresh = target.class_head.predictor.weight.asnumpy().copy()
    report = load_for_finetuning(target, save(tmp_path / "a.ckpt", arrays_of(source)))
    assert "class layer is reinitialised" in report
    np.testing.assert_array_equal(target.class_head.predictor.weight.asnumpy(), fresh)
    np.testing.assert_array_equal(
        target.box_head.predictor.weight.asnumpy(), source.box_head.predictor.weight.asnumpy()
    )
    np.testing.assert_array_equal(
        target.backbone.conv1.weight.asnumpy(), source.backbone.conv1.weight.asnumpy()
    )


def test_finetuning_refuses_another_network(tmp_path):
    path = save(tmp_path / "a.ckpt", arrays_of(network(channels=16)))
    with pytest.raises(InputError, match="misshaped"):
        load_for_finetuning(network(channels=8), path)


def test_files_that_are_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_detector(network(), str(tmp_path / "none.ckpt"))
    (tmp_path / "bad.ckpt").write_bytes(b"not a checkpoint" * 10)
    with pytest.raises(InputError, match="bad.ckpt: not a MindSpore checkpoint.* Failed to read"):
        load_detector(network(), str(tmp_path / "bad.ckpt"))


NAMED = ("background", "cat", "dog", "hot dog", "person", "car")


def save_run(path, arrays, names=NAMED):
    """A checkpoint that records its classes."""
    write_detector(path, arrays, f"classes: {list(names)}")
    return str(path)


def class_rows(net_or_arrays, leaf, classes):
    """The class layer by anchors and classes."""
    array = net_or_arrays[f"class_head.predictor.{leaf}"]
    return array.reshape(6, classes, -1)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("dog", "tree", "cat"), "keep their weights: dog, cat; reinitialised: tree"),
        (("car", "person", "hot dog", "dog", "cat"), "all 5 classes keep their weights, by name"),
        (("a", "b", "c", "d", "e"), "none of its classes .* class layer is reinitialised"),
        (("person",), "all 1 classes keep"),
    ],
)
def test_classes_of_the_same_name_keep_their_rows(tmp_path, names, words):
    source, target = network(classes=5, seed=1), network(classes=len(names), seed=2)
    arrays = arrays_of(source)
    arrays["class_head.predictor.bias"] = np.arange(30, dtype=np.float32)
    fresh = arrays_of(target)
    report = load_for_finetuning(target, save_run(tmp_path / "a.ckpt", arrays), names)
    assert re.search(words, report)
    found = arrays_of(target)
    for leaf in ("weight", "bias"):
        rows, old = class_rows(found, leaf, len(names)), class_rows(arrays, leaf, 5)
        for row, name in enumerate(names):
            if name in NAMED:
                wanted = old[:, NAMED.index(name) - 1]
            else:
                wanted = class_rows(fresh, leaf, len(names))[:, row]
            np.testing.assert_array_equal(rows[:, row], wanted, err_msg=name)
    layers = [n for n in found if not n.startswith("class_head.predictor")]
    assert_equal({n: found[n] for n in layers}, {n: arrays[n] for n in layers})


def test_a_checkpoint_without_names_keeps_equal_counts(tmp_path):
    source, target = network(classes=2, seed=1), network(classes=2, seed=2)
    report = load_for_finetuning(target, save(tmp_path / "a.ckpt", arrays_of(source)), ("a", "b"))
    assert "names no classes, so these keep their weights in its order" in report
    assert_equal(arrays_of(source), arrays_of(target))


def test_finetuning_leaves_centerness_out(tmp_path):
    source, target = network(classes=5, seed=1), network(classes=5, seed=2)
    extra = {"box_head.centerness.weight": np.ones((6, 8, 3, 3), np.float32)}
    path = save_run(tmp_path / "a.ckpt", arrays_of(source) | extra)
    report = load_for_finetuning(target, path, NAMED[1:])
    assert "its centerness is left out, which is not trained" in report
    assert_equal(arrays_of(source), arrays_of(target))
