"""Handling of losses and gradients that are not finite."""

from src.runtime.errors import RunError
from src.training.run_log import RunLog
from src.training.step_report import StepReport


class Guard:
    """Logs skipped updates, and ends a run with too many in a row.

    A skipped update counts as bad unless a lower loss scale may fix it. After `max_bad_steps` bad
    ones in a row the run ends.
    """

    def __init__(self, log: RunLog, *, max_bad_steps: int):
        self.log = log
        self.max_bad_steps = max_bad_steps
        self.skipped = 0
        self.bad_in_a_row = 0

    def state(self) -> dict:
        """State for a checkpoint; `load` restores it."""
        return {"skipped": self.skipped, "bad_in_a_row": self.bad_in_a_row}

    def load(self, state: dict) -> None:
        self.skipped, self.bad_in_a_row = state["skipped"], state["bad_in_a_row"]

    def check(self, report: StepReport, image_ids: list[int], *, epoch: int, step: int) -> None:
        """Counts an update; RunError at `max_bad_steps` bad ones in a row."""
        if report.updated:
            self.bad_in_a_row = 0
            return
        self.skipped += 1
        what = f"loss {report.loss:.4g}, gradient norm {report.gradient_norm:.4g}"
        self.log.record(
            "skipped",
            epoch=epoch,
            step=step,
            image_ids=image_ids,
            **report.numbers(),
            updated=report.updated,
            overflow=report.overflow,
        )
        if report.overflow:
            what += f" at loss scale {report.loss_scale:g}, which is halved"
        self.log.line(f"step {step}: {what}; the update is skipped; images {image_ids}")
        if not report.overflow:
            self.bad_in_a_row += 1
        if self.bad_in_a_row >= self.max_bad_steps:
            raise RunError(
                f"step {step}: {what} on images {image_ids}, for {self.bad_in_a_row} updates in a "
                "row; check these images and their boxes, or try a lower --lr"
            )
