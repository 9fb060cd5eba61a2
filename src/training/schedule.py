"""The learning rate of each step."""

import math


def warmup_cosine(
    step: int, *, base_lr: float, warmup_ratio: float, warmup_steps: int, total_steps: int
) -> float:
    """Learning rate of update `step`, counted from 0.

    It rises linearly from `warmup_ratio` x `base_lr` to `base_lr` over `warmup_steps`, then falls
    as half a cosine to 0 at `total_steps`, and stays there.
    """
    if step < warmup_steps:
        return base_lr * (warmup_ratio + (1 - warmup_ratio) * step / warmup_steps)
    if step >= total_steps:
        return 0.0
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return base_lr * 0.5 * (1 + math.cos(math.pi * progress))
