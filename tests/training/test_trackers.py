"""What trackers are told, by fakes of their packages; docs/callbacks.md says what ran for real."""

import json
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock, call

import pytest

from src.runtime.errors import InputError
from src.training.callbacks.callback_list import CallbackList
from src.training.callbacks.loading import TRACKERS, load_callbacks
from src.training.callbacks.moments import Checkpoint, End, Evaluation, Start, Step
from src.training.run_log import RunLog

STEP = Step(1, 7, 0.1, {"loss": 2.0}, 3.0, 1.0, 4.0, None, None)
CURVES = {
    "train/loss": 2.0,
    "train/gradient_norm": 3.0,
    "train/loss_scale": 1.0,
    "train/lr": 0.1,
    "train/positives_per_image": 4.0,
}
CONFIG = {"lr": 0.1, "image_size": (64, 64)}


@pytest.fixture
def library(request, monkeypatch):
    """A fake of the package that the test's tracker imports, which calls its run "r1"."""
    name, fake = request.param, MagicMock()
    fake.start_run.return_value.info.run_id = "r1"
    fake.init.return_value.id = fake.Task.init.return_value.id = "r1"
    fake.Task.is_offline.return_value = False
    monkeypatch.setitem(sys.modules, name, fake)
    monkeypatch.setenv("WANDB_PROJECT", "cats")
    for variable in ("SWANLAB_MODE", "SWANLAB_PROJECT", "SWANLAB_WORKSPACE", "CLEARML_PROJECT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "dogs")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    return SimpleNamespace(name=name, fake=fake)


def tell(library, folder, *moments):
    """A session of the tracker; fails if anything was reported."""
    log = RunLog(folder)
    log.open()
    calls = CallbackList(load_callbacks([library.name]), log)
    for moment in moments:
        calls.tell(moment)
    log.close()
    assert (folder / "log.txt").read_text() == ""


def session(folder, status="finished"):
    best = folder / "best.ckpt"
    return (
        Start(folder, CONFIG),
        STEP,
        Evaluation(1, 7, {"AP": 0.5, "AP_small": float("nan")}, {}, True),
        Checkpoint(best, 1, 7),
        End(status, "" if status == "finished" else "SIGTERM", 7, 1, {"AP": 0.5}, best),
    )


def evaluation(folder):
    report = Evaluation(1, 7, {"AP": 0.4}, {}, False, report=folder / "report.html", prefix="eval")
    return Start(folder, CONFIG, 7, command="eval"), report, End("finished")


def known(folder):
    return json.loads((folder / "trackers.json").read_text())


every = pytest.mark.parametrize("library", list(TRACKERS), indirect=True)


def only(name):
    return pytest.mark.parametrize("library", [name], indirect=True)


@only("mlflow")
def test_mlflow(library, tmp_path):
    fake = library.fake
    tell(library, tmp_path, *session(tmp_path, "interrupted"))
    fake.set_experiment.assert_called_once_with("dogs")
    fake.start_run.assert_called_once_with(run_id=None, run_name=tmp_path.name)
    fake.log_params.assert_called_once_with({"lr": 0.1, "image_size": [64, 64]})
    assert fake.log_metrics.mock_calls == [call(CURVES, step=7), call({"val/AP": 0.5}, step=7)]
    fake.log_artifact.assert_not_called()  # the best checkpoint of a run that has not finished
    fake.end_run.assert_called_once_with("KILLED")
    fake.reset_mock()
    tell(library, tmp_path, *session(tmp_path))
    fake.start_run.assert_called_once_with(run_id="r1", run_name=None)
    fake.log_params.assert_not_called()  # which may not change
    fake.log_artifact.assert_called_once_with(str(tmp_path / "best.ckpt"), "model")
    fake.set_tag.assert_called_once_with("reason", "")
    fake.end_run.assert_called_once_with("FINISHED")


@only("wandb")
def test_wandb(library, tmp_path):
    fake, run = library.fake, library.fake.init.return_value
    fake.setup().settings.mode = "online"
    tell(library, tmp_path, *session(tmp_path))
    fake.login.assert_called_once_with()
    keys = fake.init.call_args.kwargs
    assert (keys["project"], keys["id"], keys["resume"]) == ("cats", None, "allow")
    assert keys["config"] == {"lr": 0.1, "image_size": [64, 64]}
    assert run.log.mock_calls == [call({**CURVES, "update": 7}), call({"val/AP": 0.5, "update": 7})]
    # steps of a resumed run may repeat
    assert run.define_metric.mock_calls == [call("update"), call("*", step_metric="update")]
    run.log_artifact.assert_called_once_with(
        str(tmp_path / "best.ckpt"), name="model-r1", type="model"
    )
    run.finish.assert_called_once_with(exit_code=0)
    tell(library, tmp_path, *session(tmp_path, "failed"))
    assert fake.init.call_args.kwargs["id"] == "r1"
    assert run.finish.call_args == call(exit_code=1)


@only("swanlab")
def test_swanlab(library, tmp_path):
    fake, run = library.fake, library.fake.init.return_value
    tell(library, tmp_path, *session(tmp_path, "interrupted"))
    fake.login.assert_called_once_with()
    keys = fake.init.call_args.kwargs
    assert (keys["mode"], keys["id"], keys["resume"]) == ("online", None, "allow")
    fake.Settings.assert_called_once_with(terminal={"proxy_type": "none"})
    assert run.log.mock_calls == [call(CURVES, step=7), call({"val/AP": 0.5}, step=7)]
    run.finish.assert_called_once_with("aborted", error="SIGTERM")
    tell(library, tmp_path, *session(tmp_path))
    assert fake.init.call_args.kwargs["id"] == "r1"
    assert run.finish.call_args == call("success", error=None)
    path = tmp_path / "best.ckpt"
    run.save.assert_called_once_with(str(path), base_path=str(tmp_path), policy="now")


@only("clearml")
def test_clearml(library, tmp_path):
    fake, task = library.fake, library.fake.Task.init.return_value
    tell(library, tmp_path, *session(tmp_path, "failed"))
    (settings,) = fake.config.config_obj.set_overrides.call_args.args
    assert settings["sdk"]["development"]["report_use_subprocess"] is False  # it would be forked
    assert fake.Task.init.call_args.kwargs["continue_last_task"] is False
    assert call("train", "loss", 2.0, 7) in task.get_logger().report_scalar.mock_calls
    assert call("val", "AP", 0.5, 7) in task.get_logger().report_scalar.mock_calls
    task.mark_failed.assert_called_once_with(status_reason="SIGTERM", force=True)
    task.mark_completed.assert_not_called()
    tell(library, tmp_path, *session(tmp_path))
    assert fake.Task.init.call_args.kwargs["continue_last_task"] == "r1"
    assert task.set_initial_iteration.call_args == call(0)
    task.upload_artifact.assert_called_once_with(
        "model", str(tmp_path / "best.ckpt"), wait_on_upload=True
    )
    task.mark_completed.assert_called_once_with()


@every
def test_an_evaluation_keeps_the_status_of_its_run(library, tmp_path):
    fake = library.fake
    tell(library, tmp_path, *session(tmp_path, "interrupted"))
    before = known(tmp_path)
    assert before == {library.name: {"run": "r1", "status": "interrupted", "reason": "SIGTERM"}}
    fake.reset_mock()
    tell(library, tmp_path, *evaluation(tmp_path))
    assert known(tmp_path) == before
    run = fake.init.return_value
    told = {
        "mlflow": lambda: (fake.end_run.call_args, fake.log_artifact.call_args),
        "wandb": lambda: (run.finish.call_args, run.log_artifact.call_args),
        "swanlab": lambda: (run.finish.call_args, run.save.call_args),
        "clearml": lambda: (
            fake.Task.init.return_value.mark_stopped.call_args,
            fake.Task.init.return_value.upload_artifact.call_args,
        ),
    }[library.name]()
    path = str(tmp_path / "report.html")
    assert (
        told
        == {
            "mlflow": (call("KILLED"), call(path, "report")),
            "wandb": (call(exit_code=1), call(path, name="report-r1", type="report")),
            "swanlab": (
                call("aborted", error="SIGTERM"),
                call(path, base_path=str(tmp_path), policy="now"),
            ),
            "clearml": (
                call(status_message="SIGTERM", force=True),
                call("report", path, wait_on_upload=True),
            ),
        }[library.name]
    )


@every
def test_a_tracker_that_cannot_be_reached_is_refused_with_what_goes_without(library):
    fake, error = library.fake, ConnectionError("no\nserver.")
    fake.setup().settings.mode = "online"
    for function in (fake.set_experiment, fake.login, fake.backend_api.Session):
        function.side_effect = error
    with pytest.raises(InputError) as caught:
        load_callbacks([library.name])
    hint = {
        "mlflow": "MLFLOW_TRACKING_URI=sqlite:///mlflow.db",
        "wandb": "WANDB_MODE=offline",
        "swanlab": "SWANLAB_MODE=offline",
        "clearml": "CLEARML_OFFLINE_MODE=1",
    }[library.name]
    assert str(caught.value).startswith(f"--callbacks: {library.name}: no server; {hint}")


@pytest.mark.parametrize("name", list(TRACKERS))
def test_a_package_that_is_missing_is_named_with_the_command(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=f"^--callbacks: {name}: .*: pip install {name}"):
        load_callbacks([name])
