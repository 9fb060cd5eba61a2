"""When and by whom checkpoints of a run are written."""

from collections.abc import Callable, Mapping

import mindspore as ms

from src.models.ssd import SSD
from src.parallel import Ranks
from src.training.agreement import Agreement
from src.training.checkpoint import Checkpoints
from src.training.guard import Guard
from src.weights import EMA_PREFIX


class Saver:
    """Lets the main rank write checkpoints, while the others wait.

    Args:
        checkpoints: where they go.
        ranks: of the run; agreement: of its ranks.
        guard: nothing is saved while its updates are bad.
        contents: gives the parameters and the state of the run.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        ranks: Ranks,
        agreement: Agreement,
        guard: Guard,
        contents: Callable[[], tuple[Mapping[str, ms.Parameter], dict]],
    ):
        self.checkpoints = checkpoints
        self.ranks = ranks
        self.agreement = agreement
        self.guard = guard
        self.contents = contents

    def save(self) -> bool:
        """Saves the run, unless its weights are in doubt; whether it did. All ranks take part."""
        if self.guard.bad_in_a_row:
            return False
        self.ranks.main_does(self._write_last)
        self.agreement.saved()
        return True

    def rescue(self) -> bool:
        """`save` by a rank that may be the only one left; False where it is not the main one."""
        if self.guard.bad_in_a_row or not self.ranks.is_main:
            return False
        self._write_last()
        return True

    def keep_epoch(self, epoch: int) -> None:
        """Keeps what was saved last as the checkpoint of an epoch."""
        self.ranks.main_does(lambda: self.checkpoints.keep_epoch(epoch))

    def save_best(self, network: SSD, state: dict) -> None:
        """Saves the weights that were evaluated, without their prefix where they are averages."""
        weights = {p.name.removeprefix(EMA_PREFIX): p for p in network.get_parameters()}
        path = self.checkpoints.best
        self.ranks.main_does(lambda: self.checkpoints.save(path, weights, state))

    def _write_last(self) -> None:
        self.checkpoints.save(self.checkpoints.last, *self.contents())
