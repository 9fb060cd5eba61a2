"""When and by whom checkpoints of a run are written."""

from collections.abc import Mapping

import mindspore as ms

from src.distributed.ranks import Ranks
from src.models.ssd import SSD
from src.training.agreement import Agreement
from src.training.checkpoints import Checkpoints
from src.training.guard import Guard
from src.weights.checkpoint_file import EMA_PREFIX

Parameters = Mapping[str, ms.Parameter]


class Saver:
    """Lets the main rank write checkpoints, while the others wait.

    Args:
        checkpoints: where they go.
        ranks: of the run; agreement: of its ranks.
        guard: nothing is saved while its updates are bad.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        ranks: Ranks,
        agreement: Agreement,
        guard: Guard,
    ):
        self.checkpoints = checkpoints
        self.ranks = ranks
        self.agreement = agreement
        self.guard = guard

    def save(self, parameters: Parameters, state: dict) -> bool:
        """Saves the run, unless its weights are in doubt; whether it did. All ranks take part."""
        if self.guard.bad_in_a_row:
            return False
        last = self.checkpoints.last
        self.ranks.main_does(lambda: self.checkpoints.save(last, parameters, state))
        self.agreement.saved()
        return True

    def rescue(self, parameters: Parameters, state: dict) -> bool:
        """`save` by a rank that may be the only one left; False where it is not the main one."""
        if self.guard.bad_in_a_row or not self.ranks.is_main:
            return False
        self.checkpoints.save(self.checkpoints.last, parameters, state)
        return True

    def keep_epoch(self, epoch: int) -> None:
        """Keeps what was saved last as the checkpoint of an epoch."""
        self.ranks.main_does(lambda: self.checkpoints.keep_epoch(epoch))

    def save_best(self, network: SSD, state: dict) -> None:
        """Saves the weights that were evaluated, without their prefix where they are averages."""
        weights = {p.name.removeprefix(EMA_PREFIX): p for p in network.get_parameters()}
        path = self.checkpoints.best
        self.ranks.main_does(lambda: self.checkpoints.save(path, weights, state))
