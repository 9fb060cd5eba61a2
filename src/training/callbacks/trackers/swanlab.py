"""Reports a run to SwanLab."""

import os
from collections.abc import Mapping
from pathlib import Path

from src.training.callbacks.moments import End, Start
from src.training.callbacks.trackers.tracker import PROJECT, Tracker, parameters

STATE = {"finished": "success", "interrupted": "aborted", "failed": "crashed"}


class SwanLab(Tracker):
    """SWANLAB_PROJECT, SWANLAB_WORKSPACE and SWANLAB_MODE say where."""

    package = "swanlab"
    # it asks for an older protobuf than MindSpore, and runs with the newer
    needs = "swanlab && pip install 'protobuf>=7.34.1'"

    def connect(self) -> None:
        self.mode = os.environ.get("SWANLAB_MODE", "online")
        if self.mode == "online":
            self.library.login()  # asks on a terminal, raises elsewhere

    def offline_hint(self) -> str:
        return "SWANLAB_MODE=offline writes to the disk, for 'swanlab sync' later"

    def open(self, start: Start, known: str | None) -> str:
        self.run = self.library.init(
            mode=self.mode,
            project=os.environ.get("SWANLAB_PROJECT", PROJECT),
            workspace=os.environ.get("SWANLAB_WORKSPACE"),
            name=start.folder.absolute().name,
            id=known,
            resume="allow",
            log_dir=str(start.folder / "swanlab"),
            config=parameters(start.config),
            # log.txt has the lines, and sys.stderr may be an object that cannot be captured
            settings=self.library.Settings(terminal={"proxy_type": "none"}),
        )
        return self.run.id

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def keep(self, path: Path, kind: str) -> None:
        self.run.save(str(path), base_path=str(path.parent), policy="now")

    def close(self, end: End) -> None:
        self.run.finish(STATE[end.status], error=end.reason or None)
