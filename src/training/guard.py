"""What happens when a loss or a gradient is not finite."""

from src.runtime.errors import RunError
from src.training.run_log import RunLog
from src.training.step import StepReport


class Guard:
    """Logs updates that were skipped, and ends a run that makes no others.

    An update that a lower loss scale may mend is skipped too, but does not count as bad.

    Args:
        log: gets a line and a record of each.
        max_bad_steps: in a row, that end the run.
    """

    def __init__(self, log: RunLog, *, max_bad_steps: int):
        self.log = log
        self.max_bad_steps = max_bad_steps
        self.skipped = 0
        self.bad_in_a_row = 0

    def state(self) -> dict:
        """What a checkpoint has to hold; `load` takes it."""
        return {"skipped": self.skipped, "bad_in_a_row": self.bad_in_a_row}

    def load(self, state: dict) -> None:
        self.skipped, self.bad_in_a_row = state["skipped"], state["bad_in_a_row"]

    def check(self, report: StepReport, image_ids: list[int], *, epoch: int, step: int) -> None:
        """Takes note of an update; RunError where it was the last that could be borne."""
        if report.updated:
            self.bad_in_a_row = 0
            return
        self.skipped += 1
        what = f"loss {report.loss:.4g}, gradient norm {report.gradient_norm:.4g}"
        numbers = {name: value for name, value in vars(report).items() if name != "news"}
        self.log.record("skipped", epoch=epoch, step=step, image_ids=image_ids, **numbers)
        if report.overflow:
            what += f" at loss scale {report.loss_scale:g}, which is halved"
        self.log.line(f"step {step}: {what}; the update is skipped; images {image_ids}")
        if not report.overflow:
            self.bad_in_a_row += 1
        if self.bad_in_a_row >= self.max_bad_steps:
            raise RunError(
                f"step {step}: {what} on images {image_ids}, for {self.bad_in_a_row} updates in a "
                f"row; look at these images and their boxes, or try a lower --lr"
            )
