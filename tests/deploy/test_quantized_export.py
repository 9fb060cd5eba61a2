"""A quantized file is kept only if it detects as well as the float32 one."""

import json
import signal

import numpy as np
import onnx
import pytest

from src.config.configuration import make_config
from src.data.annotations import Annotations
from src.data.problems import Unreadable
from src.deploy import quantized_export
from src.deploy.quantized_export import build_conversion, calibration_batches, random_images
from src.evaluation.detect import SplitDetections
from src.runtime.errors import InputError
from src.runtime.signals import Interrupted, Interruption
from tests.conftest import small_keys
from tests.deploy.test_quantize import small_detector

CLASSES = ["background", "ellipse", "rectangle", "triangle", "cross"]


def conversion(cfg, interruption=None):
    return build_conversion(cfg, interruption or Interruption())


@pytest.fixture
def cfg(shapes, tmp_path):
    """fp16 of an ONNX file, judged on the 10 evaluation images of `shapes`."""
    keys = {**small_keys(shapes, tmp_path), "classes": CLASSES, "file_format": "ONNX"}
    return make_config([(keys, "small"), ({"quantize": "fp16"}, "flags")])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "files" / "detector.onnx"
    path.parent.mkdir()
    onnx.save(small_detector(), str(path))
    return path


def perfect_rows(annotations: Annotations) -> np.ndarray:
    """Every object found exactly, as rows (R,7) of COCO's array form."""
    boxes, owners = annotations.boxes, annotations.owners()
    rows = np.empty((len(boxes), 7))
    rows[:, 0] = annotations.image_ids[owners]
    rows[:, 1:3], rows[:, 3:5] = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    rows[:, 5] = np.linspace(0.9, 0.5, len(boxes))
    rows[:, 6] = np.array(annotations.category_ids)[annotations.labels]
    return rows


@pytest.fixture
def detecting(monkeypatch):
    """A function that lets files find these shares of the objects, first the float32 one."""

    def let(before: float, after: float) -> None:
        shares = iter([before, after])

        def detections(cfg, path, judged, check):
            rows = perfect_rows(judged)
            return rows[: round(len(rows) * next(shares))]

        monkeypatch.setattr(quantized_export, "detections", detections)

    return let


def test_a_file_that_detects_as_well_is_kept(cfg, file, detecting):
    detecting(1.0, 1.0)
    size = file.stat().st_size
    first, second = conversion(cfg)(file)
    assert first.startswith("then quantized to fp16: 0.0 MB instead of 0.0")
    assert second.startswith("AP 1.0000 instead of 1.0000 on 10 images of ")
    assert "95 % are between +0.0000 and +0.0000" in second
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    model = onnx.load(str(file))
    assert file.stat().st_size != size
    metadata = {one.key: json.loads(one.value) for one in model.metadata_props}
    assert metadata["quantized"] == {"type": "fp16", "AP": 1.0, "AP_float32": 1.0, "images": 10}


def test_a_file_that_detects_less_is_not_kept(cfg, file, detecting):
    detecting(1.0, 0.8)
    before = file.read_bytes()
    with pytest.raises(InputError) as error:
        conversion(cfg)(file)
    text = str(error.value)
    assert "the fp16 file has AP 0." in text
    assert "where the float32 file has 1.0000, on 10 images of" in text
    assert "max_ap_fall allows 1.0%. It was not kept; export without --quantize" in text
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == before


def test_a_network_of_a_gpu_is_judged_on_the_cpu(cfg, file, monkeypatch):
    """As the usual ONNX Runtime has no GPU."""
    asked = []

    def detect_with(network, cfg, judged, *, check):
        asked.append((cfg.device_target, cfg.model))
        return SplitDetections(Unreadable("", len(judged)), perfect_rows(judged))

    monkeypatch.setattr("src.evaluation.detect.detect_with", detect_with)
    conversion(cfg.replace(device_target="GPU"))(file)
    assert asked == [("CPU", str(file)), ("CPU", str(file.with_name("fp16.onnx")))]


@pytest.mark.parametrize("quantize", ["fp16", "int8"])
def test_a_signal_leaves_no_files(cfg, file, tmp_path, monkeypatch, quantize):
    """Caught while AP is measured, or while int8 is calibrated."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(quantized_export, "detections", lambda cfg, file, judged, check: check())
    interruption, before = Interruption(), file.read_bytes()
    convert = conversion(cfg.replace(quantize=quantize), interruption)
    interruption.signum = signal.SIGINT
    with pytest.raises(Interrupted):
        convert(file)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == before
    assert not list((tmp_path / "temporary").iterdir())
    assert not interruption.deferred


def test_a_larger_fall_may_be_allowed(cfg, file, detecting):
    detecting(1.0, 0.8)
    lines = conversion(cfg.replace(max_ap_fall=0.5))(file)
    assert "instead of 1.0000" in lines[1]
    assert onnx.load(str(file)).metadata_props[-1].key == "quantized"


@pytest.mark.parametrize(
    ("few", "after", "fall", "told"),
    [(5, 1.0, 0.01, False), (20, 1.0, 0.01, True), (5, 0.97, 0.027, True), (5, 0.97, 1.0, False)],
)
def test_images_are_said_to_be_few(cfg, file, detecting, monkeypatch, few, after, fall, told):
    """So few, or with results so different, that chance may have decided."""
    monkeypatch.setattr(quantized_export, "FEW_IMAGES", few)
    detecting(1.0, after)
    lines = conversion(cfg.replace(max_ap_fall=fall))(file)
    says = f"too few images to tell a fall of {fall:.1%} from chance; measure on more"
    assert (says in lines[1]) == told


@pytest.mark.parametrize("after", [0.0, 1.0])
def test_a_detector_that_finds_nothing_is_not_judged(cfg, file, detecting, after):
    detecting(0.0, after)
    with pytest.raises(InputError, match=r"cannot be judged.*AP 0\.0, on 10 images.*max_ap_fall=1"):
        conversion(cfg)(file)
    detecting(0.0, after)
    lines = conversion(cfg.replace(max_ap_fall=1))(file)
    assert lines[1].startswith("NOT JUDGED, as max_ap_fall is 1: the float32 file has AP 0.0")


def test_calibration_sees_what_prediction_sees(cfg):
    """Letterboxed, in whole batches, without what cannot be read."""
    cfg = cfg.replace(quantize="int8", resize="letterbox", export_batch=4, calibrate_on=6)
    train = conversion(cfg).keywords["calibration"]
    assert len(train) == 6
    assert len(set(train.image_ids.tolist())) == 6
    batches = list(calibration_batches(cfg, train, Interruption().check))
    assert [batch.shape for batch in batches] == [(4, 64, 64, 3)] * 2
    assert batches[0].dtype == np.uint8
    np.testing.assert_array_equal(batches[1][2], batches[1][0])  # padded with its first
    picture = train[0].read()
    assert picture.shape[0] != picture.shape[1]  # so that a part is left to fill
    assert (batches[0][0][-1, -1] == (124, 116, 104)).all()


def test_the_seed_draws_the_images(cfg):
    judged = conversion(cfg).keywords["judged"]
    drawn = [random_images(judged, 4, seed).image_ids.tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(drawn[0], key=judged.image_ids.tolist().index)


def test_images_that_cannot_be_read(cfg, tmp_path):
    train = conversion(cfg.replace(quantize="int8")).keywords["calibration"].take(slice(0, 2))
    broken = type(train)(**{**vars(train), "image_dir": tmp_path})
    with pytest.raises(InputError, match="no image to calibrate on"):
        list(calibration_batches(cfg, broken, Interruption().check))


def test_other_formats_are_refused(cfg):
    with pytest.raises(InputError, match="quantize is fp16, which only ONNX.*give --file_format=O"):
        conversion(cfg.replace(file_format="MINDIR"))
    assert conversion(cfg.replace(file_format="MINDIR", quantize="none")) is None


def test_splits_that_are_not_there(cfg):
    with pytest.raises(InputError, match="none2017"):
        conversion(cfg.replace(quantize="int8", train_split="none2017"))
    with pytest.raises(InputError, match="none2017"):
        conversion(cfg.replace(val_split="none2017"))
