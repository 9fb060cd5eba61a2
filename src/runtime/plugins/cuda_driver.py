"""Which NVIDIA driver MindSpore's plugin needs."""

import re

OLDEST = "450.80.02"  # runs machine code of any CUDA 11 (NVIDIA's minor-version compatibility)
# a driver compiles PTX of its own release of CUDA and of older ones; the first driver of each
FOR_PTX = {"11.1": "455.23", "11.6": "510.39"}
RULE = (
    f"{OLDEST} or newer; {FOR_PTX['11.6']} or newer on Hopper cards and, for several ranks, on all "
    "newer than Pascal, where it compiles PTX of CUDA 11.6"
)
PASCAL = re.compile(r"\b(P100|P40|P6|P4|GTX 10\d\d|TITAN Xp?)\b")
HOPPER = re.compile(r"\b(H100|H200|H800|H20|GH200)\b")


def numbers(version: str) -> tuple[int, ...]:
    """A version as comparable numbers: (450, 80, 2) for 450.80.02."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def oldest_driver(card: str, *, plugin: str, ranks: int) -> tuple[str, str]:
    """The oldest driver that a card needs, and why.

    The plugin's kernels have machine code for Pascal to Ada, its NCCL for Pascal only.

    Args:
        card: its name.
        plugin: the CUDA of MindSpore's plugin, "11.1" or "11.6".
        ranks: on this machine; one rank needs no NCCL.
    """
    if HOPPER.search(card):
        return FOR_PTX[plugin], f"for {card}, for which it compiles PTX of CUDA {plugin}"
    if ranks > 1 and not PASCAL.search(card):
        return FOR_PTX[plugin], f"for several ranks: it compiles NCCL's PTX of CUDA {plugin}"
    return OLDEST, "for CUDA 11"
