"""The network and the selection of its best predictions, as one graph."""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.detection.box_coder import BoxCoder


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
    """

    def __init__(
        self,
        network: nn.Cell,
        anchors: np.ndarray,
        image_size: tuple[int, int],
        count: int,
        levels: Sequence[int] = (),
    ):
        super().__init__(auto_prefix=False)
        self.network = network
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
        return self.choose(*self.network(images))

    def choose(self, deltas, logits):
        """`construct` from the network's outputs."""
        if len(self.levels) == 1:
            best, place, rows = self.best_of(logits, *self.levels[0][2:])
        else:
            best, place, rows = self.best_of_levels(logits)
        row = place // self.num_classes
        labels = place - row * self.num_classes
        anchor = ops.gather_elements(rows, 1, row)  # (N,P)
        own = ops.gather_elements(deltas, 1, ops.tile(anchor.expand_dims(2), (1, 1, 4)))
        boxes = ops.minimum(ops.maximum(self.coder.decode(own, anchor), 0.0), self.limits)
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


class CheckedCandidates(nn.Cell):
    """Candidates, whose scores are nan where any output of the network for the image is.

    TopK hides nan: some devices sort it last.
    """

    def __init__(self, candidates: Candidates):
        super().__init__(auto_prefix=False)
        self.candidates = candidates
        self.nan = ms.Tensor(np.nan, ms.float32)

    def construct(self, images):
        """As `Candidates.construct`."""
        deltas, logits = self.candidates.network(images)
        boxes, scores, labels = self.candidates.choose(deltas, logits)
        wrong = (deltas != deltas).any(axis=2).any(axis=1)  # (N,)
        wrong = ops.logical_or(wrong, (logits != logits).any(axis=2).any(axis=1))
        return boxes, ops.where(wrong.expand_dims(1), self.nan, scores), labels
