"""Operations of graphs on each tensor of a tuple, for `ops.HyperMap`.

A Python loop over hundreds of parameters is unrolled into nested calls, which compile slowly.
"""

from mindspore import ops

scale = ops.MultitypeFuncGraph("scale")
copy_into = ops.MultitypeFuncGraph("copy_into")
flatten = ops.MultitypeFuncGraph("flatten")
reshape_as = ops.MultitypeFuncGraph("reshape_as")


@scale.register("Tensor", "Tensor")
def _scale(factor, tensor):
    return tensor * factor


@copy_into.register("Tensor", "Tensor")
def _copy_into(target, source):
    return ops.assign(target, source)


@flatten.register("Tensor")
def _flatten(tensor):
    return tensor.reshape(-1)


@reshape_as.register("Tensor", "Tensor")
def _reshape_as(tensor, other):
    return tensor.reshape(other.shape)
