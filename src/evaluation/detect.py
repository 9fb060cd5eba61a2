"""Runs a detector over a split."""

from collections.abc import Callable, Iterator

import mindspore as ms
import numpy as np
from mindspore import nn

from src.config import Config
from src.data.annotations import Annotations
from src.data.loader import EvalBatch, eval_batches
from src.detection.anchors import build_anchors
from src.detection.postprocess import Detections, Postprocessor, build_postprocessor
from src.evaluation.coco import coco_results
from src.models.ssd import SSD, build_ssd
from src.weights import check_run, load_detector


def network_forward(network: nn.Cell, batch_size: int) -> Callable:
    """A function from images (n,S,S,3) uint8, n <= batch_size, to deltas (n,A,4), logits (n,A,K).

    Smaller batches are filled up, since each new shape would be compiled anew.
    """

    def forward(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count = len(images)
        if count < batch_size:
            images = np.concatenate([images, np.repeat(images[:1], batch_size - count, axis=0)])
        deltas, logits = network(ms.Tensor(images))
        return deltas.asnumpy()[:count], logits.asnumpy()[:count]

    return forward


def detect_batch(
    forward: Callable, batch: EvalBatch, postprocess: Postprocessor
) -> Iterator[tuple[int, Detections, np.ndarray]]:
    """(image id, detections in the network's pixels, scale (2,) to the image's) of each image."""
    deltas, logits = forward(batch.images)
    height, width = batch.images.shape[1:3]
    for index, image_id in enumerate(batch.image_ids):
        scale = batch.sizes[index] / np.array([width, height], np.float32)
        yield int(image_id), postprocess(deltas[index], logits[index]), scale


def detect_split(
    forward: Callable,
    annotations: Annotations,
    postprocess: Postprocessor,
    *,
    batch_size: int,
    workers: int,
) -> list[dict]:
    """Detections of every image of the split, in its own pixels, in COCO's result format."""
    results: list[dict] = []
    batches = eval_batches(
        annotations, image_size=postprocess.image_size, batch_size=batch_size, workers=workers
    )
    for batch in batches:
        for image_id, detections, scale in detect_batch(forward, batch, postprocess):
            results += coco_results(image_id, detections, scale, annotations.category_ids)
    return results


def build_detector(cfg: Config) -> SSD:
    """The configured network with the weights of `checkpoint_path`, ready for inference."""
    network = build_ssd(cfg, build_anchors(cfg).boxes_per_cell)
    load_detector(network, cfg.checkpoint_path)
    check_run(cfg.checkpoint_path, cfg)
    return network.set_train(False)


def detect_with(network: SSD, cfg: Config, annotations: Annotations) -> list[dict]:
    """Detections of the split as the configuration asks for them, in COCO's result format."""
    network.set_train(False)
    anchors = build_anchors(cfg).boxes(cfg.image_size)
    return detect_split(
        network_forward(network, cfg.eval_batch_size),
        annotations,
        build_postprocessor(cfg, anchors),
        batch_size=cfg.eval_batch_size,
        workers=cfg.num_workers,
    )
