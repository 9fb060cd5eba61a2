import json
import math
import sys

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

from src.runtime.stopwatch import COMPUTE, DATA, HOOKS, UPDATE, Stopwatch
from src.training.callbacks.moments import End, Evaluation, Start
from src.training.callbacks.tensorboard import TensorBoard
from src.training.progress import Progress, clock
from src.training.run_log import RunLog
from src.training.step_report import StepReport


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (59.6, "1:00"),
        (125, "2:05"),
        (3723, "1:02:03"),
        (3 * 86400 + 3723, "3 d 1:02:03"),
    ],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def report(loss, **changes):
    values = {
        "loss": loss,
        "terms": {"class_loss": 0.25 * loss, "box_loss": 0.75 * loss},
        "positives": 12.0,
        "gradient_norm": 5.0,
        "loss_scale": 1.0,
        "updated": True,
        "overflow": False,
    }
    return StepReport(**{**values, **changes})


def timed(**parts):
    """A stopwatch that has measured these seconds."""
    watch = Stopwatch()
    watch.seconds.update(parts)
    return watch


def read_events(folder):
    """The events of all files in the folder, in the order they were written."""
    events = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            payload = data[12 : 12 + size]
            assert int.from_bytes(data[12 + size : 16 + size], "little") == masked_crc32c(payload)
            events.append(Event.FromString(payload))
            data = data[16 + size :]
    return events


def test_speed_leaves_out_the_first_update_and_time_left_follows_it(tmp_path, capsys):
    log = RunLog(tmp_path)
    log.open()
    board = TensorBoard()
    board.start(Start(tmp_path, {}))
    progress = Progress(log, total_steps=10, images_per_step=6, log_interval=3)
    progress.start(0)
    progress.evaluated(7.0)
    watches = [
        timed(**{DATA: 50.0, COMPUTE: 10.0}),
        timed(**{DATA: 0.5, COMPUTE: 1.0, UPDATE: 0.25, HOOKS: 0.25}),
        timed(**{DATA: 0.5, COMPUTE: 1.0, UPDATE: 0.25, HOOKS: 0.25}),
    ]
    for step, watch in enumerate(watches, 1):
        shown = progress.update(
            epoch=1, step=step, lr=0.1, report=report(4.0 - step), clock=watch, evaluations_left=2
        )
        assert (shown is None) == (step < 3)
    board.step(shown)
    board.end(End("finished"))
    progress.close()
    log.close()
    # 2 timed updates of 6 images in 4 s, 1 s of it for data; 7 more at 2 s, 2 evaluations of 7 s
    line = "epoch 1  step 3/10  loss 2.0000  lr 0.1  3.0 images/s  data wait 25%  0:28 left"
    output = capsys.readouterr().out
    assert "first update in 60.0 s" in output
    assert line in output
    assert line in (tmp_path / "log.txt").read_text()
    (record,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert (record["mean_loss"], record["loss"], record["images_per_second"]) == (2.0, 1.0, 3.0)
    assert record["data_share"] == 0.25
    assert list(record)[-7:] == [
        "loss", "class_loss", "box_loss", "positives", "gradient_norm", "loss_scale", "overflow",
    ]  # fmt: skip
    values = [
        e.summary.value[0] for e in read_events(tmp_path / "tensorboard") if e.HasField("summary")
    ]
    assert {v.tag: pytest.approx(v.simple_value) for v in values} == {
        "train/loss": 2.0,  # the line's mean, not update 3's 1.0
        "train/class_loss": 0.5,
        "train/box_loss": 1.5,
        "train/gradient_norm": 5.0,
        "train/loss_scale": 1.0,
        "train/lr": 0.1,
        "train/positives_per_image": 2.0,
        "time/images_per_second": 3.0,
        "time/data_share": 0.25,
    }
    bound = "data loading is the bottleneck (25% of the time spent waiting for it): more --num_w"
    assert progress.bottleneck().startswith(bound)


def test_means_of_a_resumed_run_are_those_of_one_that_was_not(tmp_path):
    def update(progress, step):
        loss = float("nan") if step == 3 else step / 3
        progress.update(
            epoch=1, step=step, lr=0.1, report=report(loss, updated=step != 3), clock=timed()
        )

    means, states = [], []
    for name, stop in (("whole", None), ("resumed", 4)):
        (tmp_path / name).mkdir()
        log = RunLog(tmp_path / name)
        log.open()
        progress = Progress(log, total_steps=6, images_per_step=1, log_interval=6)
        progress.start(0)
        for step in range(1, 7):
            update(progress, step)
            if step == stop:
                state = json.loads(json.dumps(progress.state()))
                progress.close()
                progress = Progress(log, total_steps=6, images_per_step=1, log_interval=6)
                progress.start(step)
                progress.load(state)
            if step == 5:
                states.append(json.loads(json.dumps(progress.state())))
        progress.end_epoch(1, 6, skipped=1)
        log.close()
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        means.append([json.loads(line)["mean_loss"] for line in lines])
    assert means[0] == means[1] == [sum((1 / 3, 2 / 3, 4 / 3, 5 / 3, 6 / 3)) / 5] * 2
    assert states[0] == states[1]
    assert states[0]["interval_terms"]["class_loss"] == {"total": 0.25 * 12 / 3, "count": 4}


def test_records_are_valid_json(tmp_path):
    log = RunLog(tmp_path)
    log.open()
    log.record("evaluation", AP=0.5, AP_small=float("nan"), more=[float("inf")])
    log.close()
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text == '{"kind": "evaluation", "AP": 0.5, "AP_small": null, "more": [null]}\n'


def write_records(log, places, every=2):
    """A step at each (epoch, step), and what comes at the end of each epoch of `every` steps."""
    for epoch, step in places:
        log.record("step", epoch=epoch, step=step)
        if step % every == 0:
            log.record("evaluation", epoch=epoch, step=step)
            log.record("epoch", epoch=epoch, step=step)


def read_places(folder):
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(record["kind"], record["epoch"], record["step"]) for record in records]


def test_resumed_run_drops_records_of_what_it_does_again(tmp_path):
    log = RunLog(tmp_path)
    log.open()
    write_records(log, [(1, 1), (1, 2), (2, 3), (2, 4)])
    log.metrics.write('{"kind": "step", "st')  # cut short by a kill
    log.close()
    log = RunLog(tmp_path)
    log.open()
    log.rewind({"evaluation": (1, 2), "epoch": (1, math.inf)}, (2, 3))
    log.record("step", epoch=2, step=4)
    log.close()
    assert read_places(tmp_path) == [
        ("step", 1, 1),
        ("step", 1, 2),
        ("evaluation", 1, 2),
        ("epoch", 1, 2),
        ("step", 2, 3),
        ("step", 2, 4),
    ]


def test_records_of_a_run_with_fewer_ranks_stay(tmp_path):
    log = RunLog(tmp_path)
    log.open()
    write_records(log, [(1, step) for step in range(1, 5)], every=4)  # on one rank
    before = read_places(tmp_path)
    write_records(log, [(2, 3), (2, 4)])  # on two, after which a kill
    log.rewind({"evaluation": (1, math.inf), "epoch": (1, math.inf)}, (2, 3))
    log.close()
    assert read_places(tmp_path) == [*before, ("step", 2, 3)]


def test_other_ranks_write_lines_to_a_file_of_their_own(tmp_path, capsys):
    log = RunLog(tmp_path, rank=3)
    log.line("early")
    log.open()
    log.line("late")
    log.record("step", epoch=1, step=1)
    log.rewind({}, (0, 0))
    log.close()
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert path == tmp_path / "ranks" / "rank_3.txt"
    assert [line[20:] for line in path.read_text().splitlines()] == ["early", "late"]
    assert capsys.readouterr().out == ""


def test_lines_before_the_log_is_open_are_kept_for_it(tmp_path, capsys):
    log = RunLog(tmp_path)
    log.line("early")
    assert capsys.readouterr().out == "early\n"
    assert not list(tmp_path.iterdir())
    log.open()
    log.line("late")
    log.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["early", "late"]


def test_console_that_is_gone_does_not_end_the_run(tmp_path, monkeypatch):
    log = RunLog(tmp_path)
    log.open()
    with open("/dev/full", "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        log.line("one")
        log.line("two")
        gone.close = lambda: None
    log.close()
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 2


def test_log_is_appended_to(tmp_path):
    for number in (1, 2):
        log = RunLog(tmp_path)
        log.open()
        log.line(f"line {number}")
        log.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["line 1", "line 2"]


def test_board_starts_after_the_steps_done_and_takes_pictures(tmp_path):
    board = TensorBoard()
    board.start(Start(tmp_path, {}, step=41))
    pictures = [("val/7", np.full((20, 30, 3), 128, np.uint8))]
    metrics = {"AP": 0.5, "AP_small": float("nan")}
    losses = {"loss": 1.5, "class_loss": float("inf")}
    board.evaluation(Evaluation(2, 42, metrics, {}, True, lambda: pictures, losses=losses))
    board.end(End("finished"))
    version, start, *curves, image = read_events(tmp_path / "tensorboard")
    found = [(curve.step, v.tag, v.simple_value) for curve in curves for v in curve.summary.value]
    assert found == [(42, "val/AP", 0.5), (42, "val/loss", 1.5)]
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (42, 1)  # START hides what comes after
    (value,) = image.summary.value
    assert (value.tag, value.image.height, value.image.width) == ("val/7", 20, 30)
