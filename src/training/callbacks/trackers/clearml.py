"""Reports a run to ClearML."""

import os
from collections.abc import Mapping
from pathlib import Path

from src.training.callbacks.moments import End, Start
from src.training.callbacks.trackers.tracker import PROJECT, Tracker, parameters


class ClearML(Tracker):
    """CLEARML_PROJECT says where, clearml.conf and CLEARML_OFFLINE_MODE which server."""

    package = needs = "clearml"

    def connect(self) -> None:
        # a process forked from this one would inherit MindSpore's threads and the folder's lock
        settings = {"sdk": {"development": {"report_use_subprocess": False}}}
        self.library.config.config_obj.set_overrides(settings)
        if not self.library.Task.is_offline():
            self.library.backend_api.Session()  # raises without a configuration

    def offline_hint(self) -> str:
        return "CLEARML_OFFLINE_MODE=1 writes to the disk, for Task.import_offline_session later"

    def open(self, start: Start, known: str | None) -> str:
        task = self.library.Task
        self.task = task.init(
            project_name=os.environ.get("CLEARML_PROJECT", PROJECT),
            task_name=start.folder.absolute().name,
            reuse_last_task_id=False,
            continue_last_task=known or False,
            auto_connect_arg_parser=False,
            auto_connect_frameworks=False,
            auto_connect_streams=False,
        )
        self.task.set_initial_iteration(0)  # updates are counted over all sessions
        self.task.set_parameters(parameters(start.config))
        return self.task.id

    def log(self, values: Mapping[str, float], step: int) -> None:
        logger = self.task.get_logger()
        for name, value in values.items():
            title, _, series = name.partition("/")
            logger.report_scalar(title, series, value, step)

    def keep(self, path: Path, kind: str) -> None:
        self.task.upload_artifact(kind, str(path), wait_on_upload=True)

    def close(self, end: End) -> None:
        self.task.get_logger().report_text(f"{end.status} {end.reason}")
        self.task.flush(wait_for_uploads=True)
        if end.status == "finished":
            self.task.mark_completed()
        elif end.status == "failed":
            self.task.mark_failed(status_reason=end.reason, force=True)
        else:
            self.task.mark_stopped(status_message=end.reason, force=True)
        self.task.close()
