"""Trains torchvision's RetinaNet from scratch on a data set in COCO's layout; for learning.py.

    PYTHON benchmarks/learning_peer.py DATA --points FILE [--backbone resnet50] [--updates 1620]

PYTHON has torch, torchvision and pycocotools. Writes a JSON line after each --interval updates: AP
on DATA/val2017, and the CPU-seconds of this process so far, its evaluations not counted.

The network is torchvision's own but for three things. Its backbone has batch norms that train,
since frozen ones from scratch would not normalise at all. All layers train. Its anchors are half as
large as by default, 16 to 256 pixels, since objects are small where images are. Images are resized
to the whole input before, as ours are, and kept in memory; half of them are mirrored. AdamW without
weight decay; a tenth of the updates is warm-up, then the rate is half a cosine.
"""

import json
import math
import random
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import make_parser

LAST_THREE = {"layer2": "0", "layer3": "1", "layer4": "2"}  # stages that feed the pyramid
ANCHOR_SIDES = (16, 32, 64, 128, 256)  # of a level, the smallest of its three
BETAS = (0.9, 0.95)  # of AdamW
WARMUP_SHARE, WARMUP_RATIO = 0.1, 0.01  # of all updates; of the rate at the first
CLIP_NORM = 10.0
SCORE_THRESHOLD, NMS_IOU = 0.001, 0.6  # as in our runs
EVAL_BATCH = 20


def build_network(backbone: str, *, channels: int, classes: int, image_size: int):
    """RetinaNet with random weights.

    Args:
        channels: of the pyramid and the heads; torchvision has 256.
        classes: background included.
    """
    from torch.nn import BatchNorm2d
    from torchvision.models import resnet
    from torchvision.models.detection import RetinaNet
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    body = getattr(resnet, backbone)(weights=None, norm_layer=BatchNorm2d)
    inputs = [body.inplanes // 8 * factor for factor in (2, 4, 8)]
    top = LastLevelP6P7(channels, channels)
    octave = [[int(side * 2 ** (third / 3)) for third in range(3)] for side in ANCHOR_SIDES]
    return RetinaNet(
        BackboneWithFPN(body, LAST_THREE, inputs, channels, extra_blocks=top),
        classes,
        min_size=image_size,
        max_size=image_size,
        anchor_generator=AnchorGenerator(octave, [[0.5, 1.0, 2.0]] * len(octave)),
        score_thresh=SCORE_THRESHOLD,
        nms_thresh=NMS_IOU,
        detections_per_img=100,
    )


class Split:
    """A split in memory.

    Attributes:
        coco: its annotations.
        images: (3,S,S) uint8 of each; targets: boxes (G,4) in the input, and labels (G,) from 1.
        scales: (4,) from the input to each image.
    """

    def __init__(self, root: Path, name: str, image_size: int):
        import torch
        from PIL import Image
        from pycocotools.coco import COCO
        from torchvision.transforms.functional import pil_to_tensor

        with redirect_stdout(sys.stderr):
            self.coco = COCO(str(root / "annotations" / f"instances_{name}.json"))
        self.ids, self.categories = sorted(self.coco.imgs), sorted(self.coco.cats)
        self.images, self.targets, self.scales = [], [], []
        for image_id in self.ids:
            info = self.coco.imgs[image_id]
            with Image.open(root / name / info["file_name"]) as image:
                small = image.convert("RGB").resize((image_size, image_size), Image.BILINEAR)
            self.images.append(pil_to_tensor(small))
            self.scales.append(torch.tensor([info["width"], info["height"]] * 2) / image_size)
            self.targets.append(self.target(image_id, self.scales[-1]))

    def target(self, image_id: int, scale) -> dict:
        """Without crowds, as in torchvision's own training."""
        import torch

        found = [a for a in self.coco.imgToAnns[image_id] if not a["iscrowd"]]
        boxes = torch.tensor([a["bbox"] for a in found], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = [self.categories.index(a["category_id"]) + 1 for a in found]
        return {"boxes": boxes / scale, "labels": torch.tensor(labels, dtype=torch.int64)}


def batches(split: Split, batch_size: int, seed: int) -> Iterator[tuple[list, list]]:
    """Images (3,S,S) in 0..1 and targets, epoch after epoch, half of them mirrored."""
    rng = random.Random(seed)
    while True:
        order = rng.sample(range(len(split.images)), len(split.images))
        for first in range(0, len(order) - batch_size + 1, batch_size):
            chosen = order[first : first + batch_size]
            pairs = [example(split, index, rng.random() < 0.5) for index in chosen]
            yield tuple(map(list, zip(*pairs)))


def example(split: Split, index: int, mirrored: bool) -> tuple:
    """An image and its target."""
    image, target = split.images[index] / 255, split.targets[index]
    if not mirrored:
        return image, target
    boxes = target["boxes"].clone()
    boxes[:, [0, 2]] = image.shape[-1] - boxes[:, [2, 0]]
    return image.flip(-1), {**target, "boxes": boxes}


def rate_factor(update: int, updates: int) -> float:
    """Share of the learning rate at an update, from 0: linear warm-up, then half a cosine to 0."""
    warmup = max(WARMUP_SHARE * updates, 1)
    if update < warmup:
        return WARMUP_RATIO + (1 - WARMUP_RATIO) * update / warmup
    return 0.5 * (1 + math.cos(math.pi * (update - warmup) / (updates - warmup)))


def evaluate(network, split: Split) -> dict:
    """AP, AP50 and AP75 on the split, by pycocotools."""
    import torch
    from pycocotools.cocoeval import COCOeval

    found = []
    network.eval()
    with torch.inference_mode():
        for first in range(0, len(split.images), EVAL_BATCH):
            images = [image / 255 for image in split.images[first : first + EVAL_BATCH]]
            for index, output in enumerate(network(images), first):
                found += as_results(split, index, output)
    network.train()
    if not found:
        return {"AP": 0.0, "AP50": 0.0, "AP75": 0.0}
    with redirect_stdout(sys.stderr):
        judge = COCOeval(split.coco, split.coco.loadRes(found), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {name: round(float(v), 4) for name, v in zip(("AP", "AP50", "AP75"), judge.stats)}


def as_results(split: Split, index: int, output: dict) -> list[dict]:
    """Detections in an image as in COCO's result files."""
    boxes = output["boxes"] * split.scales[index]
    boxes[:, 2:] -= boxes[:, :2]
    columns = (boxes.tolist(), output["scores"].tolist(), output["labels"].tolist())
    return [
        {
            "image_id": split.ids[index],
            "bbox": box,
            "score": score,
            "category_id": split.categories[label - 1],
        }
        for box, score, label in zip(*columns)
    ]


def train(network, args) -> Iterator[dict]:
    """A row after each args.interval updates, and after the last."""
    import torch

    train_split = Split(args.data, "train2017", args.image_size)
    val_split = Split(args.data, "val2017", args.image_size)
    optimizer = torch.optim.AdamW(network.parameters(), args.lr, BETAS, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda update: rate_factor(update, args.updates)
    )
    evaluating = 0.0  # CPU-seconds
    network.train()
    endless = batches(train_split, args.batch_size, args.seed)
    for update, (images, targets) in zip(range(1, args.updates + 1), endless):
        optimizer.zero_grad()
        sum(network(images, targets).values()).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
        optimizer.step()
        schedule.step()
        if update % args.interval == 0 or update == args.updates:
            now = time.process_time()
            row = {"updates": update, "cpu_seconds": round(now - evaluating, 1)}
            yield {**row, **evaluate(network, val_split)}
            evaluating += time.process_time() - now


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("data", type=Path, help="folder with annotations, train2017 and val2017")
    parser.add_argument("--points", type=Path, required=True, help="file to write")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--classes", type=int, default=5, help="background included")
    parser.add_argument("--image_size", type=int, default=96)
    parser.add_argument("--updates", type=int, default=1620)
    parser.add_argument("--interval", type=int, default=135)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=0.0006)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    import torch

    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)  # sums of tiny numbers are slow otherwise
    torch.manual_seed(args.seed)
    sizes = {key: getattr(args, key) for key in ("channels", "classes", "image_size")}
    network = build_network(args.backbone, **sizes)
    with args.points.open("w", buffering=1) as file:
        for row in train(network, args):
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
