"""Exponential moving averages of the weights, in a second network."""

import mindspore as ms
from mindspore import nn, ops

from src.models.layers import statistics
from src.weights.checkpoint_file import EMA_PREFIX

follow = ops.MultitypeFuncGraph("follow")


@follow.register("Tensor", "Tensor", "Tensor")
def _follow(share, average, value):
    return ops.assign_add(average, share * (value - average))


class MovingAverages(nn.Cell):
    """Moving averages of a network's parameters, in another network.

    Statistics of batch norms are averaged like the weights, so that they match them.

    Args:
        network: the trained network.
        averaged: of the same architecture; gets the values of `network`, and names with EMA_PREFIX.

    Attributes:
        named: all parameters of `averaged` by name.
    """

    def __init__(self, network: nn.Cell, averaged: nn.Cell):
        super().__init__(auto_prefix=False)
        values, averages = list(network.get_parameters()), list(averaged.get_parameters())
        for value, average in zip(values, averages, strict=True):
            average.set_data(ms.Tensor(value.asnumpy().copy()))
            average.requires_grad = False
        averaged.update_parameters_name(EMA_PREFIX)
        self.named = {average.name: average for average in averages}
        # a frozen value is its own average; where the graph comes from MindSpore's cache, values
        # that no graph writes would read as zeros here
        changing = {id(p) for p in (*network.trainable_params(), *statistics(network))}
        pairs = [pair for pair in zip(values, averages) if id(pair[0]) in changing]
        self.values, self.averages = map(ms.ParameterTuple, zip(*pairs))
        self.map = ops.HyperMap()

    def construct(self, decay):
        """averages = decay x averages + (1 - decay) x values; decay a float32 scalar."""
        return self.map(ops.partial(follow, 1 - decay), self.averages, self.values)


def ema_decay(updates: int, highest: float) -> float:
    """The decay at update number `updates`, from 0: min(highest, (1 + updates) / (10 + updates)).

    It starts low, so that the random weights of the start soon lose their influence.
    """
    return min(highest, (1 + updates) / (10 + updates))
