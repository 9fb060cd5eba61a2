import json

import pytest

from src.training.hooks import Progress, RunLog, clock


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (125, "2:05"), (3723, "1:02:03")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_speed_leaves_out_the_first_update_and_time_left_follows_it(tmp_path, capsys):
    log = RunLog(tmp_path)
    progress = Progress(log, total_steps=10, batch_size=6, log_interval=3)
    for step, seconds in enumerate((60.0, 2.0, 2.0), 1):
        progress.update(epoch=1, step=step, lr=0.1, losses={"loss": 4.0 - step}, seconds=seconds)
    progress.close()
    log.close()
    # 2 timed updates of 6 images in 4 s; 7 more at 2 s each
    line = "epoch 1  step 3/10  loss 2.0000  lr 0.10000  3.0 images/s  0:14 left"
    output = capsys.readouterr().out
    assert "first update in 60.0 s" in output
    assert line in output
    assert line in (tmp_path / "log.txt").read_text()
    (record,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert (record["mean_loss"], record["loss"], record["images_per_second"]) == (2.0, 1.0, 3.0)


def test_records_are_valid_json(tmp_path):
    log = RunLog(tmp_path)
    log.record("evaluation", AP=0.5, AP_small=float("nan"), more=[float("nan")])
    log.close()
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text == '{"kind": "evaluation", "AP": 0.5, "AP_small": null, "more": [null]}\n'


def test_logs_are_appended_to(tmp_path):
    for number in (1, 2):
        log = RunLog(tmp_path)
        log.line(f"line {number}")
        log.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["line 1", "line 2"]
