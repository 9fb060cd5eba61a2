"""Runs a detector over a split."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from src.config.configuration import Config
from src.data.annotations import Annotations
from src.data.eval_loader import EvalBatch, EvalSamples, eval_batches
from src.data.problems import Unreadable, first_lines
from src.detection.assign import build_assigner
from src.detection.postprocess import Detections, build_postprocessor
from src.distributed.ranks import Ranks
from src.evaluation.protocol import build_protocol
from src.evaluation.results import no_rows, result_rows
from src.evaluation.split_loss import LossModel, build_split_model, mean_losses
from src.models.card_fit import advice_after_forward
from src.models.ssd import SSD
from src.prediction.exported_model import build_exported
from src.prediction.inference import Inference, Seen, build_inference, find_short_side
from src.prediction.network_model import Model
from src.runtime.errors import NotFinite
from src.runtime.out_of_memory import with_memory_advice
from src.runtime.threads import Follower

PENDING_BATCHES = 2  # in post-processing or waiting; their outputs take memory


@dataclass
class SplitDetections:
    """Detections in a split.

    Attributes:
        unreadable: images that could not be read; they have no detections.
        rows: (R,7) float64 in COCO's array form, in the order of the split.
        not_finite: images with nan or infinite outputs, and the reason.
        sums: (images,L) losses of the readable images with finite outputs, if they were measured.
        losses: their means by name, see `split_loss.mean_losses`; none if they were not measured.
    """

    unreadable: Unreadable
    rows: np.ndarray = field(default_factory=no_rows)
    not_finite: list[str] = field(default_factory=list)
    sums: np.ndarray | None = None
    losses: dict[str, float] = field(default_factory=dict)

    def check(self) -> None:
        """InputError or NotFinite where a metric would be wrong for the split."""
        self.unreadable.check()
        if self.not_finite:
            raise NotFinite("the network's outputs\n  " + "\n  ".join(first_lines(self.not_finite)))


# by image id: rows, or the error in outputs; losses (L,), if they were measured
Share = dict[int, tuple[np.ndarray | str, np.ndarray | None]]


@dataclass
class Parts:
    """Results of the windows of an image so far.

    Attributes:
        found: the candidates of each window.
        error: why the outputs of a window are not finite, if they are not.
        losses: (L,) of the whole image, its first window.
    """

    found: list[list[Detections]] = field(default_factory=list)
    error: str = ""
    losses: np.ndarray | None = None


def detect_batch(
    inference: Inference,
    batch: EvalBatch,
    seen: list[Seen],
    category_ids: tuple[int, ...],
    parts: dict[int, Parts],
) -> Share:
    """Results of the readable images whose last window is in the batch.

    Args:
        parts: by image id, of images whose other windows are in other batches.
    """
    share: Share = {}
    measured = next((one.losses for one in seen if one.losses is not None), None)
    for row in np.flatnonzero(batch.readable):
        image_id = int(batch.image_ids[row])
        where = (batch.scales[row], batch.sizes[row], batch.windows[row])
        own = parts.setdefault(image_id, Parts())
        if measured is not None and not own.found:
            own.losses = measured[row]
        try:
            found = inference.candidates(seen, row, *where)
        except NotFinite as error:
            found, own.error = [], str(error)
        own.found.append(found)
        if len(own.found) == batch.counts[row]:
            del parts[image_id]
            rows = own.error or result_rows(image_id, inference.merged(own.found), category_ids)
            share[image_id] = rows, own.losses
    return share


def detect_split(
    inference: Inference,
    samples: EvalSamples,
    *,
    batch_size: int,
    workers: int,
    ranks: Ranks | None = None,
    check: Callable[[], None] | None = None,
) -> SplitDetections:
    """Detections of all images of the split, in pixels of the image.

    Workers read, this thread runs the network, and another one post-processes. Images are divided
    among the ranks; the main rank gets all detections, in the order of the split, the others none.

    Args:
        check: called before each batch; may raise to stop.
    """
    ranks = ranks or Ranks()
    annotations, ids = samples.annotations, samples.annotations.category_ids
    found = SplitDetections(Unreadable(annotations.source, len(annotations)))
    share: Share = {}
    parts: dict[int, Parts] = {}
    ranks.idle()
    batches = eval_batches(
        samples, batch_size=batch_size, workers=workers, rank=ranks.rank, ranks=ranks.size
    )
    with closing(batches), Follower(PENDING_BATCHES) as host:
        while True:
            ranks.heartbeat("batch")
            if check is not None:
                check()
            batch = next(batches, None)
            if batch is None:
                break
            found.unreadable.add(batch.unread)
            seen = inference.forward(batch.images, batch.targets)
            for done in host.submit(detect_batch, inference, batch, seen, ids, parts):
                share |= done
        for done in host.drain():
            share |= done
    ranks.idle()
    collect(found, ranks.gather_to_main((share, found.unreadable.messages)), annotations)
    return found


def collect(found: SplitDetections, shares: list[tuple], annotations: Annotations) -> None:
    """Collects the shares of all ranks in the order of the split."""
    results: Share = {}
    for own, messages in shares:
        results |= own
        found.unreadable.add(messages.items())
    ordered = {i: results[i] for i in annotations.image_ids.tolist() if i in results}
    errors = {i: rows for i, (rows, _) in ordered.items() if isinstance(rows, str)}
    found.not_finite = [f"image {i}: {error}" for i, error in errors.items()]
    whole = [ordered[i] for i in ordered if i not in errors]
    found.rows = np.concatenate([no_rows(), *(rows for rows, _ in whole)])
    if sums := [losses for _, losses in whole if losses is not None]:
        found.sums = np.stack(sums)


def detect_with(
    network: SSD | None,
    cfg: Config,
    annotations: Annotations,
    *,
    ranks: Ranks | None = None,
    check: Callable[[], None] | None = None,
    model: Model | None = None,
) -> SplitDetections:
    """`detect_split` as configured; without a network, with the exported file `cfg.model`.

    An existing `model` of the network is reused.
    """
    limits = build_protocol(cfg).limits()
    assigner = None
    if network is None:
        inference = build_exported(cfg, threads=(ranks or Ranks()).cores(), **limits)
    else:
        postprocess = build_postprocessor(cfg, **limits)
        model = model or build_split_model(cfg, network, annotations, postprocess)
        inference = build_inference(cfg, network, postprocess, cfg.eval_batch_size, model)
        if isinstance(model, LossModel):
            assigner = build_assigner(cfg)
    samples = EvalSamples(
        annotations,
        sizes=inference.sizes,
        keep_aspect=cfg.resize == "letterbox",
        short_side=find_short_side(cfg, network),
        assigner=assigner,
        assigned=inference.sizes.index(tuple(cfg.image_size)) if assigner else 0,
        tiling=inference.tiling,
    )
    with with_memory_advice(partial(advice_after_forward, cfg)):
        found = detect_split(
            inference,
            samples,
            batch_size=cfg.eval_batch_size,
            workers=cfg.num_workers,
            ranks=ranks,
            check=check,
        )
    if found.sums is not None:
        found.losses = mean_losses(model.term_names, found.sums)
    return found
