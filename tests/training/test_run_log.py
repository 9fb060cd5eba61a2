"""What a run's log does when its files fail."""

import pytest

from src.runtime.errors import RunError
from src.runtime.signals import Interrupted
from src.training.run_log import RunLog


@pytest.mark.parametrize("name", ["log.txt", "metrics.jsonl"])
@pytest.mark.parametrize("error", [RunError("last.ckpt: cannot be written"), Interrupted(15)])
def test_a_full_disk_does_not_hide_why_a_run_ended(tmp_path, name, error):
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(type(error)) as caught, RunLog(tmp_path) as log:
        log.open()
        log.text.write("no end of line, so it stays in the buffer")
        log.metrics.write("{")
        raise error
    assert caught.value is error
    assert log.text.closed and log.metrics.closed


def test_a_full_disk_at_the_end_of_a_good_run_is_an_error(tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"), RunLog(tmp_path) as log:
        log.open()
        log.metrics.write("{")
    assert log.text.closed
