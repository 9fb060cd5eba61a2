"""Reads what MindSpore writes of the graphs that it builds for a device."""

import re
from dataclasses import dataclass
from pathlib import Path

NODE = re.compile(r"  %\d+\(.*?\) = (?:PrimFunc_)?(\w+)\(")
ON_HOST = 'primitive_target: "CPU"'
TENSOR = re.compile(r"(\w+?)x(DefaultFormat|NHWC|NCHW)\[")


@dataclass(frozen=True)
class Kernel:
    """One kernel of a built graph.

    Attributes:
        name: of its operator.
        inputs, outputs: (type, format) of each tensor, "Float16" and "NHWC", say.
        on_host: whether MindSpore found no kernel for the device, and took the CPU's.
    """

    name: str
    inputs: list[tuple[str, str]]
    outputs: list[tuple[str, str]]
    on_host: bool


def read_kernels(path: Path) -> list[Kernel]:
    """The kernels of a graph; MindSpore writes a node, then lines of its types and formats."""
    kernels, node, text = [], None, []
    for line in path.read_text(errors="replace").splitlines():
        if match := NODE.match(line):
            node, text = match.group(1), []
        text.append(line)
        if node and " -> (" in line and TENSOR.search(line):
            inputs, _, outputs = line.partition(" -> (")
            on_host = any(ON_HOST in part for part in text)
            kernels.append(Kernel(node, TENSOR.findall(inputs), TENSOR.findall(outputs), on_host))
            node = None
    return kernels
