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
from src.parallel import Ranks
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
    ranks: Optional[Ranks] = None,
    check: Optional[Callable[[], None]] = None,
) -> tuple[list[dict], Unreadable]:
    """Detections of every image of the split, in its own pixels, in COCO's result format.

    An image that cannot be read has no detections; it is among the second. Each of the ranks takes
    its share of the images; the main rank gets the detections of all, in the order of the split,
    and the others none. `check` is called before each batch, and may raise to end the work.
    """
    ranks = ranks or Ranks()
    found: dict[int, list[dict]] = {}
    annotations = samples.annotations
    unreadable = Unreadable(annotations.source, len(annotations))
    ranks.rest()
    batches = eval_batches(
        samples, batch_size=batch_size, workers=workers, rank=ranks.rank, ranks=ranks.size
    )
    for batch in batches:
        ranks.alive("batch")
        if check is not None:
            check()
        unreadable.add(batch.unread)
        for image_id, detections in detect_batch(forward, batch, postprocess):
            found[image_id] = coco_results(image_id, detections, annotations.category_ids)
    ranks.rest()
    shares = ranks.gather_to_main((found, unreadable.messages))
    for _, messages in shares:
        unreadable.add(messages.items())
    merged = {image_id: results for share, _ in shares for image_id, results in share.items()}
    ordered = [merged.get(image_id, []) for image_id in annotations.image_ids.tolist()]
    return [result for results in ordered for result in results], unreadable


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
    ranks: Optional[Ranks] = None,
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
        ranks=ranks,
        check=check,
    )
