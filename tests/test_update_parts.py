"""benchmarks/update_parts.py at toy size: what an update copies, waits for and sends."""

from benchmarks.update_parts import build_from, count_traffic, time_evaluation, time_parts
from src.models.layers import statistics


def test_an_update_reads_once_and_copies_no_batch(small):
    step, batches = build_from(small.replace(accumulate=2))
    step(batches, 0.01)  # the first one compiles
    weights = step.update.optimizer.parameters
    assert count_traffic(step, batches) == {
        "copied_mb": 0.0,
        "waits": 1,
        "summed_tensors": 1 + len(weights) + len(statistics(step.network)),
        "messages": 1,
    }
    parts = time_parts(step, batches, steps=1)
    assert set(parts) == {"whole", "gradients_called", "gradients", "readout", "update"}
    evaluation = time_evaluation(small, step.network.network)
    assert set(evaluation) == {"candidates", "all_outputs"}
    assert min(*parts.values(), *evaluation.values()) > 0
