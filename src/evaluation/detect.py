"""Runs a detector over a split."""

from collections.abc import Callable, Iterator
from typing import Optional

import mindspore as ms
import numpy as np
from mindspore import nn

from src.config import Config
from src.data.annotations import Annotations
from src.data.loader import EvalBatch, EvalSamples, eval_batches
from src.data.problems import Unreadable
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
) -> Iterator[tuple[int, Detections]]:
    """Image id and detections, in its own pixels, of each image of the batch that was read."""
    deltas, logits = forward(batch.images)
    for row in np.flatnonzero(batch.readable):
        found = postprocess(deltas[row], logits[row])
        yield int(batch.image_ids[row]), found.in_image(batch.scales[row], batch.sizes[row])


def detect_split(
    forward: Callable,
    samples: EvalSamples,
    postprocess: Postprocessor,
    *,
    batch_size: int,
    workers: int,
    check: Optional[Callable[[], None]] = None,
) -> tuple[list[dict], Unreadable]:
    """Detections of every image of the split, in its own pixels, in COCO's result format.

    An image that cannot be read has no detections; it is among the second. `check` is called
    before each batch, and may raise to end the work.
    """
    results: list[dict] = []
    annotations = samples.annotations
    unreadable = Unreadable(annotations.source, len(annotations))
    for batch in eval_batches(samples, batch_size=batch_size, workers=workers):
        if check is not None:
            check()
        unreadable.add(batch.unread)
        for image_id, detections in detect_batch(forward, batch, postprocess):
            results += coco_results(image_id, detections, annotations.category_ids)
    return results, unreadable


def build_detector(cfg: Config) -> SSD:
    """The configured network with the weights of `checkpoint_path`, ready for inference."""
    network = build_ssd(cfg, build_anchors(cfg).boxes_per_cell)
    load_detector(network, cfg.checkpoint_path)
    check_run(cfg.checkpoint_path, cfg)
    return network.set_train(False)


def detect_with(
    network: SSD,
    cfg: Config,
    annotations: Annotations,
    *,
    check: Optional[Callable[[], None]] = None,
) -> tuple[list[dict], Unreadable]:
    """`detect_split` as the configuration asks for it."""
    network.set_train(False)
    anchors = build_anchors(cfg).boxes(cfg.image_size)
    return detect_split(
        network_forward(network, cfg.eval_batch_size),
        EvalSamples(annotations, image_size=cfg.image_size, keep_aspect=cfg.resize == "letterbox"),
        build_postprocessor(cfg, anchors),
        batch_size=cfg.eval_batch_size,
        workers=cfg.num_workers,
        check=check,
    )
