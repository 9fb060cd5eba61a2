"""Makes the files of torchvision's RetinaNets with PyTorch, which the project does not need.

    pip install torch==2.14.1 torchvision==0.29.1
    python3 tests/weights/golden/make_detectors.py

retinanet_shapes.json: names and shapes of both versions. retinanet.npz: what each version makes of
the pictures in seeded_detector.py with weights by formula: C3..C5, P3..P7, both heads and the
decoded boxes at some places, and all detections, in the pictures together and in each alone. The
norms of the first version are frozen and have an epsilon of 0, as where torchvision loads its COCO
weights.
"""

import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from seeded_detector import MAX_SIDE, MIN_SIDE, SIDES, detector_weights, picture, sampled
from torchvision.models import resnet50
from torchvision.models.detection import RetinaNet_ResNet50_FPN_Weights, retinanet_resnet50_fpn_v2
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d

FOLDER = Path(__file__).parent
CATEGORIES = RetinaNet_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
IDS = [i for i, name in enumerate(CATEGORIES) if name not in ("__background__", "N/A")]


def first_version() -> RetinaNet:
    """As `retinanet_resnet50_fpn(weights=COCO_V1)` builds it before it loads the file."""
    backbone = _resnet_fpn_extractor(
        resnet50(norm_layer=FrozenBatchNorm2d),
        trainable_layers=0,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    model = RetinaNet(backbone, len(CATEGORIES), min_size=MIN_SIDE, max_size=MAX_SIDE)
    overwrite_eps(model, 0.0)
    return model


def second_version() -> RetinaNet:
    return retinanet_resnet50_fpn_v2(
        weights=None, weights_backbone=None, min_size=MIN_SIDE, max_size=MAX_SIDE
    )


def stages(model: RetinaNet, images: list[torch.Tensor]) -> dict[str, np.ndarray]:
    """Samples of every stage for the batch, and the detections of each image."""
    batch, _ = model.transform(images)
    body = model.backbone.body(batch.tensors)
    levels = model.backbone.fpn(body)
    features = list(levels.values())
    heads = model.head(features)
    anchors = model.anchor_generator(batch, features)[0]
    boxes = torch.stack(
        [model.box_coder.decode_single(deltas, anchors) for deltas in heads["bbox_regression"]]
    )
    tensors = OrderedDict(zip(("C3", "C4", "C5"), body.values()))
    tensors.update(zip(("P3", "P4", "P5", "P6", "P7"), features))
    tensors.update(boxes=boxes, logits=heads["cls_logits"][..., IDS])
    found = {name: sampled(name, tensor.numpy()) for name, tensor in tensors.items()}
    alone = [model([image])[0] for image in images]  # each on a canvas of its own
    for number, (together, one) in enumerate(zip(model(images), alone)):
        found |= {f"{key}.{number}": values.numpy() for key, values in together.items()}
        found |= {f"alone.{key}.{number}": values.numpy() for key, values in one.items()}
    return found


def main() -> None:
    shapes, found = {}, {"names": np.array([CATEGORIES[i] for i in IDS])}
    images = [
        torch.from_numpy(picture(number)).permute(2, 0, 1).float() / 255
        for number in range(len(SIDES))
    ]
    for version, build in (("v1", first_version), ("v2", second_version)):
        model = build().eval()
        shapes[version] = {name: list(t.shape) for name, t in model.state_dict().items()}
        weights = detector_weights(shapes[version])
        model.load_state_dict({name: torch.from_numpy(a) for name, a in weights.items()})
        with torch.no_grad():
            found |= {f"{version}.{name}": a for name, a in stages(model, images).items()}
    (FOLDER / "retinanet_shapes.json").write_text(json.dumps(shapes, separators=(",", ":")) + "\n")
    np.savez_compressed(FOLDER / "retinanet.npz", **found)


if __name__ == "__main__":
    main()
