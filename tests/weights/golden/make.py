"""Makes the files beside this one with PyTorch, which the project itself does not need.

    pip install torch==2.14.1 torchvision==0.29.1
    python3 tests/weights/golden/make.py

state_dicts.json: names and shapes of torchvision's ResNets. features.npz: what they make of an
image with weights by formula, and what torchvision's feature pyramid makes of that. *.pth: small
files as torch.save writes them, and tensors.npz, what is in them.
"""

import json
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
import torchvision
from formula import EVERY, uniform, weight

FOLDER = Path(__file__).parent
VARIANTS = ("resnet18", "resnet34", "resnet50", "resnet101")


def load_formula(module: torch.nn.Module, prefix: str = "") -> None:
    state = module.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            state[name] = torch.from_numpy(weight(prefix + name, tuple(tensor.shape)))
    module.load_state_dict(state)


def features(name: str) -> dict[str, np.ndarray]:
    """C3..C5 of the ResNet and, for ResNet-50, P3..P5 of a pyramid over them."""
    net = getattr(torchvision.models, name)().eval()
    load_formula(net)
    x = torch.from_numpy(2 * uniform("image", (1, 3, 64, 96)))
    with torch.no_grad():
        x = net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x)))))
        levels = OrderedDict()
        for key, layer in (("C3", net.layer2), ("C4", net.layer3), ("C5", net.layer4)):
            levels[key] = x = layer(x)
        found = dict(levels)
        if name == "resnet50":
            channels = [level.shape[1] for level in levels.values()]
            fpn = torchvision.ops.FeaturePyramidNetwork(channels, 256)
            load_formula(fpn, "fpn.")
            found.update(zip(("P3", "P4", "P5"), fpn(levels).values()))
    return {f"{name}.{key}": level.numpy().ravel()[::EVERY] for key, level in found.items()}


def tensors() -> dict[str, torch.Tensor]:
    """Tensors of all kinds that state dicts hold."""
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 7
    return OrderedDict(
        plain=base.clone(),
        transposed=base.clone().t(),
        part=base[1:3, ::2],  # shares its storage with `shared`
        shared=base[:2],
        parameter=torch.nn.Parameter(base.clone() + 1),
        half=base.half(),
        brain=base.bfloat16(),
        double=base.double(),
        counter=torch.tensor(7),
        flags=base > 1,
        bytes=torch.arange(5, dtype=torch.uint8),
        empty=torch.zeros(0, 3),
    )


class Evil:
    """Would write a file when it is unpickled."""

    def __reduce__(self):
        return exec, ("open('executed', 'w').close()",)


def main() -> None:
    shapes = {
        name: {
            n: list(t.shape) for n, t in getattr(torchvision.models, name)().state_dict().items()
        }
        for name in VARIANTS
    }
    (FOLDER / "state_dicts.json").write_text(json.dumps(shapes, separators=(",", ":")) + "\n")
    np.savez_compressed(FOLDER / "features.npz", **features("resnet18"), **features("resnet50"))
    found = tensors()
    np.savez_compressed(
        FOLDER / "tensors.npz", **{n: t.detach().numpy() for n, t in found.items() if n != "brain"}
    )
    torch.save(found, FOLDER / "tensors.pth")
    torch.save(found, FOLDER / "tensors_old.pth", _use_new_zipfile_serialization=False)
    training = {"best": torch.ones(1), "state_dict": found, "optimizer": {"m": torch.ones(9)}}
    torch.save(training, FOLDER / "wrapped.pth")
    torch.save(training, FOLDER / "wrapped_old.pth", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(2, 2), FOLDER / "module.pth")
    torch.save({"weight": found["plain"], "more": Evil()}, FOLDER / "evil.pth")
    with (FOLDER / "evil_old.pth").open("wb") as file:
        torch.save({"more": Evil()}, file, _use_new_zipfile_serialization=False)
    (FOLDER / "evil.pkl").write_bytes(pickle.dumps(Evil()))


if __name__ == "__main__":
    main()
