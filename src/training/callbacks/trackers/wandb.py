"""Reports a run to Weights & Biases."""

import os
from collections.abc import Mapping
from pathlib import Path

from src.training.callbacks.moments import End, Start
from src.training.callbacks.trackers.tracker import PROJECT, Tracker, parameters

UPDATE = "update"  # the x-axis: a resumed run repeats steps, which wandb's own would refuse


class WandB(Tracker):
    """WANDB_PROJECT, WANDB_ENTITY and WANDB_MODE say where; its files are in the run's folder."""

    package = needs = "wandb"

    def connect(self) -> None:
        if self.library.setup().settings.mode == "online":
            self.library.login()  # asks on a terminal, raises elsewhere

    def offline_hint(self) -> str:
        return "WANDB_MODE=offline writes to the disk, for 'wandb sync' later"

    def open(self, start: Start, known: str | None) -> str:
        self.run = self.library.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=start.folder.absolute().name,
            id=known,
            resume="allow",
            dir=str(start.folder),
            config=parameters(start.config),
            settings=self.library.Settings(console="off"),  # log.txt has the lines
        )
        self.run.define_metric(UPDATE)
        self.run.define_metric("*", step_metric=UPDATE)
        return self.run.id

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({**values, UPDATE: step})

    def keep(self, path: Path, kind: str) -> None:
        self.run.log_artifact(str(path), name=f"{kind}-{self.run.id}", type=kind)

    def close(self, end: End) -> None:
        self.run.summary["status"] = end.status
        self.run.summary["reason"] = end.reason
        self.run.finish(exit_code=0 if end.status == "finished" else 1)
