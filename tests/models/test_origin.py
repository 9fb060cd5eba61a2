"""Keys that the weights decide."""

import mindspore as ms
import numpy as np
import pytest

from src.config.configuration import make_config
from src.config.open_keys import IMAGE_MEAN, IMAGE_STD, contradictions, settled
from src.models.resnet import resnet
from src.runtime.errors import InputError
from src.training.checkpoints import write_checkpoint
from src.weights.checkpoint_file import Origin, read_origin, write_backbone
from src.weights.loading import load_backbone
from src.weights.starting_weights import starting_point
from tests.networks import excite, make_network

TOLD = {"padding": "symmetric", "image_mean": [1.0, 2.0, 3.0], "image_std": [4.0, 5.0, 6.0]}


def config(**keys):
    return make_config([(keys, "test")])


def test_open_keys_are_filled_in_and_others_stay():
    cfg = settled(config(), {})
    assert (cfg.padding, cfg.image_mean, cfg.image_std) == ("same", IMAGE_MEAN, IMAGE_STD)
    cfg = settled(config(), {**TOLD, "lr": 7})
    assert (cfg.padding, cfg.image_mean, cfg.image_std) == ("symmetric", (1, 2, 3), (4, 5, 6))
    assert cfg.lr == config().lr
    cfg = settled(config(padding="same", image_std=[7, 8, 9]), TOLD)
    assert (cfg.padding, cfg.image_mean, cfg.image_std) == ("same", (1, 2, 3), (7, 8, 9))


def test_contradictions_are_named():
    assert contradictions(config(), TOLD) == []
    assert contradictions(config(padding="symmetric", image_mean=[1, 2, 3]), TOLD) == []
    lines = contradictions(config(padding="same", image_std=[7, 8, 9]), TOLD)
    assert lines == [
        "padding: symmetric in the checkpoint, same in the config",
        "image_std: [4.0, 5.0, 6.0] in the checkpoint, [7.0, 8.0, 9.0] in the config",
    ]
    with pytest.raises(InputError, match="image_mean is .*; expected red, green and blue"):
        config(image_mean=[1, 2])


def backbone_arrays(prefix="", change=lambda name: name):
    return {
        prefix + change(name): parameter.asnumpy()
        for name, parameter in resnet("resnet18").parameters_dict().items()
    }


def save(path, arrays):
    entries = [{"name": name, "data": ms.Tensor(array)} for name, array in arrays.items()]
    ms.save_checkpoint(entries, str(path))
    return str(path)


def test_what_a_run_starts_from(tmp_path):
    path = tmp_path / "a.ckpt"
    origin = Origin(**TOLD, backbone="resnet18", source="x.pth")
    write_backbone(path, backbone_arrays(), origin)
    keys = {"pretrained": str(path), "backbone": "resnet18"}
    told = starting_point(config(**keys), None)
    assert settled(config(**keys), told).image_std == (4, 5, 6)
    with pytest.raises(InputError, match="backbone: resnet18 in the checkpoint, resnet50 in the"):
        starting_point(config(pretrained=str(path)), None)
    with pytest.raises(InputError, match="padding: symmetric in the checkpoint, same in the c"):
        starting_point(config(**keys, padding="same"), None)
    assert starting_point(config(), None) == {}


def test_a_detector_s_backbone_tells_what_its_run_had(tmp_path):
    path = tmp_path / "best.ckpt"
    run = settled(config(backbone="resnet18", image_std=[4, 5, 6]), {"padding": "symmetric"})
    entries = {f"backbone.{name}": p for name, p in resnet("resnet18").parameters_dict().items()}
    write_checkpoint(path, entries, run.to_yaml(), {"epoch": 1, "step": 1})
    for key in ("pretrained", "finetune"):
        cfg = config(backbone="resnet18", **{key: str(path)})
        found = settled(cfg, starting_point(cfg, None))
        assert (found.padding, found.image_std) == ("symmetric", (4, 5, 6))
        assert found.image_mean == IMAGE_MEAN
        with pytest.raises(InputError, match="padding: symmetric in the checkpoint, same in the"):
            starting_point(cfg.replace(padding="same"), None)


def test_a_file_that_was_not_converted(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="a.pth: not a MindSpore checkpoint.*-m src.weights"):
        read_origin(str(tmp_path / "a.pth"))


def test_mindspore_s_own_checkpoints_tell_nothing_and_mindcv_s_their_padding(tmp_path):
    path = save(tmp_path / "own.ckpt", backbone_arrays(prefix="backbone."))
    assert read_origin(path) == {}
    renamed = backbone_arrays(change=lambda n: n.replace(".down_sample_layer.", ".down_sample."))
    renamed["classifier.weight"] = np.zeros((5, 512), np.float32)
    path = save(tmp_path / "cv.ckpt", renamed)
    assert read_origin(path) == {"padding": "mixed"}
    network = make_network(backbone="resnet18", padding="mixed", fpn_channels=8)
    report = load_backbone(network, path)
    assert "matched 100" in report and "missing" not in report and "unexpected" not in report


def test_paddings_differ_in_what_they_should():
    """mixed has the convolutions of symmetric and the pooling of same."""
    cells = {padding: resnet("resnet18", padding=padding) for padding in ("same", "mixed")}
    cells["symmetric"] = resnet("resnet18", padding="symmetric")
    assert cells["mixed"].conv1.pad_mode == cells["symmetric"].conv1.pad_mode == "pad"
    assert cells["mixed"].layer2[0].conv1.pad_mode == "pad"
    assert cells["same"].conv1.pad_mode == "same"
    pools = {padding: cell.maxpool.symmetric for padding, cell in cells.items()}
    assert pools == {"same": False, "mixed": False, "symmetric": True}


def test_pixels_are_normalised_as_told():
    keys = {"backbone": "resnet18", "fpn_channels": 8, "head_depth": 0}
    plain = excite(make_network(**keys))
    told = excite(make_network(**keys, image_mean=[10.0] * 3, image_std=[2.0] * 3))
    for name, parameter in told.parameters_dict().items():
        parameter.set_data(plain.parameters_dict()[name].value())
    images = np.random.default_rng(0).integers(0, 200, (1, 32, 32, 3)).astype(np.float32)
    # the same after normalisation
    other = (images - 10) / 2 * np.float32(IMAGE_STD) + np.float32(IMAGE_MEAN)
    for found, wanted in zip(told(ms.Tensor(images)), plain(ms.Tensor(other))):
        np.testing.assert_allclose(found.asnumpy(), wanted.asnumpy(), atol=1e-3)
