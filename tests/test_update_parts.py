"""benchmarks/update_parts.py at toy size: what an update copies, waits for and sends."""

import pytest

from benchmarks.update_parts import build_from, count_traffic, time_evaluation, time_parts
from src.models.layers import statistics


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_update_waits_once_and_copies_no_batch(small, accumulate):
    step, batches = build_from(small.replace(accumulate=accumulate))
    found = count_traffic(step, batches)
    weights = step.update.optimizer.parameters
    assert found == {
        "copied_mb": 0.0,
        "waits": 1,
        "summed_tensors": 1 + len(weights) + len(statistics(step.network)),
        "messages": 1,
    }
    if accumulate == 1:
        parts = time_parts(step, batches, steps=1)
        assert set(parts) == {"whole", "gradients_called", "gradients", "readout", "update"}
        assert min(parts.values()) > 0
        evaluation = time_evaluation(small, step.network.network)
        assert set(evaluation) == {"candidates", "all_outputs"}
        assert min(evaluation.values()) > 0
