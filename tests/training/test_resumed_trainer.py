"""Runs that are interrupted, and go on as if they had not been."""

import resource
import signal
from dataclasses import replace
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from src.runtime.errors import RunError
from src.runtime.signals import Interrupted
from src.training import evaluator
from src.training.resume import best_on_disk
from tests import trainers
from tests.runs import records
from tests.trainers import make_trainer, train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow")]


@pytest.fixture
def small(small):
    """With a backbone that does not train, which halves the time to compile."""
    return small.replace(freeze_backbone_stages=4)


def test_max_steps_stops_early_and_the_run_can_be_resumed(small, tmp_path):
    small = small.replace(eval_interval=2)
    whole_best, whole = train(small.replace(output_path=str(tmp_path / "whole")), val=True)
    cfg = small.replace(output_path=str(tmp_path / "part"))
    part = train(cfg.replace(max_steps=5), val=True)[1]
    assert len(whole) == 12
    assert [s["lr"] for s in part] == [s["lr"] for s in whole[:5]]
    make_trainer(cfg.replace(max_steps=6), val=True, resume=True).run()  # to the end of an epoch
    best = make_trainer(cfg, val=True, resume=True).run()
    folders = [tmp_path / name / "ckpt" for name in ("whole", "part")]
    one, other = (ms.load_checkpoint(str(folder / "last.ckpt")) for folder in folders)
    names = [n for n, p in one.items() if isinstance(p, ms.Tensor) and not n.startswith("run.")]
    assert len(names) > 100
    assert all(np.array_equal(one[n].asnumpy(), other[n].asnumpy()) for n in names)
    # best.ckpt is of the evaluation that the run calls its best, that at max_steps included
    assert best == best_on_disk(folders[1] / "best.ckpt", 6)
    assert best["AP"] >= whole_best["AP"]


def test_interrupted_evaluation_is_made_again_and_told_once(small, monkeypatch):
    cfg = small.replace(eval_interval=1)
    trainer = make_trainer(cfg, val=True)
    original = evaluator.detect_with

    def interrupted(*args, check, **kwargs):
        trainer.interruption.signum = signal.SIGTERM
        return original(*args, check=check, **kwargs)

    monkeypatch.setattr(evaluator, "detect_with", interrupted)
    with pytest.raises(Interrupted):
        trainer.run()
    monkeypatch.undo()
    folder = Path(cfg.output_path)
    assert not (folder / "ckpt" / "best.ckpt").exists()
    resumed = make_trainer(cfg, val=True, resume=True)
    assert resumed.step == 6
    resumed.run()
    assert [r["epoch"] for r in records(folder, "evaluation")] == [1, 2]
    epochs = records(folder, "epoch")
    assert [r["epoch"] for r in epochs] == [1, 2]
    for epoch in epochs:
        steps = [r["loss"] for r in records(folder, "step") if r["epoch"] == epoch["epoch"]]
        assert epoch["mean_loss"] == pytest.approx(np.mean(steps))


def test_session_without_evaluation_keeps_the_account_of_earlier_ones(small):
    cfg = small.replace(eval_interval=1, epoch_size=3)
    best = make_trainer(cfg.replace(max_steps=6), val=True).run()
    middle = make_trainer(cfg.replace(max_steps=12, eval_interval=0), resume=True)
    assert middle.run() is None
    last = make_trainer(cfg, val=True, resume=True)
    assert last.evaluator.best == best
    assert [r["epoch"] for r in records(Path(cfg.output_path), "evaluation")] == [1]


def test_going_back_to_an_epoch_without_the_last_checkpoint(small):
    cfg = small.replace(eval_interval=1, epoch_size=3, keep_checkpoints=3, patience=1)
    whole = make_trainer(cfg, val=True)
    best = whole.run()
    folder = Path(cfg.output_path) / "ckpt"
    chosen = cfg.replace(resume=True, resume_from=str(folder / "epoch_01.ckpt"))
    (folder / "last.ckpt").unlink()
    make_trainer(chosen, val=True, resume=True)  # killed before its first save
    again = make_trainer(chosen, val=True, resume=True)
    assert again.step == 6
    assert sorted(path.name for path in folder.iterdir()) == ["best.ckpt", "epoch_01.ckpt"]
    # the evaluations that are made again do not try its patience more than they did
    assert again.run() == best
    assert again.step == whole.step
    assert [r["epoch"] for r in records(Path(cfg.output_path), "evaluation")] == list(
        range(1, whole.ended_epochs + 1)
    )


def test_updates_of_two_ranks_are_renumbered_for_one(small, monkeypatch):
    cfg = small.replace(eval_interval=0)
    make_trainer(cfg.replace(max_steps=8)).run()
    found = trainers.find_run

    def found_of_two(*args):
        """The run as two ranks would have saved it: half the updates, of twice the images."""
        saved = found(*args)
        assert (saved.state["step"], saved.state["steps_per_epoch"]) == (8, 6)
        numbers = {"step": 4, "steps_per_epoch": 3, "images_per_step": 8}
        return replace(saved, state={**saved.state, **numbers})

    monkeypatch.setattr(trainers, "find_run", found_of_two)
    trainer = make_trainer(cfg, resume=True)
    assert trainer.step == 8
    trainer.run()
    assert trainer.step == 12
    folder = Path(cfg.output_path)
    assert [record["epoch"] for record in records(folder, "epoch")] == [1, 2]
    log = (folder / "log.txt").read_text()
    assert "an update has 4 images now and had 8, so steps are renumbered: 4 is now 8" in log


def test_full_disk_ends_the_run_and_keeps_the_checkpoint(small, capfd):
    cfg = small.replace(eval_interval=0, max_steps=4)
    make_trainer(cfg).run()
    last = Path(cfg.output_path) / "ckpt" / "last.ckpt"
    before, limits = last.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    trainer = make_trainer(cfg.replace(max_steps=0), resume=True)
    # the kernel refuses to write on in a file of that size, as a full disk does
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(RunError) as error:
            trainer.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert trainer.step == 6  # the end of the epoch
    assert str(error.value).startswith(f"{last}: the checkpoint cannot be written: ")
    assert str(error.value).endswith(f"the previous one, {last}, is kept")
    assert capfd.readouterr().err == ""
    assert last.read_bytes() == before
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]
