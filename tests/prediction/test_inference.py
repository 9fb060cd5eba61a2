"""Merged views of an image, with a model that finds rectangles and with the network."""

import mindspore as ms
import numpy as np
import pytest

from src.data.dataset import build_annotations
from src.data.eval_loader import EvalSamples, eval_batches
from src.data.transforms import FILL, fit_image
from src.deploy.exported import ExportedModel
from src.detection.anchors import build_anchors
from src.detection.postprocess import Detections, Postprocessor, build_postprocessor
from src.evaluation.detect import detect_split
from src.models.ssd import build_ssd
from src.prediction.inference import Inference, Seen, build_inference, describe_views, input_sizes
from src.prediction.network_model import CandidateModel, Model, NetworkModel, build_model
from src.runtime.errors import NotFinite
from tests.networks import excite

pytestmark = pytest.mark.usefixtures("narrow")


class SeesBright(Model):
    """Finds the bright rectangle of an image; the larger the image, the higher the score."""

    def __init__(self):
        self.seen = []

    def forward(self, images):
        self.seen.append(images.shape)
        return (np.asarray(images[..., 0]),)

    def candidates(self, outputs, size, postprocess):
        rows, columns = np.nonzero(outputs[0] > 128)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        score = 0.4 + size[0] / 1000
        return Detections(np.array([box], np.float32), np.array([score]), np.array([0]))


def detections(inference, outputs, scales, size):
    """Those of the first image of a batch."""
    return inference.merged([inference.candidates(outputs, 0, scales, size)])


def keep_all():
    return Postprocessor(score_threshold=0.05, candidates=100, nms_iou=1.0, max_detections=100)


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize("mirror", [False, True])
def test_every_view_finds_the_same_place(keep_aspect, mirror):
    image = np.zeros((200, 400, 3), np.uint8)
    image[50:150, 40:120] = 255
    sizes = [(128, 128), (256, 256), (320, 192)]
    fitted = [fit_image(image, size, keep_aspect=keep_aspect) for size in sizes]
    model = SeesBright()
    inference = Inference(model, keep_all(), sizes=sizes, mirror=mirror)
    outputs = inference.forward([picture[None] for picture, _ in fitted])
    scales = np.stack([scale for _, scale in fitted])
    found = detections(inference, outputs, scales, np.array([400, 200]))
    assert len(model.seen) == len(found.scores) == (6 if mirror else 3)
    # a pixel of the smallest view is up to 400 / 128 pixels of the image
    np.testing.assert_allclose(found.boxes, [[40, 50, 120, 150]] * len(found.boxes), atol=3.2)
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_one_object_seen_in_several_views_is_one_detection():
    image = np.zeros((64, 64, 3), np.uint8)
    image[16:48, 8:32] = 255
    postprocess = Postprocessor(
        score_threshold=0.05, candidates=100, nms_iou=0.6, max_detections=100
    )
    inference = Inference(SeesBright(), postprocess, sizes=[(64, 64)], mirror=True)
    outputs = inference.forward([image[None]])
    found = detections(inference, outputs, np.ones((1, 2)), np.array([64, 64]))
    assert found.boxes.tolist() == [[8, 16, 32, 48]]


def test_input_sizes():
    assert input_sizes((640, 320), [1.0, 0.8, 1.25]) == ((640, 320), (512, 256), (800, 416))
    assert input_sizes((64, 64), [0.1]) == ((32, 32),)


def test_cost_of_views(small):
    cfg = small.replace(image_size=[64, 96])
    assert describe_views(cfg) == "1 view of each image, at 64 x 96"
    assert describe_views(cfg.replace(tta_scales=[0.5])) == (
        "1 view of each image, at 32 x 64: 0.3 times the work"
    )
    assert describe_views(cfg.replace(tta_scales=[1.0, 2.0], tta_flip=True)) == (
        "4 views of each image, at 64 x 96, 128 x 192, each mirrored too: 10.0 times the work"
    )


def test_an_exported_file_gets_batches_of_its_own_size():
    asked = []

    def run(images):
        asked.append(images.shape)
        totals = images.reshape(len(images), -1).astype(np.float32).sum(axis=1)
        return totals[:, None, None] * np.ones((1, 3, 4)), totals[:, None, None] * np.ones(
            (1, 3, 2)
        )

    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    boxes, scores = ExportedModel(run, batch_size=2).forward(images)
    assert asked == [(2, 8, 8, 3)] * 3
    assert boxes.shape == (5, 3, 4)
    assert scores[:, 0, 0].tolist() == [n * 192 for n in range(5)]
    asked.clear()
    boxes, _ = ExportedModel(run, batch_size=0).forward(images)  # takes any number
    assert asked == [(5, 8, 8, 3)]
    assert boxes.shape == (5, 3, 4)


@pytest.fixture(scope="module")
def network_of():
    """The small network, built once."""
    built = {}

    def make(cfg):
        if not built:
            built["it"] = excite(build_ssd(cfg, build_anchors(cfg).anchors_per_cell))
        return built["it"]

    return make


def test_outputs_stay_as_they_are_when_the_next_batch_comes(small, network_of):
    model = NetworkModel(network_of(small), build_anchors(small), batch_size=2)
    rng = np.random.default_rng(1)
    batches = [rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8) for _ in range(4)]
    outputs = [model.forward(batch) for batch in batches]
    kept = [[array.copy() for array in arrays] for arrays in outputs]
    again = model.forward(batches[0])
    for arrays, copies in zip(outputs, kept):
        for array, copy in zip(arrays, copies):
            np.testing.assert_array_equal(array, copy)
    for array, copy in zip(again, kept[0]):
        np.testing.assert_array_equal(array, copy)
    assert not np.array_equal(kept[0][1], kept[1][1])


def test_graphs_of_few_sizes_are_kept(small, network_of, monkeypatch, capsys):
    model = NetworkModel(network_of(small), build_anchors(small), batch_size=1)
    rng = np.random.default_rng(1)
    sizes = [(64, 64), (64, 96), (64, 64), (96, 64), (64, 96)]
    images = [rng.integers(0, 256, (1, *size, 3), dtype=np.uint8) for size in sizes]
    expected = [[output.copy() for output in model.forward(image)] for image in images]
    calls, recycle = [], ms.ms_memory_recycle
    monkeypatch.setattr(ms, "ms_memory_recycle", lambda: (calls.append(1), recycle()))
    model.sizes.clear()
    model.most_sizes = 2
    counts, found = [], []
    for image in images:
        found.append(model.forward(image))
        counts.append(len(calls))
    assert counts == [0, 0, 0, 1, 1]  # (96, 64) takes the place of two others
    (line,) = capsys.readouterr().err.splitlines()
    assert "graphs of 2 sizes are kept. --canvas_step=0 needs two in all" in line
    for outputs, own in zip(found, expected):
        for one, other in zip(outputs, own):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_smaller_batch_gives_the_same(small, network_of):
    model = NetworkModel(network_of(small), build_anchors(small), batch_size=2)
    images = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    for whole, alone in zip(model.forward(images), model.forward(images[1:])):
        assert len(alone) == 1
        np.testing.assert_allclose(alone[0], whole[1], atol=1e-5)


def test_a_split_flipped_and_at_two_scales(small, network_of):
    cfg = small.replace(tta_flip=True, tta_scales=[1.0, 1.5], eval_batch_size=2, score_threshold=0)
    annotations = build_annotations(cfg, training=False)
    inference = build_inference(cfg, network_of(small), build_postprocessor(cfg), 2)
    assert inference.sizes == ((64, 64), (96, 96))
    assert len(inference.views) == 4
    samples = EvalSamples(annotations, sizes=inference.sizes, keep_aspect=False)
    batch = next(eval_batches(samples, batch_size=2, workers=0))
    assert [images.shape for images in batch.images] == [(2, 64, 64, 3), (2, 96, 96, 3)]
    np.testing.assert_allclose(batch.scales[:, 1], batch.scales[:, 0] * 1.5, rtol=1e-6)
    joined = detect_split(inference, samples, batch_size=2, workers=0).rows
    # the best detection of each image is the best of any single view
    best = {}
    for mirrored in (False, True):
        for number in range(2):
            one = Inference(
                inference.model, inference.postprocess, sizes=inference.sizes, mirror=mirrored
            )
            one.views = [v for v in one.views if v == (number, mirrored)]
            for row in detect_split(one, samples, batch_size=2, workers=0).rows:
                best[row[0]] = max(best.get(row[0], 0), row[5])
    found = {i: joined[joined[:, 0] == i, 5].max() for i in annotations.image_ids}
    assert found == pytest.approx(best)


class SeesEverywhere(Model):
    """A prediction on each of eight columns of the input; the further right, the better."""

    def forward(self, images):
        left = np.arange(8, dtype=np.float32) * images.shape[2] / 8
        boxes = np.stack([left, left * 0, left + 4, left * 0 + 4], axis=1)
        if (images[0, :, -1] == 255).all():  # mirrored: the image is on the right
            boxes = boxes[::-1]
        return (np.tile(boxes, (len(images), 1, 1)),)

    def candidates(self, outputs, size, postprocess):
        scores = np.linspace(0.2, 0.9, 8)
        return postprocess.chosen(outputs[0][::-1], scores[::-1], np.zeros(8, int))


@pytest.mark.parametrize("mirror", [False, True])
def test_letterbox_gives_no_place_to_what_is_beside_the_image(mirror):
    image = np.full((200, 100, 3), 255, np.uint8)
    fitted, scale = fit_image(image, (64, 64), keep_aspect=True)
    found = {}
    for letterbox in (False, True):
        postprocess = Postprocessor(
            score_threshold=0.05, candidates=4, nms_iou=0.5, max_detections=4
        )
        inference = Inference(
            SeesEverywhere(), postprocess, sizes=[(64, 64)], mirror=mirror, letterbox=letterbox
        )
        outputs = inference.forward([fitted[None]])
        found[letterbox] = detections(inference, outputs, scale[None], np.array([100, 200]))
    # the image fills the left half of the input, of four columns; the others are better
    assert len(found[False].scores) == 0
    # of two views those nearest to the margin enter, at 24 and 16 pixels, and 28 and 20 mirrored
    expected = [50, 62.5, 75, 87.5] if mirror else [0, 25, 50, 75]
    assert sorted(found[True].boxes[:, 0].tolist()) == expected


@pytest.mark.parametrize(("per_level", "letterbox"), [(0, False), (30, False), (0, True)])
def test_candidates_chosen_in_the_graph_equal_numpys(small, network_of, per_level, letterbox):
    """With letterbox of an image and its mirror, where many of the best lie beside them."""
    cfg = small.replace(pre_nms_top_k=40, candidates_per_level=per_level, score_threshold=0.01)
    rng = np.random.default_rng(3)
    width = 8 if letterbox else 64
    image = rng.integers(0, 256, (64, width, 3), dtype=np.uint8)
    fitted, scale = fit_image(image, (64, 64), keep_aspect=True)
    images, scales, size = [fitted[None]], scale[None], np.array([width, 64], np.float32)
    found, alone, free = [], [], []  # of both views, of the first, of it with what lies beside
    for kind in (NetworkModel, CandidateModel):
        extra = {"count": per_level or 40, "by_level": per_level > 0}
        extra["fill"] = FILL if letterbox else None
        extra = extra if kind is CandidateModel else {}
        model = kind(network_of(small).set_train(False), build_anchors(small), 2, **extra)
        postprocess = build_postprocessor(cfg)
        ways = ((found, letterbox, letterbox), (alone, False, letterbox), (free, False, False))
        for kept, mirror, boxed in ways:
            inference = Inference(
                model, postprocess, sizes=[(64, 64)], mirror=mirror, letterbox=boxed
            )
            kept.append(detections(inference, inference.forward(images), scales, size))
    one, other = found
    assert len(one.scores) > 5
    assert (len(free[0].scores) < len(alone[0].scores)) == letterbox
    np.testing.assert_allclose(other.scores, one.scores, atol=1e-6)
    np.testing.assert_array_equal(other.labels, one.labels)
    np.testing.assert_allclose(other.boxes, one.boxes, atol=1e-3)


@pytest.mark.parametrize(
    "device, count, kind",
    [("CPU", 40, NetworkModel), ("GPU", 40, CandidateModel), ("GPU", 0, NetworkModel)],
)
def test_which_model_is_built(small, network_of, device, count, kind):
    cfg = small.replace(device_target=device)
    network = network_of(small).set_train(True)

    def model_of(**keys):
        postprocess = build_postprocessor(small, **keys)
        return build_model(cfg, network, batch_size=2, postprocess=postprocess)

    model = model_of(candidates=count)
    assert type(model) is kind
    assert network.training  # a run's network is made ready for evaluation when it is due
    # what is chosen is in its graph
    differ = model.graph_key() != model_of(candidates=2 * count).graph_key()
    assert differ == (kind is CandidateModel)
    by_level = model_of(candidates=0, per_level=40)
    assert type(by_level) is (NetworkModel if device == "CPU" else CandidateModel)
    assert (by_level.graph_key() != model.graph_key()) == (device == "GPU")


def test_nan_from_the_network_is_refused(small, network_of):
    inference = build_inference(small, network_of(small), build_postprocessor(small), 1)
    image = np.zeros((1, 64, 64, 3), np.uint8)
    ((size, (deltas, logits), _),) = inference.forward([image])
    broken = Seen(size, (deltas, np.full_like(logits, np.nan)))
    with pytest.raises(NotFinite):
        detections(inference, [broken], np.ones((1, 2)), np.array([64, 64]))
