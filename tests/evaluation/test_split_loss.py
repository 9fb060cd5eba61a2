"""The loss of an evaluated split against plain Python."""

import json

import cv2
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.config.configuration import make_config
from src.data.dataset import build_annotations
from src.data.problems import Unreadable
from src.data.synthetic import write_dataset
from src.detection.anchors import build_anchors
from src.detection.assign import build_assigner
from src.detection.postprocess import build_postprocessor
from src.evaluation.detect import detect_with
from src.evaluation.split_loss import (
    LossModel,
    build_split_model,
    describe_losses,
    mean_losses,
    measures_loss,
)
from src.losses.detection_loss import build_loss
from src.models.ssd import build_ssd
from src.prediction.network_model import CandidateModel
from tests.conftest import small_keys
from tests.losses.slow_losses import slow_loss
from tests.networks import excite, stir_norms

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow")]

SIDE, BROKEN, EMPTY, CROWD = 64, 2, 3, 4  # places in the split of unusual images
NEWER = {
    "assigner": "atss", "class_loss": "quality", "box_loss": "giou", "box_weight": 2.0,
    "box_coding": "distribution", "resize": "letterbox",
}  # fmt: skip
CENTERNESS = {"centerness": True, "class_loss": "varifocal", "box_loss": "ciou"}


class Raw(nn.Cell):
    """What the losses take of a network."""

    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, images):
        return self.network.predict(images)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """A folder with six images to evaluate: one is broken, one empty, one has a crowd region."""
    folder = tmp_path_factory.mktemp("split")
    write_dataset(folder, train=1, val=6, seed=5)
    path = folder / "annotations" / "instances_val2017.json"
    truth = json.loads(path.read_text())
    ids = sorted(image["id"] for image in truth["images"])
    own = [one for one in truth["annotations"] if one["image_id"] != ids[EMPTY]]
    next(one for one in own if one["image_id"] == ids[CROWD])["iscrowd"] = 1
    path.write_text(json.dumps({**truth, "annotations": own}))
    name = next(image["file_name"] for image in truth["images"] if image["id"] == ids[BROKEN])
    (folder / "val2017" / name).write_bytes(b"no image")
    return folder


def configure(split, folder, changes):
    keys = {**small_keys(split, folder), "classes": ["ellipse", "rectangle", "triangle", "cross"]}
    return make_config([({**keys, "num_workers": 0, **changes}, "test")])


def readable(annotations):
    return [annotations[i] for i in range(len(annotations)) if i != BROKEN]


def fitted(record, keep_aspect):
    """The image on the canvas, and the pixels there of one of its own."""
    image = cv2.imread(str(record.path))[..., ::-1]
    height, width = image.shape[:2]
    scale = min(SIDE / width, SIDE / height)
    sides = (round(width * scale), round(height * scale)) if keep_aspect else (SIDE, SIDE)
    canvas = np.full((SIDE, SIDE, 3), (124, 116, 104), np.uint8)
    canvas[: sides[1], : sides[0]] = cv2.resize(image, sides, interpolation=cv2.INTER_LINEAR)
    return canvas, np.array([sides[0] / width, sides[1] / height] * 2, np.float32)


def slow_split_loss(cfg, network, annotations):
    """Terms of the loss, from one batch of all readable images."""
    records, assigner = readable(annotations), build_assigner(cfg)
    images, scales = zip(*(fitted(record, cfg.resize == "letterbox") for record in records))
    predicted, logits = (x.asnumpy().tolist() for x in Raw(network)(ms.Tensor(np.stack(images))))
    boxes = [record.boxes * scale for record, scale in zip(records, scales)]
    assigned = [assigner(own, r.crowd).tolist() for own, r in zip(boxes, records)]
    anchors = build_anchors(cfg).levels(cfg.image_size)
    strides = [stride for stride, level in zip((8, 16, 32, 64, 128), anchors) for _ in level]
    return slow_loss(
        cfg,
        predicted,
        logits,
        assigned,
        [own.tolist() for own in boxes],
        [record.labels.tolist() for record in records],
        np.concatenate(anchors).tolist(),
        strides,
    )


@pytest.mark.parametrize(
    "changes", [{}, NEWER, CENTERNESS], ids=["defaults", "newer", "centerness"]
)
def test_equals_plain_python(split, tmp_path, monkeypatch, changes):
    monkeypatch.setattr(Unreadable, "check", lambda self: None)  # one of six is too many
    cfg = configure(split, tmp_path, changes)
    network = stir_norms(excite(build_ssd(cfg, build_anchors(cfg).anchors_per_cell)))
    annotations = build_annotations(cfg, training=False)
    found = detect_with(network, cfg, annotations)  # in batches of 4, the second one padded
    terms = slow_split_loss(cfg, network, annotations)[:-1]
    names = ["class_loss", "box_loss", "distribution_loss"][: len(terms)]
    assert list(found.losses) == ["loss", *names]
    assert list(found.losses.values())[1:] == pytest.approx(terms, rel=1e-4)
    assert found.losses["loss"] == pytest.approx(sum(terms), rel=1e-4)
    assert not network.training
    # the detections are those without the loss
    alone = detect_with(network, cfg.replace(eval_loss=False), annotations)
    assert alone.losses == {}
    np.testing.assert_allclose(alone.rows, found.rows, rtol=1e-4, atol=1e-3)
    assert len(found.rows) > 50


def test_candidates_chosen_in_the_graph(split, tmp_path):
    """As on GPU and Ascend, where the outputs stay on the card."""
    cfg = configure(split, tmp_path, {"eval_batch_size": 2, "resize": "letterbox"})
    generator, annotations = build_anchors(cfg), build_annotations(cfg, training=False)
    network = excite(build_ssd(cfg, generator.anchors_per_cell))
    whole = build_split_model(cfg, network, annotations, build_postprocessor(cfg))
    plain = CandidateModel(network, generator, 2, 20, fill=(124, 116, 104))
    model = LossModel(plain, build_loss(cfg), cfg.image_size, whole.layout)
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    assigned = np.full(whole.layout["assigned"][0], -1, np.int32)
    assigned[0, 5:9] = 0
    boxes = np.tile(np.array([3, 4, 40, 30], np.float32), (*whole.layout["boxes"][0][:2], 1))
    targets = (assigned, boxes, np.zeros(whole.layout["labels"][0], np.int32))
    *outputs, losses = model.forward(images, *targets)
    np.testing.assert_allclose(losses, whole.forward(images, *targets)[-1], rtol=1e-4)
    for one, other in zip(outputs, plain.forward(images)):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    assert losses[:, -1].tolist() == [4, 0]


def test_the_mean_is_over_the_positives_of_all_images():
    sums = np.array([[3.0, 1.0, 2.0], [4.0, 0.0, 0.0], [1.0, 3.0, 6.0]], np.float32)
    found = mean_losses(("class_loss", "box_loss"), sums)
    assert found == {"loss": 1.5, "class_loss": 1.0, "box_loss": 0.5}
    assert describe_losses(found) == "loss 1.5000 = class_loss 1.0000 + box_loss 0.5000"
    assert mean_losses(("class_loss",), sums[1:2, ::2]) == {"loss": 4.0, "class_loss": 4.0}


def test_only_where_images_are_seen_as_in_training(split, tmp_path):
    cfg = configure(split, tmp_path, {})
    assert measures_loss(cfg)
    assert measures_loss(cfg.replace(tta_scales=[0.5, 1.0], tta_flip=True))
    assert not measures_loss(cfg.replace(tta_scales=[0.5, 1.5]))
    assert not measures_loss(cfg.replace(resize="short_side", short_side=64, long_side=64))
    assert not measures_loss(cfg.replace(eval_loss=False))
