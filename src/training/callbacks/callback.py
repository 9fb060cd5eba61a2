"""The interface of callbacks."""

from src.training.callbacks.moments import Checkpoint, End, Evaluation, Start, Step

Stop = str | bool | None


class Callback:
    """Is told of the moments of a run, and may end it.

    A class that `--callbacks` names need not derive from this one: it is made without arguments,
    and those of the five methods that it has are called. A reason (a str) or True that one returns
    ends the run after the update, with a checkpoint and an evaluation; any other value is ignored.

    Attributes:
        all_ranks: whether each rank makes and tells a callback of its own; else rank 0 alone.
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
