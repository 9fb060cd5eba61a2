"""Where the network runs."""

import os

import mindspore as ms

from src.errors import InputError

# Where a CPU has AVX-512, oneDNN in MindSpore 2.10 runs the forward pass of 3x3 convolutions by its
# unoptimised reference code: an update took 50 times as long (docs/architecture.md)
CPU_INSTRUCTIONS = "AVX2"


def build_device(cfg) -> None:
    """Sets up the device that the configuration asks for."""
    set_up_device(cfg.device_target, device_id=cfg.device_id, cpu_threads=cfg.cpu_threads)


def set_up_device(target: str, *, device_id: int = 0, cpu_threads: int = 0) -> None:
    """Selects graph mode and the device; call it once, before any network is built.

    Args:
        target: CPU, GPU or Ascend.
        device_id: which card, on GPU and Ascend.
        cpu_threads: threads of the CPU's kernels; 0 takes the cores this process may use.
            MindSpore's own default of 25 is slower on a small machine. Instructions are limited to
            CPU_INSTRUCTIONS unless the environment sets ONEDNN_MAX_CPU_ISA.

    Raises:
        InputError: MindSpore finds no such device.
    """
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", CPU_INSTRUCTIONS)  # before the first kernel
    ms.set_context(mode=ms.GRAPH_MODE)
    if target == "CPU":
        ms.set_device("CPU")
        ms.device_context.cpu.op_tuning.threads_num(cpu_threads or len(os.sched_getaffinity(0)))
        return
    device = {"GPU": ms.device_context.gpu, "Ascend": ms.device_context.ascend}[target]
    if not device.is_available():
        raise InputError(
            f"device_target is {target}, but MindSpore finds none here; use --device_target=CPU "
            "or check the driver"
        )
    ms.set_device(target, device_id)
