"""Training, evaluation and detection as a notebook uses them: in one process, by functions."""

import json
import signal

import numpy as np
import pytest

from src.evaluation.run import evaluate
from src.runtime.errors import InputError
from src.runtime.signals import Interrupted, Interruption
from src.training.run import Run, train
from tests.conftest import DEMO_RECIPE, small_keys
from tests.runs import records

pytestmark = pytest.mark.usefixtures("narrow", "shared_networks")

# Ctrl-C between the run's second and third update, which is still made
STOP = """
import signal

class Stop:
    def step(self, step):
        if step.step == 2:
            signal.raise_signal(signal.SIGINT)
"""


@pytest.fixture(scope="module")
def keys(shapes, tmp_path_factory):
    """Keys of a run of six updates, one evaluation and fast compilation."""
    keys = small_keys(shapes, tmp_path_factory.mktemp("python"))
    short = {"epoch_size": 1, "num_workers": 0, "freeze_backbone_stages": 4}
    return {**keys, **short, "score_threshold": 0.001}


def test_stop_continue_evaluate_detect(keys, shapes, tmp_path, capsys):
    folder, handler = tmp_path / "run", signal.getsignal(signal.SIGINT)
    keys = {**keys, "output_path": folder}  # paths may be Paths
    with pytest.raises(InputError, match="train\\(\\): unknown key 'epoch_sise'; did you mean"):
        train(DEMO_RECIPE, **keys, epoch_sise=3)
    # found after the folder was locked; `refused` keeps the frames, as a notebook does
    with pytest.raises(InputError, match="'cross'") as refused:
        train(DEMO_RECIPE, **keys, classes=["ellipse"])
    (tmp_path / "stop.py").write_text(STOP)
    with pytest.raises(
        KeyboardInterrupt, match=r"^SIGINT: Run\('.*/run'\) has what is saved"
    ) as stop:
        train(DEMO_RECIPE, **keys, callbacks=[f"{tmp_path}/stop.py:Stop"], eval_interval=0)
    assert stop.value.__suppress_context__ and refused.value
    assert signal.getsignal(signal.SIGINT) is handler
    stopped = Run(str(folder))
    assert stopped.best is None and stopped.best_checkpoint is None
    assert stopped.last_checkpoint == folder / "ckpt" / "last.ckpt"
    steps = [row["step"] for row in stopped.metrics]
    assert steps == [1, 2, 3]

    run = train(DEMO_RECIPE, **keys, resume=True)
    assert run == stopped
    assert [row["step"] for row in run.metrics if row["kind"] == "step"] == [1, 2, 3, 4, 5, 6]
    assert run.best == records(folder, "evaluation")[0]
    assert run.best["step"] == 6
    assert "done, best AP" in capsys.readouterr().out

    results = evaluate(run.best_checkpoint, report=False)
    assert results.folder == folder / "eval" / "best"
    assert results.report is None
    for name in ("AP", "AP50", "AR100"):
        assert results.metrics[name] == pytest.approx(run.best[name], abs=1e-6)
    written = json.loads((results.folder / "report" / "metrics.json").read_text())
    assert written["by_class"]["AP"].keys() == results.by_class["AP"].keys()

    rows = json.loads((results.folder / "detections.json").read_text())
    images = json.loads((results.folder / "ground_truth.json").read_text())["images"][:5]
    detector = run.detector(eval_batch_size=4)
    found = detector([shapes / "val2017" / image["file_name"] for image in images])
    for image, objects in zip(images, found, strict=True):
        scores = sorted((r["score"] for r in rows if r["image_id"] == image["id"]), reverse=True)
        assert len(scores) > 10
        np.testing.assert_allclose(objects.scores, scores, atol=1e-5)


def test_a_folder_without_a_run(tmp_path):
    run = Run(tmp_path)
    assert run.metrics == [] and run.best is None and run.last_checkpoint is None
    with pytest.raises(InputError, match="has no checkpoint"):
        run.detector()
    rows = [
        {"kind": "evaluation", "AP": ap, "step": step} for step, ap in enumerate((0.1, 0.3, None))
    ]
    text = "".join(json.dumps(row) + "\n" for row in [*rows, {"kind": "step", "loss": 1.0}])
    (tmp_path / "metrics.jsonl").write_text(text + '{"kind": "st')  # as a kill leaves it
    assert len(run.metrics) == 4
    assert run.best == {"kind": "evaluation", "AP": 0.3, "step": 1}


def test_functions_run_as_one_process(monkeypatch):
    for name, value in (("SIZE", "2"), ("RANK", "0"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(f"OMPI_COMM_WORLD_{name}", value)
    with pytest.raises(
        InputError, match="evaluate\\(\\) runs as one process; start eval.py with mpi"
    ):
        evaluate("best.ckpt")
    with pytest.raises(
        InputError, match="train\\(\\) runs as one process; start train.py with mpir"
    ):
        train()


def test_signals_while_a_function_runs(capsys):
    """As Ctrl-C or as SIGTERM, which MindSpore makes of it: stored where there is work to save."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    for number in (signal.SIGINT, signal.SIGTERM):
        interruption = Interruption()
        with pytest.raises(KeyboardInterrupt), interruption.handled():
            signal.raise_signal(number)
        with interruption.handled():
            interruption.deferred = True
            signal.raise_signal(number)
            assert interruption.signum == signal.SIGINT
            with pytest.raises(Interrupted):
                interruption.check()
            with pytest.raises(KeyboardInterrupt):  # a second one
                signal.raise_signal(number)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert capsys.readouterr().err.count("saving and stopping; another one stops at once") == 2
