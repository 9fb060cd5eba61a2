"""Where the network runs, and with whom."""

import os
from contextlib import suppress

import mindspore as ms

from src.runtime.errors import InputError
from src.runtime.plugins.plugin import probe, why_none

# Where a CPU has AVX-512, oneDNN in MindSpore 2.10 runs the forward pass of 3x3 convolutions by its
# unoptimised reference code: an update took 50 times as long (docs/measured.md)
CPU_INSTRUCTIONS = "AVX2"
CONV_ALGORITHMS = {"heuristic": "normal", "measured": "performance"}  # in MindSpore's words


def set_up_device(target: str, *, device_id: int = 0, cpu_threads: int = 0) -> None:
    """`select_device`, and threads of the CPU's kernels; 0 takes the cores this process may use."""
    select_device(target, device_id)
    if target == "CPU":
        set_cpu_threads(cpu_threads or len(os.sched_getaffinity(0)))


def select_device(target: str, device_id: int) -> None:
    """Selects graph mode and the device; call it once, before any network is built.

    The CPU's instructions are limited to CPU_INSTRUCTIONS unless the environment sets
    ONEDNN_MAX_CPU_ISA.

    Args:
        target: CPU, GPU or Ascend.
        device_id: which card, on GPU and Ascend.

    Raises:
        InputError: MindSpore finds no such device.
    """
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", CPU_INSTRUCTIONS)  # before the first kernel
    ms.set_context(mode=ms.GRAPH_MODE)
    if target == "CPU":
        ms.set_device("CPU")
        return
    find_cards(target)
    ms.set_device(target, device_id)


def find_cards(target: str) -> int:
    """How many cards of a kind, GPU or Ascend, MindSpore finds; InputError says why none."""
    found = probe(target)
    if not found.can_run:
        setup = "; 'bash scripts/setup.sh --gpu' brings CUDA 11" if target == "GPU" else ""
        raise InputError(
            f"device_target is {target}, but MindSpore finds none here: "
            f"{why_none(target, found.error)}{setup}; what to do is told by "
            f"'python3 -m src.doctor --device_target={target}'; --device_target=CPU does without"
        )
    return found.count


def use_full_float32(target: str) -> None:
    """Lets a card multiply float32 as float32, not in a shorter type, which would show in outputs.

    Args:
        target: CPU, GPU or Ascend.
    """
    if target == "GPU":
        allow_tf32(False)
    if target == "Ascend":
        precision = ms.device_context.ascend.op_precision
        precision.conv_allow_hf32(False)
        precision.matmul_allow_hf32(False)


def tune_gpu(*, conv_algorithm: str, tf32: bool) -> None:
    """Settings of a GPU; call it before the first network is compiled.

    Args:
        conv_algorithm: "heuristic" lets cuDNN guess the fastest algorithm of each convolution,
            "measured" try all of them when the graph is built.
        tf32: see `allow_tf32`.
    """
    mode = CONV_ALGORITHMS[conv_algorithm]
    tuning = ms.device_context.gpu.op_tuning
    for choose in (tuning.conv_fprop_algo, tuning.conv_dgrad_algo, tuning.conv_wgrad_algo):
        choose(mode)
    allow_tf32(tf32)


def allow_tf32(allowed: bool) -> None:
    """Whether a GPU that can, which is A100 and newer, multiplies float32 in TF32."""
    precision = ms.device_context.gpu.op_precision
    precision.conv_allow_tf32(allowed)
    precision.matmul_allow_tf32(allowed)


def set_cpu_threads(count: int) -> None:
    """Threads of the CPU's kernels; MindSpore's own choice is 25. The first call decides."""
    with suppress(RuntimeError):  # it can be set once
        ms.device_context.cpu.op_tuning.threads_num(count)
