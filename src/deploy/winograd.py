"""Rewrites 3x3 convolutions of ONNX graphs by Winograd's minimal filtering, for CPUs.

F(4x4,3x3) of Lavin & Gray (2016) makes 4x4 outputs with 36 multiplications per pair of channels in
place of 144. Here T tiles of 4x4 cover an output of H x W, and C and O are channels before and
after. ONNX Runtime has no such kernel on CPUs; GPU libraries choose it themselves.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from src.deploy.graph_builder import GraphBuilder

Sizes = Mapping[str, Sequence[int]]  # by names of tensors

TILE, PATCH = 4, 6  # sides of outputs and inputs
TRANSFORMED = PATCH * PATCH
MIN_CHANNELS = 256  # with fewer the transformations cost what the multiplications save
# H * W; below, the error, 1e-5 of the largest output, would move the boxes of large anchors
MIN_CELLS = 1000
INPUT = np.array([
    [4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1],
])  # fmt: skip
WEIGHT = np.array([
    [1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1],
])  # fmt: skip
OUTPUT = np.array([
    [1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1],
])  # fmt: skip


def use_winograd(model: onnx.ModelProto, growth: float) -> int:
    """Rewrites the model's convolutions that gain most by it; returns their number.

    Weights stay as they are in the file and shared; a runtime transforms them when it loads it,
    into four times the memory.

    Args:
        growth: at most this share of the size of all weights is added.
    """
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: value.type.tensor_type.shape.dim for value in inferred.value_info}
    sizes = {name: [dim.dim_value for dim in shape[2:]] for name, shape in shapes.items()}
    weights = {init.name: list(init.dims) for init in model.graph.initializer}
    budget = growth * sum(math.prod(dims) for dims in weights.values())
    chosen = choose(model.graph.node, sizes, weights, budget)
    rewriter, nodes = Rewriter(model.graph), list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        if fits(node, sizes, weights) and node.input[1] in chosen:
            rewriter.rewrite(node, weights[node.input[1]], sizes[node.input[0]])
        else:
            model.graph.node.append(node)
    return rewriter.count


def fits(node: onnx.NodeProto, sizes: Sizes, weights: Sizes) -> bool:
    """Whether a node is a 3x3 convolution that keeps height and width, and large enough."""
    if node.op_type != "Conv" or node.input[1] not in weights or not sizes.get(node.input[0]):
        return False
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    same = found.get("auto_pad") == b"SAME_UPPER" or found.get("pads") == [1] * 4
    ones = [*found.get("strides", ()), *found.get("dilations", ()), found.get("group", 1)]
    out, channels, *kernel = weights[node.input[1]]
    large = min(out, channels) >= MIN_CHANNELS and math.prod(sizes[node.input[0]]) >= MIN_CELLS
    return same and set(ones) == {1} and kernel == [3, 3] and large


def choose(
    nodes: Sequence[onnx.NodeProto], sizes: Sizes, weights: Sizes, budget: float
) -> set[str]:
    """Names of the weights whose transformed ones add at most `budget` numbers to memory.

    Those that save most for each number come first: these have the most cells, of all levels.
    """
    cells = Counter()
    for node in nodes:
        if fits(node, sizes, weights):
            cells[node.input[1]] += math.prod(sizes[node.input[0]])
    chosen = set()
    for name in sorted(cells, key=lambda name: (-cells[name], -math.prod(weights[name]))):
        added = math.prod(weights[name]) * TRANSFORMED / 9
        if added <= budget:
            chosen.add(name)
            budget -= added
    return chosen


class Rewriter(GraphBuilder):
    """Adds to a graph what computes a convolution by Winograd's method."""

    def __init__(self, graph: onnx.GraphProto):
        super().__init__(graph, "winograd")
        self.count = 0
        self.weights: dict[str, str] = {}  # names of transformed weights by name of the original

    def reshape(self, x: str, *shape: int) -> str:
        return self.add("Reshape", x, self.constant(shape, np.int64))

    def rewrite(self, node: onnx.NodeProto, weight: Sequence[int], size: Sequence[int]) -> None:
        """Replaces a convolution of inputs (N,C,H,W) with weights (O,C,3,3)."""
        out, channels = weight[:2]
        tiles = [-(-side // TILE) for side in size]
        every = tiles[0] * tiles[1]  # T
        patches = self.patches(self.reshape(node.input[0], -1, 1, *size), size)  # (N*C,36,...)
        patches = self.reshape(patches, -1, channels, TRANSFORMED, every)
        patches = self.add("Transpose", patches, perm=[0, 2, 1, 3])  # (N,36,C,T)
        products = self.add("MatMul", self.weight(node.input[1], out, channels), patches)
        products = self.reshape(products, -1, TRANSFORMED, out * every)
        back = self.constant(np.kron(OUTPUT, OUTPUT), np.float32)  # (16,36)
        y = self.add("MatMul", back, products)  # (N,16,O*T)
        y = self.reshape(y, -1, TILE * TILE * out, *tiles)
        y = self.add("DepthToSpace", y, blocksize=TILE, mode="DCR")  # (N,O,...)
        if any(side % TILE for side in size):
            starts, ends, axes = (self.constant(v, np.int64) for v in ([0, 0], size, [2, 3]))
            y = self.add("Slice", y, starts, ends, axes)  # (N,O,H,W)
        if len(node.input) > 2:
            y = self.add("Add", y, self.reshape(node.input[2], out, 1, 1))
        self.graph.node[-1].output[0] = node.output[0]
        self.count += 1

    def patches(self, x: str, size: Sequence[int]) -> str:
        """Transforms patches of images (n,1,H,W) to (n,36,rows,columns)."""
        filters = np.kron(INPUT, INPUT).reshape(TRANSFORMED, 1, PATCH, PATCH)
        ends = [1 + -side % TILE for side in size]
        keys = {"kernel_shape": [PATCH] * 2, "strides": [TILE] * 2, "pads": [1, 1, *ends]}
        return self.add("Conv", x, self.constant(filters, np.float32), **keys)

    def weight(self, name: str, out: int, channels: int) -> str:
        """Transforms weights (O,C,3,3) to (36,O,C)."""
        if name not in self.weights:
            taps = self.reshape(self.add("Transpose", name, perm=[2, 3, 0, 1]), 9, out * channels)
            forth = self.constant(np.kron(WEIGHT, WEIGHT), np.float32)  # (36,9)
            taps = self.add("MatMul", forth, taps)
            self.weights[name] = self.reshape(taps, TRANSFORMED, out, channels)
        return self.weights[name]
