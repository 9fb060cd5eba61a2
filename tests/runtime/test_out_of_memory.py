"""Errors of too little memory become one line with advice."""

import pytest

from src.runtime.errors import InputError
from src.runtime.out_of_memory import OutOfMemory, shortage, with_memory_advice

# of MindSpore 2.10 on an H100
GPU = """
----------------------------------------------------
- Memory not enough:
----------------------------------------------------
Device(id:0) memory isn't enough and alloc failed, kernel name: 67_Default/Add-op2, alloc size: \
5033164800B.

----------------------------------------------------
- C++ Call Stack: (For framework developers)
----------------------------------------------------
mindspore/ccsrc/backend/ms_backend/runtime/graph_scheduler/base/graph_scheduler.cc:1168 Run
"""
TOO_LARGE = """
----------------------------------------------------
- Kernel build failed: (For framework developers)
----------------------------------------------------
Gpu kernel op[Default/backbone-ResNet/conv1-Conv2d/Conv2D-op0] Resize failed.
"""
# as CANN documents it, MindSpore's libraries have it, and ONNX Runtime says it
ASCEND = "EL0004: Failed to allocate memory requested by GE module."
POOL = "Malloc for kernel output failed, Memory isn't enough, node:Default/Conv2D-op0"
ONNX = "Failed to allocate memory for requested buffer of size 5033164800"
OPENCV = "OpenCV(4.11.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9 bytes"


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (RuntimeError(GPU), "out of memory, asking for 5.0 GB"),
        (RuntimeError(TOO_LARGE), "a tensor has more than 2^31 elements"),
        (RuntimeError("The total size exceeds the max_limit of 2 Giga-elements"), "a tensor has"),
        (RuntimeError(ASCEND), "out of memory"),
        (RuntimeError(POOL), "out of memory"),
        (RuntimeError(ONNX), "out of memory"),
        (RuntimeError("std::bad_alloc"), "out of memory"),
        (RuntimeError(OPENCV), "out of memory"),
        (MemoryError(), "out of memory"),
    ],
)
def test_too_little_memory_is_told_in_one_line(error, what):
    with pytest.raises(OutOfMemory) as told, with_memory_advice(lambda: "--batch_size=48"):
        raise error
    assert str(told.value).startswith(what) and str(told.value).endswith(": --batch_size=48")
    assert "\n" not in str(told.value) and told.value.exit_status == 1


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("For 'Conv2D', the shape of 'x' must be 4-D"),
        InputError("memory.yaml: out of memory"),  # a name
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_other_errors_stay(error):
    assert not shortage(error)
    with pytest.raises(type(error)) as told, with_memory_advice(str):
        raise error
    assert told.value is error
