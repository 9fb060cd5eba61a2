"""Reports a run to MLflow."""

import os
from collections.abc import Mapping
from pathlib import Path

from src.training.callbacks.moments import End, Start
from src.training.callbacks.trackers.tracker import PROJECT, Tracker, parameters

STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
# a server that is gone may hold up the run this long; MLflow's own settings allow minutes
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}


class MLflow(Tracker):
    """MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say where; by default mlflow.db here."""

    package = "mlflow"
    needs = "mlflow-skinny sqlalchemy alembic"  # mlflow itself brings a NumPy too new for MindSpore

    def connect(self) -> None:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        if "MLFLOW_EXPERIMENT_ID" not in os.environ:
            self.library.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))

    def offline_hint(self) -> str:
        return "MLFLOW_TRACKING_URI=sqlite:///mlflow.db needs no server"

    def open(self, start: Start, known: str | None) -> str:
        name = start.folder.absolute().name
        run = self.library.start_run(run_id=known, run_name=None if known else name)
        if not known:  # a value cannot change later
            self.library.log_params(parameters(start.config))
        return run.info.run_id

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.library.log_metrics(values, step=step)

    def keep(self, path: Path, kind: str) -> None:
        self.library.log_artifact(str(path), kind)

    def close(self, end: End) -> None:
        self.library.set_tag("reason", end.reason)  # an earlier session's is replaced
        self.library.end_run(STATUS[end.status])
