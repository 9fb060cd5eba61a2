"""The interface of callbacks."""

from src.training.callbacks.moments import Checkpoint, End, Evaluation, Start, Step

Stop = str | bool | None


class Callback:
    """Is told of the moments of a run, and may end it.

    A class that `--callbacks` names need not derive from this one: it is made without arguments,
    and those of the five methods that it has are called. If one returns a reason (a str) or True,
    the run ends after the update, with a checkpoint and an evaluation.

    Attributes:
        all_ranks: whether each rank has a callback of its own; otherwise only rank 0 has one.
    """

    all_ranks = False

    def start(self, start: Start) -> Stop:
        """The run starts or continues."""

    def step(self, step: Step) -> Stop:
        """A line of the log is written."""

    def evaluation(self, evaluation: Evaluation) -> Stop:
        """The network was evaluated."""

    def checkpoint(self, checkpoint: Checkpoint) -> Stop:
        """A checkpoint is complete."""

    def end(self, end: End) -> None:
        """The run ends, finished or not; not called if `start` failed or was never reached."""
