"""Training end to end on the embedded data set, with a small network."""

import json
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore.nn import cell as cell_module

from src.config.open_keys import IMAGE_MEAN, IMAGE_STD
from src.evaluation.detect import detect_with
from src.runtime.errors import InputError, RunError
from src.runtime.out_of_memory import OutOfMemory
from src.training.callbacks.callback import Callback
from src.training.callbacks.loading import NamedCallback
from src.training.callbacks.moments import Step
from src.training.compiling import compile_graphs
from src.training.profile import profile
from src.training.resume import find_run
from src.training.step import TrainStep
from src.weights.checkpoint_file import read_checkpoint
from tests.runs import records
from tests.trainers import make_trainer, train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow")]


def test_same_seed_gives_the_same_losses_to_the_last_bit(small, tmp_path):
    runs = []
    for name, workers in (("a", 0), ("b", 3)):
        cfg = small.replace(output_path=str(tmp_path / name), num_workers=workers, max_steps=8)
        runs.append(train(cfg)[1])
    fields = ("loss", "class_loss", "box_loss", "gradient_norm", "lr", "positives")
    one, other = ([[r[f] for f in fields] for r in run] for run in runs)
    assert len(one) == 8
    assert one == other
    assert len({r[0] for r in one}) == 8


def test_run_leaves_its_checkpoints_and_logs(small):
    cfg = small.replace(epoch_size=3, keep_checkpoints=2, eval_interval=1)
    best, steps = train(cfg, val=True)
    folder = Path(cfg.output_path)
    names = sorted(p.name for p in (folder / "ckpt").iterdir())
    assert names == ["best.ckpt", "epoch_02.ckpt", "epoch_03.ckpt", "last.ckpt"]
    assert [s["step"] for s in steps] == list(range(1, 19))
    assert [s["epoch"] for s in steps] == [1] * 6 + [2] * 6 + [3] * 6
    assert steps[3]["lr"] == pytest.approx(cfg.lr)  # warm-up over half an epoch of 6
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    evaluations = [json.loads(line) for line in lines if '"evaluation"' in line]
    assert [e["epoch"] for e in evaluations] == [1, 2, 3]
    assert max(e["AP"] for e in evaluations) == best["AP"]
    assert "protocol coco, 10 images" in (folder / "log.txt").read_text()
    last = ms.load_checkpoint(str(folder / "ckpt" / "last.ckpt"))
    assert (last["run.epoch"].item(), last["run.step"].item()) == (3, 18)
    assert "image_size: [64, 64]" in last["run.config"]
    assert (folder / "ckpt" / "last.ckpt").stat().st_mode & 0o777 == 0o644


def test_fewer_images_than_a_batch(small):
    with pytest.raises(InputError, match="24 images are fewer than a batch of 25"):
        train(small.replace(batch_size=25))


def test_moving_averages_take_one_step_per_update_and_none_in_evaluation(small):
    trainer = make_trainer(small.replace(max_steps=1), val=True)
    backbone = trainer.network.backbone
    batch = next(trainer.loader.epoch(0))
    x = (batch.images - np.float32(IMAGE_MEAN)) / np.float32(IMAGE_STD)
    first = backbone.conv1(ms.Tensor(x.transpose(0, 3, 1, 2).astype(np.float32))).asnumpy()
    trainer.run()  # an update, then the final evaluation
    expected = 0.1 * first.mean(axis=(0, 2, 3))  # 0.9 of zero and 0.1 of the batch's
    found = backbone.bn1.moving_mean.asnumpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def count_compilations(monkeypatch):
    """A list that grows with every graph that MindSpore compiles."""
    executor = type(cell_module._cell_graph_executor)
    compiled, original = [], executor.compile

    def counting(self, cell, *args, **kwargs):
        _, was_new = result = original(self, cell, *args, **kwargs)
        if was_new:
            compiled.append(type(cell).__name__)
        return result

    monkeypatch.setattr(executor, "compile", counting)
    return compiled


GRAPHS = ["Gradients", "Totals", "Readout", "Update", "Copy", "WithLosses"]


def test_evaluations_compile_nothing_and_are_of_the_averages(small, monkeypatch):
    """In a run of frozen stages, too, which are not trained."""
    cfg = small.replace(
        epoch_size=3, eval_interval=1, ema_decay=0.5, keep_checkpoints=3, seed=3,
        freeze_backbone_stages=2, freeze_norms="backbone",
    )  # fmt: skip
    trainer = make_trainer(cfg, val=True, own=True)
    before = {p.name: p.asnumpy().copy() for p in trainer.network.get_parameters()}
    compiled = count_compilations(monkeypatch)
    compile_graphs(cfg, trainer)
    assert compiled == GRAPHS
    trainer.run()
    assert compiled == GRAPHS
    # best.ckpt has the averages of its epoch under the network's own names
    folder = Path(cfg.output_path) / "ckpt"
    epoch = trainer.evaluator.best["epoch"]
    best, then = (read_checkpoint(str(folder / f"{n}.ckpt")) for n in ("best", f"epoch_0{epoch}"))
    raw = ms.load_checkpoint(str(folder / f"epoch_0{epoch}.ckpt"))
    assert best.keys() == then.keys() == trainer.network.parameters_dict().keys()
    assert all(np.array_equal(best[name], then[name]) for name in best)
    name = "class_head.predictor.weight"
    assert not np.array_equal(best[name], raw[name].asnumpy())
    # the loss is theirs, too
    evaluated = trainer.evaluator.network
    for own in evaluated.get_parameters():
        own.set_data(ms.Tensor(best[own.name.removeprefix("ema.")]))
    annotations = trainer.evaluator.annotations
    again = detect_with(evaluated, cfg, annotations, model=trainer.evaluator.model).losses
    assert again["loss"] == records(Path(cfg.output_path), "evaluation")[epoch - 1]["loss"]
    check_frozen(trainer.network, before)


def check_frozen(network, before):
    """Two stages and the backbone's norms are as they were, and the rest is not."""
    changed = {p.name for p in network.get_parameters() if (p.asnumpy() != before[p.name]).any()}
    frozen = ("backbone.conv1", "backbone.bn1", "backbone.layer1", "backbone.layer2")
    assert not [name for name in changed if name.startswith(frozen)]
    norms = (".gamma", ".beta", ".moving_mean", ".moving_variance")
    assert not [n for n in changed if n.startswith("backbone.") and n.endswith(norms)]
    assert "backbone.layer3.0.conv1.weight" in changed
    assert any(name.startswith("fpn.") and name.endswith(".gamma") for name in changed)


def test_patience_ends_the_run(small, monkeypatch):
    cfg = small.replace(epoch_size=8, eval_interval=1, patience=2, lr=1e-12, warmup_epochs=0)
    trainer = make_trainer(cfg, val=True)
    assert trainer.network.training  # though it is the one that is evaluated
    compile_graphs(cfg, trainer)
    compiled = count_compilations(monkeypatch)
    best = trainer.run()
    assert compiled == []  # without averages the network itself is evaluated, in turn
    # nothing is learnt, so the first evaluation stays the best
    assert best["epoch"] == 1
    assert trainer.step == 3 * trainer.plan.steps_per_epoch
    log = Path(cfg.output_path) / "log.txt"
    assert "no better AP in 2 evaluations" in log.read_text()
    # resumed, it has no patience left, unless it is given more
    resumed = make_trainer(cfg, val=True, resume=True)
    assert resumed.run() == best
    assert resumed.step == trainer.step
    assert make_trainer(cfg.replace(patience=3), val=True, resume=True).evaluator.is_patient()


def test_weights_that_explode_end_the_run_with_the_images(small):
    cfg = small.replace(
        lr=1e30,
        warmup_epochs=0,
        max_bad_steps=3,
        save_minutes=1e-9,
    )
    trainer = make_trainer(cfg)
    with pytest.raises(RunError, match="for 3 updates in a row") as caught:
        trainer.run()
    skipped = records(Path(cfg.output_path), "skipped")
    assert [r["step"] for r in skipped] == [2, 3, 4]
    samples = trainer.loader.samples
    ids = samples.annotations.image_ids[samples.order(0)]
    assert [r["image_ids"] for r in skipped] == [ids[n : n + 4].tolist() for n in (4, 8, 12)]
    assert str(skipped[-1]["image_ids"]) in str(caught.value)
    assert trainer.train_step.updates == 1
    # saved after each update, but not once updates were skipped
    saved = find_run(Path(cfg.output_path) / "ckpt", cfg)
    assert (saved.state["step"], saved.state["guard"]["bad_in_a_row"]) == (1, 0)


def test_profile_tells_where_the_time_goes(small):
    cfg = small.replace(profile=True)
    trainer = make_trainer(cfg)
    lines = profile(trainer).splitlines()
    assert lines[0] == "time of an update by part, mean of 20"
    rows = [line.split() for line in lines[1:]]
    parts = ["data", "forward", "other", "reduce", "update", "hooks"]
    assert [row[0] for row in rows] == [*parts, "all"]
    shares = [float(row[-1].rstrip("%")) for row in rows[:-1]]
    assert sum(shares) == pytest.approx(100, abs=0.3)
    assert max(shares) == shares[1]
    assert not (Path(cfg.output_path) / "ckpt").exists()


class StopsAtFour(Callback):
    """Keeps what it is told, and ends the run after update 4, within the first epoch."""

    def __init__(self):
        self.told = []

    def _note(self, moment):
        self.told.append(moment)
        return "seen enough" if isinstance(moment, Step) and moment.step == 4 else None

    start = step = evaluation = checkpoint = end = _note


def test_a_run_tells_its_moments_and_ends_when_asked(small):
    recorder = StopsAtFour()
    cfg = small.replace(eval_interval=1, log_interval=2)
    trainer = make_trainer(cfg, val=True, callbacks=[NamedCallback("own", recorder)])
    best = trainer.run()
    assert [type(moment).__name__ for moment in recorder.told] == [
        "Start", "Step", "Step", "Checkpoint", "Evaluation", "Checkpoint", "Checkpoint", "End",
    ]  # fmt: skip
    start, first, second, before, evaluation, of_best, last, end = recorder.told
    assert (start.step, start.total_steps, start.config["seed"]) == (0, 12, cfg.seed)
    assert (start.folder, first.step, second.step, second.epoch) == (trainer.log.folder, 2, 4, 1)
    means = [first.losses["loss"], second.losses["loss"]]
    assert [record["mean_loss"] for record in records(Path(cfg.output_path), "step")] == means
    assert sum(second.losses[n] for n in ("class_loss", "box_loss")) == pytest.approx(
        second.losses["loss"]
    )
    assert evaluation.metrics["AP"] == best["AP"] and evaluation.is_best
    assert len(list(evaluation.pictures())) == 2
    assert [c.path.name for c in (before, of_best, last)] == ["last.ckpt", "best.ckpt", "last.ckpt"]
    assert (end.status, end.reason, end.step) == ("finished", "callback own: seen enough", 4)
    assert end.best_path.is_file()
    (stopped,) = [line for line in trainer.outcome() if "stopped" in line]
    assert stopped.endswith("seen enough after step 4 of 12; continue with --resume=True")
    # it goes on from there
    resumed = make_trainer(cfg, val=True, resume=True)
    resumed.run()
    assert resumed.step == 12


def test_an_update_without_memory_ends_the_run_with_advice(small, monkeypatch):
    def failing(*_):
        text = "Device(id:0) memory isn't enough and alloc failed, alloc size: 2000000000B"
        raise RuntimeError(text)

    monkeypatch.setattr(TrainStep, "__call__", failing)
    trainer = make_trainer(small.replace(batch_size=4), own=True)  # compiles nothing
    with pytest.raises(OutOfMemory, match="2.0 GB: 4 images.*--batch_size=2 --accumulate=2"):
        trainer.run()
