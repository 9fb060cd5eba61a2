"""Callbacks: how they are found, what they are told, and what they cannot break."""

from types import SimpleNamespace

import pytest

from src.runtime.errors import InputError, RunError
from src.runtime.signals import Interrupted
from src.training.callbacks.callback import Callback
from src.training.callbacks.callback_list import CallbackList, followed
from src.training.callbacks.loading import NamedCallback, load_callbacks
from src.training.callbacks.moments import End, Start, Step
from src.training.run_log import RunLog

STEP = Step(1, 7, 0.1, {"loss": 2.0, "box_loss": float("nan")}, 3.0, 1.0, 4.0, None, 0.25)


class Recorder(Callback):
    """Keeps what it is told, and returns what `answers` has for a method."""

    def __init__(self, **answers):
        self.told, self.answers = [], answers

    def _note(self, moment):
        self.told.append(moment)
        answer = self.answers.get(type(moment).__name__.lower())
        if isinstance(answer, BaseException):
            raise answer
        return answer

    start = step = evaluation = checkpoint = end = _note


def names_of(moments):
    return [type(moment).__name__ for moment in moments]


@pytest.fixture
def log(tmp_path):
    log = RunLog(tmp_path)
    log.open()
    yield log
    log.close()


def text_of(log):
    return (log.folder / "log.txt").read_text()


GOOD = """
class Watch:
    def step(self, step):
        return "enough"

class Everywhere(Watch):
    all_ranks = True
"""


def test_a_class_of_a_file_and_of_a_module(tmp_path, monkeypatch):
    (tmp_path / "watching_a_run.py").write_text(GOOD)
    path = f"{tmp_path}/watching_a_run.py:Watch"
    monkeypatch.chdir(tmp_path)
    module = "watching_a_run:Everywhere"
    one, other = load_callbacks([path, module])
    assert (one.name, other.name) == (path, module)
    assert one.callback.step(STEP) == other.callback.step(STEP) == "enough"
    (only,) = load_callbacks([path, module], is_main=False)
    assert only.name == module


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("mflow", "", "'mflow' is neither module:Class, file.py:Class nor one of mlflow, wandb, "
         "swanlab, clearml; did you mean 'mlflow'?"),
        ("own.py", "", "'own.py' is neither module:Class"),
        ("ow.py:Watch", GOOD, "ow.py: no such file"),
        ("no_such_module:Watch", "", "cannot be imported: ModuleNotFoundError: No module named "
         "'no_such_module'; a file is given as path/to/file.py:Class"),
        ("own.py:Wach", GOOD, "own.py has no class 'Wach'; did you mean 'Watch'?"),
        ("own.py:x", "x = 1", "own.py has no class 'x'"),
        ("own.py:A", "class A:\n  def steps(self, step): pass", "has none of the methods start, "
         "step, evaluation, checkpoint, end"),
        ("own.py:A", "class A:\n  def step(self): pass", "step(self) must take self and one"),
        ("own.py:A", "class A\n", "own.py, line 1: expected ':'"),
        ("own.py:A", "\n\n1 / 0", "cannot be imported: ZeroDivisionError: division by zero ("),
        ("own.py:A", "class A:\n  def __init__(self, port): pass\n  def end(self, end): pass",
         "cannot be made without arguments: TypeError: A.__init__() missing 1 required"),
        ("own.py:A", "class A:\n  def __init__(self): open('/no/key')\n  def end(self, end): pass",
         "No such file or directory: '/no/key' ("),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_named_in_one_line(tmp_path, monkeypatch, name, content, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(content)
    with pytest.raises(InputError) as caught:
        load_callbacks([name])
    message = str(caught.value)
    assert message.startswith("--callbacks: ")
    assert expected in message
    assert "\n" not in message


def test_one_that_raises_is_reported_once_and_left_out_but_for_its_end(log):
    failing, other = Recorder(step=ConnectionError("no route to host")), Recorder()
    calls = CallbackList([NamedCallback("tracker", failing), NamedCallback("other", other)], log)
    for moment in (Start(log.folder, {}), STEP, STEP, End("finished")):
        assert calls.tell(moment) == ""
    assert names_of(failing.told) == ["Start", "Step", "End"]
    assert names_of(other.told) == ["Start", "Step", "Step", "End"]
    text = text_of(log)
    assert text.count("warning: callback tracker failed at step") == 1
    assert "ConnectionError: no route to host" in text
    assert "the run goes on without it" in text
    assert "Traceback" in text  # for whoever wrote it


def test_one_that_cannot_start_is_not_ended(log):
    failing = Recorder(start=SystemExit(3))
    calls = CallbackList([NamedCallback("tracker", failing)], log)
    for moment in (Start(log.folder, {}), STEP, End("finished")):
        calls.tell(moment)
    assert names_of(failing.told) == ["Start"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("too slow", "callback a: too slow"), (True, "callback a asks for it"), ({"loss": 1}, "")],
)
def test_a_reason_ends_the_run_and_other_values_do_not(log, answer, reason):
    calls = CallbackList(
        [NamedCallback("a", Recorder(step=answer)), NamedCallback("b", Recorder(step="b too"))], log
    )
    assert calls.tell(STEP) == (reason or "callback b: b too")


def test_the_ranks_hear_of_one_that_ends_the_run(log):
    class Two(SimpleNamespace):
        size = 2
        idle = staticmethod(lambda: None)

        def gather(self, reasons):
            return [reasons, ["callback on rank 1: enough"]]

    calls = CallbackList([NamedCallback("a", Recorder())], log, Two(), is_shared=True)
    assert calls.tell(STEP) == "callback on rank 1: enough"
    assert calls.tell(End("failed"), alone=True) == ""


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (Interrupted(15), "interrupted", "SIGTERM"),
        (RunError("last.ckpt: cannot be written"), "failed", "RunError: last.ckpt: cannot be"),
        (MemoryError(), "failed", "MemoryError"),
    ],
)
def test_how_a_run_ends(log, error, status, reason):
    recorder = Recorder()
    trainer = SimpleNamespace(
        callbacks=CallbackList([NamedCallback("a", recorder)], log), start=lambda: STEP
    )
    trainer.tell, trainer.end = trainer.callbacks.tell, End
    with pytest.raises(type(error)), followed(trainer):
        raise error
    assert recorder.told[-1].status == status
    assert recorder.told[-1].reason.startswith(reason)


def test_curves_have_the_finite_numbers():
    assert STEP.curves() == {
        "train/loss": 2.0,
        "train/gradient_norm": 3.0,
        "train/loss_scale": 1.0,
        "train/lr": 0.1,
        "train/positives_per_image": 4.0,
        "time/data_share": 0.25,
    }
