"""The settings that MindSpore gets for a device; test_gpu.py runs them on a GPU of stubs."""

from types import SimpleNamespace

import pytest

from src.config.configuration import make_config
from src.runtime import device
from src.training.loss_scale import build_loss_scale


class Recorder:
    """Stands in for a module of MindSpore; records the calls of its functions."""

    def __init__(self):
        self.values = {}

    def __getattr__(self, name):
        return lambda value: self.values.update({name: value})


@pytest.fixture
def gpu(monkeypatch):
    """A stand-in for mindspore.device_context.gpu."""
    gpu = SimpleNamespace(op_tuning=Recorder(), op_precision=Recorder())
    monkeypatch.setattr(device.ms, "device_context", SimpleNamespace(gpu=gpu))
    return gpu


@pytest.mark.parametrize("key, mode", [("heuristic", "normal"), ("measured", "performance")])
@pytest.mark.parametrize("tf32", [False, True])
def test_settings_of_a_gpu(gpu, key, mode, tf32):
    device.tune_gpu(conv_algorithm=key, tf32=tf32)
    passes = ("conv_fprop_algo", "conv_dgrad_algo", "conv_wgrad_algo")
    assert gpu.op_tuning.values == dict.fromkeys(passes, mode)
    assert gpu.op_precision.values == {"conv_allow_tf32": tf32, "matmul_allow_tf32": tf32}


def test_exported_files_are_compared_in_full_float32(gpu):
    device.use_full_float32("GPU")
    assert gpu.op_precision.values == {"conv_allow_tf32": False, "matmul_allow_tf32": False}


@pytest.mark.parametrize(
    "keys, value, dynamic",
    [
        ({}, 1.0, False),
        ({"precision": "float16", "device_target": "GPU"}, 65536.0, True),
        ({"precision": "float16", "device_target": "GPU", "loss_scale": 128}, 128.0, True),
        (
            {"precision": "float16", "device_target": "GPU", "dynamic_loss_scale": False},
            1.0,
            False,
        ),
        ({"loss_scale": 1}, 1.0, False),  # as users of the published recipe launch it
        ({"dynamic_loss_scale": "True"}, 65536.0, True),
    ],
)
def test_float16_has_a_dynamic_loss_scale_by_default(keys, value, dynamic):
    scale = build_loss_scale(make_config([(keys, "test")]))
    assert (scale.value, scale.dynamic) == (value, dynamic)
