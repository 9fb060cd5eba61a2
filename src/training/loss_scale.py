"""The scale of the loss in the backward pass."""

LARGEST = 2.0**24
SMALLEST = 1.0
FACTOR = 2.0
FIRST_DYNAMIC = 2.0**16  # soon halved if it is too large


class LossScale:
    """A factor of the loss that keeps small float16 gradients from underflow; divided out later.

    A dynamic scale is halved when gradients overflow, down to 1, and doubled after `window` updates
    in a row without overflow (Micikevicius et al., 2018).
    """

    def __init__(self, value: float, *, dynamic: bool = False, window: int = 2000):
        self.value = value
        self.dynamic = dynamic
        self.window = window
        self.good_updates = 0

    def after(self, *, finite: bool) -> bool:
        """Adapts to an update; returns whether gradients overflowed and a lower scale may help."""
        if not self.dynamic:
            return False
        if finite:
            self.good_updates += 1
            if self.good_updates == self.window:
                self.value = min(self.value * FACTOR, LARGEST)
                self.good_updates = 0
            return False
        lower = max(self.value / FACTOR, SMALLEST)
        helps = lower < self.value
        self.value, self.good_updates = lower, 0
        return helps

    def state(self) -> dict:
        """The state for a checkpoint; `load` restores it."""
        return {"value": self.value, "good_updates": self.good_updates}

    def load(self, state: dict) -> None:
        self.value, self.good_updates = state["value"], state["good_updates"]


def build_loss_scale(cfg) -> LossScale:
    """The configured scale; dynamic by default with float16."""
    dynamic = cfg.dynamic_loss_scale == "true" or (
        cfg.dynamic_loss_scale == "auto" and cfg.precision == "float16"
    )
    first = cfg.loss_scale or (FIRST_DYNAMIC if dynamic else 1.0)
    return LossScale(first, dynamic=dynamic, window=cfg.loss_scale_window)
