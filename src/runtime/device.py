"""Device settings: CPU threads, GPU precision, the number of cards."""

import gc
import os
from contextlib import suppress

import mindspore as ms

from src.runtime.errors import InputError
from src.runtime.plugins.plugin import probe, why_none

# Where a CPU has AVX-512, oneDNN in MindSpore 2.10 runs the forward pass of 3x3 convolutions by its
# unoptimised reference code: an update took 50 times as long (docs/measured.md)
CPU_INSTRUCTIONS = "AVX2"
CONV_ALGORITHMS = {"heuristic": "normal", "measured": "performance"}  # MindSpore's names


def set_up_device(target: str, *, device_id: int = 0, cpu_threads: int = 0) -> None:
    """`select_device`, and `set_cpu_threads`; 0 uses the cores this process may use."""
    select_device(target, device_id)
    if target == "CPU":
        set_cpu_threads(cpu_threads or len(os.sched_getaffinity(0)))


def select_device(target: str, device_id: int) -> None:
    """Selects graph mode and the device; call it once, before any network is built.

    CPU instructions are limited to CPU_INSTRUCTIONS unless the environment sets ONEDNN_MAX_CPU_ISA.

    Args:
        target: CPU, GPU or Ascend.
        device_id: which card, on GPU and Ascend.

    Raises:
        InputError: MindSpore finds no such device.
    """
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", CPU_INSTRUCTIONS)  # before the first kernel
    ms.set_context(mode=ms.GRAPH_MODE)
    if not gc.get_freeze_count():  # MindSpore collects garbage at each graph that it compiles
        gc.collect()  # what is garbage now, as in a notebook, would be kept for good
        gc.freeze()  # so that it does not look again at all that was imported: 0.1 s
    if target == "CPU":
        ms.set_device("CPU")
        return
    find_cards(target)
    ms.set_device(target, device_id)


def find_cards(target: str) -> int:
    """Number of GPU or Ascend cards that MindSpore finds; InputError says why there are none."""
    found = probe(target)
    if not found.can_run:
        setup = "; 'bash scripts/setup.sh --gpu' installs CUDA 11" if target == "GPU" else ""
        raise InputError(
            f"device_target is {target}, but MindSpore finds none here: "
            f"{why_none(target, found.error)}{setup}; for what to do run "
            f"'python3 -m src.doctor --device_target={target}'; or use --device_target=CPU"
        )
    return found.count


def use_full_float32(target: str) -> None:
    """Turns off TF32 and HF32 on a card (`target`), which would change outputs visibly."""
    if target == "GPU":
        allow_tf32(False)
    if target == "Ascend":
        precision = ms.device_context.ascend.op_precision
        precision.conv_allow_hf32(False)
        precision.matmul_allow_hf32(False)


def tune_gpu(*, conv_algorithm: str, tf32: bool) -> None:
    """Settings of a GPU; call it before the first network is compiled.

    Args:
        conv_algorithm: how cuDNN selects the algorithm of a convolution; "heuristic", or
            "measured", which tries all when the graph is built.
        tf32: see `allow_tf32`.
    """
    mode = CONV_ALGORITHMS[conv_algorithm]
    tuning = ms.device_context.gpu.op_tuning
    for choose in (tuning.conv_fprop_algo, tuning.conv_dgrad_algo, tuning.conv_wgrad_algo):
        choose(mode)
    allow_tf32(tf32)


def allow_tf32(allowed: bool) -> None:
    """Whether a GPU multiplies float32 in TF32; A100 and newer can."""
    precision = ms.device_context.gpu.op_precision
    precision.conv_allow_tf32(allowed)
    precision.matmul_allow_tf32(allowed)


def set_cpu_threads(count: int) -> None:
    """Sets the threads of CPU kernels; MindSpore's default is 25. Only the first call counts."""
    with suppress(RuntimeError):  # can be set once
        ms.device_context.cpu.op_tuning.threads_num(count)
