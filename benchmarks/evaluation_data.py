"""What evaluation.py and inference.py run on: generated splits, and a network that detects."""

import json
from pathlib import Path

import numpy as np

from benchmarks.updates import OBJECTS

CLASSES = 80
SIDE = 640  # pixels of the generated images
CROWD_SHARE = 0.01


def draw_head_norms(network) -> None:
    """Draws the heads' batch norms: those of the levels differ, as in a trained network."""
    import mindspore as ms

    rng = np.random.default_rng(3)
    draws = {
        "gamma": lambda shape: rng.uniform(0.5, 1.5, shape),
        "beta": lambda shape: rng.normal(0, 0.02, shape),
        "moving_mean": lambda shape: rng.normal(0, 0.02, shape),
        "moving_variance": lambda shape: rng.uniform(0.5, 1.5, shape),
    }
    for head in (network.box_head, network.class_head):
        for name, parameter in head.parameters_and_names():
            draw = draws.get(name.rpartition(".")[2])
            if draw:
                parameter.set_data(ms.Tensor(draw(parameter.shape).astype(np.float32)))


def spread_scores(network, cfg, annotations, *, above: int) -> None:
    """Sets the class layer so that about `above` predictions of an image pass the threshold."""
    import mindspore as ms

    from src.data.eval_loader import EvalSamples, eval_batches
    from src.detection.postprocess import logit

    predictor = network.class_head.predictor
    rng = np.random.default_rng(2)
    weight = rng.normal(0, 0.2, predictor.weight.shape).astype(np.float32)
    predictor.weight.set_data(ms.Tensor(weight))
    samples = EvalSamples(annotations, sizes=[cfg.image_size], keep_aspect=False)
    count = cfg.eval_batch_size
    batch = next(eval_batches(samples, batch_size=count, workers=0))
    logits = network(ms.Tensor(batch.images[0]))[1].asnumpy()
    least = np.partition(logits.ravel(), -above * count)[-above * count]
    bias = predictor.bias.asnumpy() + np.float32(logit(cfg.score_threshold) - least)
    predictor.bias.set_data(ms.Tensor(bias))


def generated_split(folder: Path, images: int, detections: int, classes: int = CLASSES) -> None:
    """Writes truth.json, some seven objects an image, and detections.npy in COCO's array form.

    Four detections an object are near it, most of them of its class; the others are anywhere.
    """
    rng = np.random.default_rng(0)
    popularity = 1 / np.arange(1, classes + 1)
    popularity /= popularity.sum()
    objects, rows = [], []
    for image_id in range(1, images + 1):
        count = rng.poisson(OBJECTS)
        labels = rng.choice(classes, count, p=popularity)
        sides = np.exp(rng.normal(4, 1, (count, 2))).clip(4, SIDE - 10)
        corners = rng.uniform(0, SIDE - sides)
        for corner, side, label in zip(corners, sides, labels):
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": image_id,
                    "category_id": int(label) + 1,
                    "bbox": [*corner.tolist(), *side.tolist()],
                    "area": float(side.prod() * 0.7),  # of a segmentation
                    "iscrowd": int(rng.random() < CROWD_SHARE),
                }
            )
        near = min(4 * count, detections)
        source = np.arange(near) % max(count, 1)
        boxes = np.empty((detections, 4))
        boxes[:near, :2] = corners[source] + rng.normal(0, 0.15, (near, 2)) * sides[source]
        boxes[:near, 2:] = sides[source] * np.exp(rng.normal(0, 0.2, (near, 2)))
        boxes[near:, :2] = rng.uniform(0, 500, (detections - near, 2))
        boxes[near:, 2:] = np.exp(rng.normal(4, 1, (detections - near, 2)))
        guess = rng.choice(classes, detections, p=popularity)
        right = rng.random(near) < 0.8
        guess[:near][right] = labels[source][right]
        scores = rng.beta(1, 8, detections) * 0.6 + 0.05
        scores[:near] = rng.beta(2, 4, near)
        ids = np.full(detections, image_id)
        rows.append(np.column_stack([ids, boxes.round(3), scores.round(6), guess + 1]))
    content = {
        "images": [
            {"id": i + 1, "width": SIDE, "height": SIDE, "file_name": f"{i}.jpg"}
            for i in range(images)
        ],
        "annotations": objects,
        "categories": [{"id": k + 1, "name": f"class {k}"} for k in range(classes)],
    }
    (folder / "truth.json").write_text(json.dumps(content))
    np.save(folder / "detections.npy", np.concatenate(rows))
