"""JSON lines that benchmarks print, and what makes them small."""

import json
import math

SIZE = "--image_size=[64,64]"
NETWORK = ["--backbone=resnet18", "--fpn_channels=8", "--head_depth=0"]  # compiles fast
FROZEN = "--freeze_backbone_stages=4"  # whose gradients take half the time to compile
# a run of ladder.py or learning.py
LADDER = [
    "--images=8", "--val_images=4", "--batch_size=4", "--num_workers=1", SIZE, *NETWORK, FROZEN,
]  # fmt: skip


def read_rows(output: str) -> dict[str, dict]:
    """The lines by the names of their benchmarks; all numbers in them are finite."""
    rows = {row.pop("benchmark"): row for row in map(json.loads, output.splitlines())}
    assert all(map(math.isfinite, numbers(rows)))
    return rows


def numbers(value) -> list[float]:
    """All numbers in a value from JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, (int, float)) else []
