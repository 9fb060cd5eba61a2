"""What the trackers of other projects have in common."""

import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.runtime.errors import InputError
from src.runtime.files import to_json, write_atomically
from src.training.callbacks.callback import Callback
from src.training.callbacks.moments import End, Evaluation, Start, Step

PROJECT = "ssd_resnet_fpn"  # unless the tracker's own environment variables name another
RUNS = "trackers.json"  # in the run's folder: each tracker's name of the run
MODEL, REPORT = "model", "report"  # kinds of files


class Tracker(Callback, ABC):
    """Reports a run to a tracker, whose package is imported only here.

    A session that continues a run, and an evaluation of its checkpoints, continue the tracker's
    run; `trackers.json` in the run's folder has its name, and the status that an evaluation keeps.

    Attributes:
        package: as Python imports it.
        needs: what pip installs.
    """

    package = needs = ""

    def __init__(self):
        try:
            self.library = importlib.import_module(self.package)
        except ModuleNotFoundError as error:
            raise InputError(
                f"needs the package {error.name}, which is not installed: pip install {self.needs}"
            ) from error
        try:
            self.connect()
        except Exception as error:
            why = " ".join(str(error).split()).rstrip(".")
            raise InputError(f"{why}; {self.offline_hint()}") from error

    def start(self, start: Start) -> None:
        self.command, self.file = start.command, start.folder / RUNS
        self.known = read_runs(self.file).get(self.package, {})
        run = self.open(start, self.known.get("run"))
        self._note({"run": run, "status": self.known.get("status", "running")})

    def step(self, step: Step) -> None:
        self.log(step.curves(), step.step)

    def evaluation(self, evaluation: Evaluation) -> None:
        self.log(evaluation.curves(), evaluation.step)
        if evaluation.report:
            self.keep(evaluation.report, REPORT)

    def end(self, end: End) -> None:
        if self.command == "train":
            if end.best_path and end.status == "finished":
                self.keep(end.best_path, MODEL)
            self._note({"status": end.status, "reason": end.reason})
        elif self.known:  # a run that was killed has noted no end
            status = self.known["status"].replace("running", "interrupted")
            end = End(status, self.known.get("reason", ""))
        self.close(end)

    def _note(self, values: Mapping[str, str]) -> None:
        """Writes what a later session needs to know of the tracker's run."""
        runs = read_runs(self.file)
        self.known = {**self.known, **values}
        write_atomically(self.file, to_json({**runs, self.package: self.known}) + "\n")

    @abstractmethod
    def connect(self) -> None:
        """Raises if the tracker cannot be reached; called before minutes of work."""

    @abstractmethod
    def offline_hint(self) -> str:
        """What to set to go without a server."""

    @abstractmethod
    def open(self, start: Start, known: str | None) -> str:
        """Opens the tracker's run, the `known` one if there is one; returns its name."""

    @abstractmethod
    def log(self, values: Mapping[str, float], step: int) -> None:
        """Adds a point to each curve."""

    @abstractmethod
    def keep(self, path: Path, kind: str) -> None:
        """Uploads a file, of the kind MODEL or REPORT."""

    @abstractmethod
    def close(self, end: End) -> None:
        """Closes the tracker's run with its status."""


def read_runs(path: Path) -> dict[str, dict[str, str]]:
    """The content of trackers.json: what is known of each tracker's run, by its package."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration in plain types."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in config.items()}
