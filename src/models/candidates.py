"""The network and the selection of its best predictions, as one graph."""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.detection.box_coder import BoxCoder

BESIDE = -1e9  # added to a logit, whose score then is 0


class Candidates(nn.Cell):
    """The network and its best predictions, as `detection.select` chooses them.

    Among equal scores MindSpore's TopK may take others, and in another order.

    Args:
        network: gives deltas (N,A,4) and logits (N,A,K).
        anchors: (A,4).
        image_size: (height, width) that boxes are clipped to.
        count: P, predictions of each image; fewer where A * K is less.
        levels: anchors of each level, in order; if given, `count` are chosen of each level, and P
            is their sum.
        fill: (3,) RGB around pictures that were fitted to the input with their aspect kept; if
            given, predictions on nothing but this colour have a score of 0.
    """

    def __init__(
        self,
        network: nn.Cell,
        anchors: np.ndarray,
        image_size: tuple[int, int],
        count: int,
        levels: Sequence[int] = (),
        fill: Sequence[int] | None = None,
    ):
        super().__init__(auto_prefix=False)
        self.network = network
        self.window = None if fill is None else PictureWindow(fill, image_size)
        self.num_classes = network.num_classes
        # of each level the first anchor, the end, and how many anchors and predictions are chosen
        sizes = list(levels) or [len(anchors)]
        ends = np.cumsum(sizes).tolist()
        self.levels = tuple(
            (end - size, end, min(count, size), min(count, size * self.num_classes))
            for size, end in zip(sizes, ends)
        )
        self.count = sum(chosen for *_, chosen in self.levels)
        self.coder = BoxCoder(anchors)
        height, width = image_size
        self.limits = ms.Tensor(np.array([width, height, width, height], np.float32))

    def construct(self, images):
        """Images (N,H,W,3) uint8 RGB -> boxes (N,P,4) in pixels, scores (N,P), labels (N,P) int32.

        Best score first; labels are 0..K-1.
        """
        return self.choose(*self.network(images), images)

    def choose(self, deltas, logits, images):
        """`construct` from the network's outputs for the images."""
        every = deltas
        if self.window is not None:
            every = self.coder.decode(deltas)  # (N,A,4)
            logits = logits + self.window.beside(images, every).expand_dims(2) * BESIDE
        if len(self.levels) == 1:
            best, place, rows = self.best_of(logits, *self.levels[0][2:])
        else:
            best, place, rows = self.best_of_levels(logits)
        row = place // self.num_classes
        labels = place - row * self.num_classes
        anchor = ops.gather_elements(rows, 1, row)  # (N,P)
        boxes = ops.gather_elements(every, 1, ops.tile(anchor.expand_dims(2), (1, 1, 4)))
        if self.window is None:
            boxes = self.coder.decode(boxes, anchor)
        boxes = ops.minimum(ops.maximum(boxes, 0.0), self.limits)
        return boxes, ops.sigmoid(best), labels

    def best_of(self, logits, rows, count):
        """The `count` (P) best of logits (N,A,K), which are of at most `rows` (R) anchors.

        Returns:
            Values (N,P), best first; places (N,P) in the (R,K) predictions of the chosen anchors;
            these anchors (N,R).
        """
        # only anchors whose best class is among the P best can hold one of the P best
        _, rows = ops.topk(logits.max(axis=2), rows)  # (N,R)
        of_classes = ops.tile(rows.expand_dims(2), (1, 1, self.num_classes))
        chosen = ops.gather_elements(logits, 1, of_classes)  # (N,R,K)
        best, place = ops.topk(chosen.reshape(chosen.shape[0], -1), count)  # (N,P)
        return best, place, rows

    def best_of_levels(self, logits):
        """`best_of` of all levels in one: P and R are the sums of theirs."""
        best, place, rows = (), (), ()
        before = 0  # predictions of the anchors chosen so far
        for first, end, anchors, count in self.levels:
            found = self.best_of(logits[:, first:end], anchors, count)
            best, place = (*best, found[0]), (*place, found[1] + before)
            rows = (*rows, found[2] + first)
            before += anchors * self.num_classes
        best, order = ops.topk(ops.concat(best, axis=1), self.count)
        place = ops.gather_elements(ops.concat(place, axis=1), 1, order)
        return best, place, ops.concat(rows, axis=1)


class PictureWindow(nn.Cell):
    """Where a picture lies in the network's input, by the colour `fill` around it."""

    def __init__(self, fill: Sequence[int], image_size: tuple[int, int]):
        super().__init__(auto_prefix=False)
        self.fill = ms.Tensor(np.array(fill, np.float32))
        self.sides = image_size
        self.counts = tuple(ms.Tensor(np.arange(1, s + 1, dtype=np.float32)) for s in image_size)

    def construct(self, images):
        """Images (N,H,W,3) -> (N,1,2) left and top edge, (N,1,2) right and bottom edge."""
        other = ops.abs(ops.cast(images, ms.float32) - self.fill)  # (N,H,W,3)
        top, bottom = self.edges(other.sum(axis=(2, 3)), 0)
        left, right = self.edges(other.sum(axis=(1, 3)), 1)
        low, high = ops.concat([left, top], axis=1), ops.concat([right, bottom], axis=1)
        return low.expand_dims(1), high.expand_dims(1)

    def edges(self, other, axis):
        """Sums (N,side) that are 0 where all is fill -> first and last edge of the rest, (N,1)."""
        is_other = ops.cast(other > 0, ms.float32)
        side, counts = self.sides[axis], self.counts[axis]
        last = (is_other * counts).max(axis=1)
        first = side - (is_other * (side + 1 - counts)).max(axis=1)
        return first.expand_dims(1), last.expand_dims(1)

    def beside(self, images, boxes):
        """Boxes (N,A,4) of images (N,H,W,3) -> (N,A), above 0 if they lie beside the picture.

        nan counts as inside, so that it shows.
        """
        low, high = self.construct(images)
        shared = ops.minimum(boxes[..., 2:] - low, high - boxes[..., :2])  # (N,A,2)
        return ops.cast(shared < 0, ms.float32).sum(axis=2)


class CheckedCandidates(nn.Cell):
    """Candidates with nan as scores of an image for which the network has a nan among its outputs.

    TopK hides nan: some devices sort it last.
    """

    def __init__(self, candidates: Candidates):
        super().__init__(auto_prefix=False)
        self.candidates = candidates
        self.nan = ms.Tensor(np.nan, ms.float32)

    def construct(self, images):
        """As `Candidates.construct`."""
        return self.choose(*self.candidates.network(images), images)

    def choose(self, deltas, logits, images):
        """As `Candidates.choose`."""
        boxes, scores, labels = self.candidates.choose(deltas, logits, images)
        wrong = (deltas != deltas).any(axis=2).any(axis=1)  # (N,)
        wrong = ops.logical_or(wrong, (logits != logits).any(axis=2).any(axis=1))
        return boxes, ops.where(wrong.expand_dims(1), self.nan, scores), labels
