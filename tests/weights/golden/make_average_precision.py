"""Makes retinanet_ap.npz with PyTorch and pycocotools: what torchvision's second RetinaNet detects.

    pip install torch==2.14.1 torchvision==0.29.1 pycocotools==2.0.11
    python3 tests/weights/golden/make_average_precision.py

With weights by formula and a narrow backbone, in the pictures of drawn_split.py, one at a time.
Objects are some of the detections, moved, so that the AP is far from 0 and 1. The file holds
detections and objects in COCO's array form, (image, x, y, w, h, score, category), and pycocotools'
numbers.
"""

import contextlib
import io
from pathlib import Path

import numpy as np
import torch
from drawn_split import LONG, SHORT, SIZES, drawing
from formula import uniform
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from seeded_detector import detector_weights
from torch import nn
from torchvision.models.detection import retinanet, retinanet_resnet50_fpn_v2
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

FOLDER = Path(__file__).parent
EVERY, MOST_MOVED = 5, 0.3  # of the detections one is an object, moved by up to a share of its side
WIDTHS = (8, 16, 32, 64)  # inner ones of the stages, of a block each, as in tests/narrow/


def narrow_resnet(**_) -> ResNet:
    """torchvision's ResNet-50, an eighth as wide and with a block a stage."""
    net = ResNet(Bottleneck, [1, 1, 1, 1])
    net.inplanes = WIDTHS[0]
    net.conv1 = nn.Conv2d(3, WIDTHS[0], 7, stride=2, padding=3, bias=False)
    net.bn1 = nn.BatchNorm2d(WIDTHS[0])
    for stage, width in enumerate(WIDTHS):
        layer = net._make_layer(Bottleneck, width, 1, stride=2 if stage else 1)
        setattr(net, f"layer{stage + 1}", layer)
    return net


def narrow_pyramid(_, channels: int) -> LastLevelP6P7:
    """The levels on top of P5, which have as many channels as C5 here."""
    return LastLevelP6P7(4 * WIDTHS[-1], channels)


def detect() -> np.ndarray:
    """Detections (R,7) in all pictures."""
    retinanet.resnet50, retinanet.LastLevelP6P7 = narrow_resnet, narrow_pyramid
    model = retinanet_resnet50_fpn_v2(
        weights=None, weights_backbone=None, min_size=SHORT, max_size=LONG
    ).eval()
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    weights = detector_weights(shapes)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    rows = []
    for number in range(len(SIZES)):
        pixels = torch.from_numpy(drawing(number)).permute(2, 0, 1).float() / 255
        with torch.no_grad():
            (found,) = model([pixels])
        boxes, scores, labels = (found[key].numpy() for key in ("boxes", "scores", "labels"))
        sides = boxes[:, 2:] - boxes[:, :2]
        columns = [np.full(len(boxes), number + 1), boxes[:, :2], sides, scores, labels]
        rows.append(np.column_stack(columns))
    return np.concatenate(rows)


def make_objects(found: np.ndarray) -> np.ndarray:
    """Objects (B,7): every so many of the detections, moved by up to a share of their sides."""
    chosen = found[::EVERY].copy()
    shift = uniform("shift", (len(chosen), 2)) * uniform("size of shift", (len(chosen), 1))
    chosen[:, 1:3] += shift * MOST_MOVED * chosen[:, 3:5]
    return chosen[(chosen[:, 3:5] > 1).all(axis=1)]


def evaluate(found: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """COCOeval's twelve numbers."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dataset(objects)
        truth.createIndex()
        metric = COCOeval(truth, truth.loadRes(found), "bbox")
        metric.evaluate()
        metric.accumulate()
        metric.summarize()
    return metric.stats


def dataset(objects: np.ndarray) -> dict:
    annotations = [
        {
            "id": index + 1, "image_id": int(row[0]), "category_id": int(row[6]), "iscrowd": 0,
            "bbox": row[1:5].tolist(), "area": row[3] * row[4],
        }
        for index, row in enumerate(objects)
    ]  # fmt: skip
    return {
        "images": [{"id": i + 1, "height": h, "width": w} for i, (h, w) in enumerate(SIZES)],
        "annotations": annotations,
        "categories": [{"id": i} for i in sorted({int(row[6]) for row in objects})],
    }


def main() -> None:
    found = detect()
    objects = make_objects(found)
    stats = evaluate(found, objects)
    np.savez_compressed(
        FOLDER / "retinanet_ap.npz", found=found.astype(np.float32), objects=objects, stats=stats
    )
    print(f"{len(found)} detections, {len(objects)} objects, {stats.round(4).tolist()}")


if __name__ == "__main__":
    main()
