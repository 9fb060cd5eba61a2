"""Tells callbacks of an evaluation by eval.py."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from src.config.configuration import Config
from src.evaluation.coco_metric import Metrics
from src.evaluation.outputs import run_folder
from src.runtime.environment import SESSIONS
from src.training.callbacks.callback_list import CallbackList
from src.training.callbacks.loading import NamedCallback
from src.training.callbacks.moments import End, Evaluation, Start
from src.training.run_log import RunLog
from src.weights.checkpoint_config import recorded_position


def tell_evaluation(
    callbacks: Sequence[NamedCallback],
    cfg: Config,
    metrics: Metrics,
    losses: Mapping[str, float],
    page: Path | None,
    folder: Path,
) -> None:
    """Tells callbacks of a start, the evaluation, and an end, once all is written.

    `page` is the report, if any; `folder` is used if the detector's run has no folder.
    """
    run = run_folder(cfg)
    epoch, step = recorded_position(cfg.checkpoint_path)
    evaluation = Evaluation(
        epoch=epoch,
        step=step,
        metrics=metrics.overall,
        losses=losses,
        by_class=metrics.by_class,
        is_best=False,
        report=page,
        prefix="eval",
    )
    start = Start(run if (run / SESSIONS).is_file() else folder, cfg, step=step, command="eval")
    calls = CallbackList(callbacks, RunLog(folder))
    for moment in (start, evaluation, End("finished", step=step, epoch=epoch)):
        calls.tell(moment)
