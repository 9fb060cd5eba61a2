"""torchvision's and timm's ResNets, converted and compared with what torchvision makes of them."""

import json
import struct
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from safetensors.numpy import save_file

from src.config.open_keys import IMAGE_MEAN, IMAGE_STD
from src.models.fpn import FPN
from src.models.resnet import resnet
from src.runtime.errors import InputError
from src.weights.__main__ import main
from src.weights.checkpoint_file import read_checkpoint, read_origin
from src.weights.convert import convert
from src.weights.loading import load_backbone
from tests.networks import make_network
from tests.weights.golden.formula import EVERY, uniform, weight

GOLDEN = Path(__file__).parent / "golden"
SHAPES = json.loads((GOLDEN / "state_dicts.json").read_text())


HEADER = b'{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}'
FLOAT8 = struct.pack("<Q", len(HEADER)) + HEADER + b"x"  # a type that NumPy lacks


def state_dict(variant: str) -> dict[str, np.ndarray]:
    """torchvision's state dict, its weights by formula."""
    return {
        name: np.zeros(shape, np.int64)
        if name.endswith("num_batches_tracked")
        else weight(name, tuple(shape))
        for name, shape in SHAPES[variant].items()
    }


def small_dict(variant: str) -> dict[str, np.ndarray]:
    """The same names and shapes, without the numbers."""
    return {n: np.broadcast_to(np.float32(0), shape) for n, shape in SHAPES[variant].items()}


@pytest.mark.parametrize("variant", SHAPES)
def test_every_variant_matches_whole(variant):
    found = convert(small_dict(variant), "a.pth")
    assert found.variant == variant
    assert found.matched.matched == list(resnet(variant).parameters_dict())
    assert found.ignored == ["fc.weight", "fc.bias"]
    assert "missing" not in found.report()


def close(found, golden, name):
    """Within 1e-4 of the largest feature of the level."""
    wanted = golden[name]
    found = found.asnumpy().ravel()[::EVERY]
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max(), rtol=0)
    assert wanted.std() > 0.05 * np.abs(wanted).max()  # else nothing would have been compared


@pytest.mark.parametrize("variant", ["resnet18", "resnet50"])
def test_features_are_torchvision_s(tmp_path, capsys, variant):
    """From a file by the command to a checkpoint, into a detector, and through it."""
    save_file(state_dict(variant), tmp_path / "a.safetensors")
    main([str(tmp_path / "a.safetensors"), str(tmp_path / "a.ckpt")])
    printed = capsys.readouterr().out
    assert f"{variant}\n  matched {len(resnet(variant).parameters_dict())}\n" in printed
    assert f"--pretrained={tmp_path}/a.ckpt --backbone={variant}" in printed
    origin = read_origin(str(tmp_path / "a.ckpt"))
    assert origin["padding"] == "symmetric"
    assert origin["image_mean"] == list(IMAGE_MEAN)

    keys = {"backbone": variant, "padding": origin["padding"]}
    network = make_network(fpn_channels=8, head_depth=0, **keys)
    backbone = network.backbone
    report = load_backbone(network, str(tmp_path / "a.ckpt"))
    assert report.endswith(f"matched {len(resnet(variant).parameters_dict())}")
    image = ms.Tensor(2 * uniform("image", (1, 3, 64, 96)))
    with np.load(GOLDEN / "features.npz") as golden:
        levels = backbone.set_train(False)(image)
        for name, level in zip(("C3", "C4", "C5"), levels):
            close(level, golden, f"{variant}.{name}")
        if variant == "resnet50":
            for name, level in zip(("P3", "P4", "P5"), pyramid(backbone)(*levels)):
                close(level, golden, f"{variant}.{name}")


def pyramid(backbone) -> nn.Cell:
    """Our pyramid with the weights of torchvision's: its biases are those of norms that only add.

    P6 and P7 are not torchvision's: ours see P5 through a ReLU, and pad as TensorFlow does.
    """
    fpn = FPN(in_channels=backbone.out_channels, channels=256).set_train(False)
    for ours, theirs in ((fpn.laterals, "inner_blocks"), (fpn.outputs, "layer_blocks")):
        for index, block in enumerate(ours):
            name = f"fpn.{theirs}.{index}.0"
            block.conv.weight.set_data(
                ms.Tensor(weight(f"{name}.weight", tuple(block.conv.weight.shape)))
            )
            bias = weight(f"{name}.bias", tuple(block.norm.beta.shape))
            block.norm.beta.set_data(ms.Tensor(bias))
            one = np.full(bias.shape, 1 - block.norm.eps, np.float32)
            block.norm.moving_variance.set_data(ms.Tensor(one))
    return fpn


@pytest.mark.parametrize(
    "prefix",
    [
        "", "module.", "backbone.body.", "model.", "student.", "teacher.backbone.",
        "model.backbone.", "module.encoder_q.", "online_network.", "a.layer1.0.",
    ],
)  # fmt: skip
def test_any_prefix(prefix):
    arrays = {prefix + name: array for name, array in small_dict("resnet18").items()}
    arrays |= {"optimizer_step": np.zeros(1), f"{prefix}projector.0.weight": np.zeros((8, 512))}
    found = convert(arrays, "a.pth")
    assert (found.variant, found.prefix) == ("resnet18", prefix)
    heads = ["fc.weight", "fc.bias", "projector.0.weight"]
    assert sorted(found.ignored) == sorted(heads + ["optimizer_step"] * (prefix == ""))
    title = f"resnet18 under {prefix}\n" if prefix else "resnet18\n"
    assert found.report().startswith(title)
    assert "ignored fc.weight" in found.report()


def two(first: dict, second: dict, prefixes=("student.", "teacher.module.")) -> dict:
    """Two networks in one file."""
    return {
        prefix + name: array
        for prefix, arrays in zip(prefixes, (first, second))
        for name, array in arrays.items()
    }


def test_one_of_two_encoders_is_chosen_by_its_prefix():
    second = small_dict("resnet18") | {"bn1.weight": np.full(64, 2, np.float32)}
    arrays = two(small_dict("resnet18"), second)
    with pytest.raises(InputError, match="holds 2 ResNets; choose one by") as error:
        convert(arrays, "a.pth")
    assert "\n  --prefix=student.  resnet18" in str(error.value)
    assert "\n  --prefix=teacher.module.  resnet18" in str(error.value)
    for prefix in ("teacher.module.", "teacher.module"):
        found = convert(arrays, "a.pth", prefix=prefix)
        assert found.prefix == "teacher.module."
        assert found.arrays["bn1.gamma"][0] == 2
    assert convert(arrays, "a.pth", prefix="student").arrays["bn1.gamma"][0] == 0
    with pytest.raises(InputError, match="no ResNet under ema.; there are --prefix=student., --p"):
        convert(arrays, "a.pth", prefix="ema.")
    arrays = two(small_dict("resnet34"), second, ("", "momentum."))
    with pytest.raises(InputError, match="\n  --prefix=''  resnet34\n  --prefix=momentum"):
        convert(arrays, "a.pth")
    assert convert(arrays, "a.pth", prefix="").variant == "resnet34"


def test_the_prefix_on_the_command_line(tmp_path, capsys):
    first, second = (
        {n: np.full(a.shape, value, np.float32) for n, a in small_dict("resnet18").items()}
        for value in (1, 2)
    )
    save_file(two(first, second), tmp_path / "a.safetensors")
    command = [str(tmp_path / "a.safetensors"), str(tmp_path / "a.ckpt")]
    with pytest.raises(InputError, match="choose one by"):
        main(command)
    assert not (tmp_path / "a.ckpt").exists()
    main([*command, "--prefix=teacher.module."])
    assert "resnet18 under teacher.module.\n  matched 100\n" in capsys.readouterr().out
    assert (read_checkpoint(str(tmp_path / "a.ckpt"))["bn1.gamma"] == 2).all()


def test_a_broken_encoder_beside_a_whole_one():
    broken = small_dict("resnet18")
    del broken["layer1.1.bn2.bias"]
    arrays = two(broken, small_dict("resnet18"))
    assert convert(arrays, "a.pth").prefix == "teacher.module."
    with pytest.raises(
        InputError, match="(?s)like resnet18 under student.*missing 1: layer1.1.bn2"
    ):
        convert(arrays, "a.pth", prefix="student.")
    with pytest.raises(InputError, match="holds 65 networks; choose one with --prefix"):
        convert({f"{i}.layer1.0.conv1.weight": np.zeros(1) for i in range(65)}, "a.pth")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda arrays: arrays.pop("layer2.0.conv1.weight"), "missing 1: layer2.0.conv1.weight"),
        (lambda arrays: arrays.pop("bn1.running_var"), "missing 1: bn1.moving_variance"),
        (
            lambda arrays: arrays.update({"layer1.0.se.fc1.weight": np.zeros(3)}),
            "unexpected 1: layer1.0.se.fc1.weight",
        ),
        (
            lambda arrays: arrays.update({"conv1.weight": np.zeros((64, 1, 7, 7))}),
            r"misshaped 1: conv1.weight \(64, 1, 7, 7\) for \(64, 3, 7, 7\)",
        ),
        (
            lambda arrays: arrays.update({"layer4.2.conv1.weight": np.zeros(3)}),
            r"\(2, 2, 2, 3\) blocks in the four stages; expected one of resnet18",
        ),
        (
            lambda arrays: arrays.clear(),
            "neither a ResNet nor a detector that is known; its tensors: none",
        ),
        (
            lambda arrays: arrays.update({"bn1.weight": np.full(64, np.nan, np.float32)}),
            "nan or infinite numbers in bn1.weight",
        ),
    ],
)
def test_other_networks_are_refused(change, words):
    arrays = small_dict("resnet18")
    change(arrays)
    with pytest.raises(InputError, match=words):
        convert(arrays, "a.pth")


def test_origin_of_the_weights(tmp_path, capsys):
    """timm writes mean and deviation to a config.json; flags override them."""
    source, target = tmp_path / "model.safetensors", tmp_path / "a.ckpt"
    save_file({n: np.ascontiguousarray(a) for n, a in small_dict("resnet18").items()}, source)
    config = {"architecture": "resnet18", "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.2] * 3}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    main([str(source), str(target)])
    assert read_origin(str(target)) == {
        "padding": "symmetric",
        "image_mean": [127.5] * 3,
        "image_std": [51.0] * 3,
        "backbone": "resnet18",
        "source": "model.safetensors",
    }
    main([str(source), str(target), "--padding=same", "--image_mean", "1", "2", "3"])
    assert read_origin(str(target))["padding"] == "same"
    assert read_origin(str(target))["image_mean"] == [1, 2, 3]
    assert read_origin(str(target))["image_std"] == [51] * 3
    for text in ('{"other": 1}', "[]"):  # of something else
        (tmp_path / "config.json").write_text(text)
        main([str(source), str(target)])
        assert read_origin(str(target))["image_std"] == list(IMAGE_STD)
    flat = '{"architecture": "resnet18", "mean": [0, 0.2, 1], "std": [1, 1, 1]}'  # older ones
    (tmp_path / "config.json").write_text(flat)
    main([str(source), str(target)])
    assert read_origin(str(target))["image_mean"] == [0, 51, 255]
    for text, words in (
        ("{", "cannot be read as JSON"),
        (flat.replace("resnet18", "resnetblur50"), "is of 'resnetblur50', but"),
        (flat.replace("[1, 1, 1]", "5"), "lacks mean and std"),
        (flat.replace("[1, 1, 1]", "[1, 0, 1]"), r"std \[1, 0, 1\]"),
        (flat.replace("[1, 1, 1]", "[1, 1]"), r"std \[1, 1\]"),
        (flat.replace("[1, 1, 1]", "[1, 1, NaN]"), "std"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InputError, match=f"config.json: .*{words}.*--image_mean and"):
            main([str(source), str(target)])
        main([str(source), str(target), "--image_mean", *"123", "--image_std", *"456"])
        assert read_origin(str(target))["image_std"] == [4, 5, 6]
    assert "padding 'symmetric', pixels with mean (127.5, 127.5, 127.5)" in capsys.readouterr().out
    assert "conv1.weight" in read_checkpoint(str(target))


def test_wrong_files_leave_nothing(tmp_path):
    cases = {
        "none.pth": (None, "no such file"),
        "a.ckpt": (b"x", "a MindSpore checkpoint needs no conversion"),
        "a.onnx": (b"x", r"expected a file that ends with \.pth"),
        "a.safetensors": (b"x" * 100, "not a safetensors file"),
        "b.safetensors": (b"", "not a safetensors file"),
        "c.safetensors": (FLOAT8, "not a safetensors file"),
        "a.pth": (b"x" * 100, "not a file that PyTorch saved"),
    }
    for name, (content, words) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=words):
            main([str(tmp_path / name), str(tmp_path / "out.ckpt")])
    with pytest.raises(InputError, match=r"ends with \.ckpt"):
        main([str(tmp_path / "a.safetensors"), str(tmp_path / "a.pth")])
    with pytest.raises(InputError, match="image_std"):
        main([str(tmp_path / "a.pth"), "b.ckpt", "--image_std", "0.229", "0.224", "0.225"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(set(cases) - {"none.pth"})
