"""What one rank knows and all have to act on."""

import signal
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from src.data.problems import Unreadable
from src.distributed.ranks import Ranks
from src.runtime.errors import InputError, RunError
from src.runtime.signals import Interruption
from src.training.agreement import Agreement, check_alike, check_same


class Second(Ranks):
    """The second of three ranks; `others` is what the first and the third give."""

    rank, size = 1, 3

    def __init__(self, first=None, third=None):
        self.first, self.third = first, third

    def gather(self, value):
        return [self.first, value, self.third]


NOTHING = ([], None, False)


def agreement(first=NOTHING, third=NOTHING, *, images=1000, save_seconds=0.0):
    ranks = Second(first, third)
    unreadable = Unreadable(Path("split.json"), images)
    return Agreement(ranks, Interruption(), unreadable, save_seconds=save_seconds)


def test_nothing_to_tell():
    own = agreement()
    assert not own.has_news()
    own.exchange()
    assert (own.signum, own.is_save_due, own.unreadable.messages) == (None, False, {})


def test_signal_of_another_rank_stops_this_one():
    own = agreement(third=([], signal.SIGTERM, False))
    own.exchange()
    assert own.signum == signal.SIGTERM


def test_own_signal_is_news():
    own = agreement()
    own.interruption.signum = signal.SIGINT
    assert own.has_news()
    own.exchange()
    assert own.signum == signal.SIGINT


def test_unread_images_of_all_ranks_are_counted_once_each():
    own = agreement(first=([(3, "three")], None, False), third=([(5, "five")], None, False))
    own.unread = [(3, "three"), (4, "four")]
    assert own.has_news()
    own.exchange()
    assert own.unreadable.messages == {3: "three", 4: "four", 5: "five"}
    assert not own.has_news()


def test_too_many_unread_images_of_all_ranks_together():
    one = [(index, "broken") for index in range(6)]
    other = [(index, "broken") for index in range(6, 12)]
    own = agreement(first=(one, None, False), third=(other, None, False))
    with pytest.raises(InputError, match="12 of 1,000 images unreadable"):
        own.exchange()


def test_checkpoint_that_is_due_on_one_rank_is_due_on_all():
    own = agreement(first=([], None, True))
    own.exchange()
    assert own.is_save_due
    own.saved()
    assert not own.is_save_due


def test_checkpoint_is_due_after_some_time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("src.training.agreement.time.monotonic", lambda: now[0])
    own = agreement(save_seconds=60)
    now[0] = 159.0
    assert not own.has_news()
    now[0] = 160.0
    assert own.has_news()
    own.exchange()
    assert own.is_save_due


def some(value):
    return {
        "a.weight": ms.Parameter(ms.Tensor(np.ones((2, 3), np.float32))),
        "b": ms.Parameter(ms.Tensor(np.float32(value))),
    }


def sums_of(parameters):
    """The checksums that a rank with these parameters would send."""
    seen = []
    ranks = Second()
    ranks.gather = lambda value: seen.append(value) or [value]
    check_same(ranks, parameters)
    return seen[0]


def test_same_parameters_pass_and_one_bit_is_found():
    same, off = sums_of(some(0.5)), sums_of(some(np.nextafter(np.float32(0.5), np.float32(1))))
    check_same(Second(same, same), some(0.5))
    with pytest.raises(RunError, match=r"b is not the same on all ranks: .* rank 0's on \[2\]"):
        check_same(Second(same, off), some(0.5))
    with pytest.raises(RunError, match=r"b is not the same on all ranks: .* rank 0's on \[1, 2\]"):
        check_same(Second(off, same), some(0.5))


def test_process_on_its_own_is_not_checked(monkeypatch):
    monkeypatch.setattr("src.training.agreement.checksum", lambda _: 1 / 0)
    check_same(Ranks(), some(0.5))


def test_ranks_with_other_data_or_another_configuration_are_named():
    own = {"the training split": "24 images, abc", "lr": 0.1}
    check_alike(Second(own, own), own)
    with pytest.raises(InputError, match="the training split: .* '24 images, abc', rank 2 has '23"):
        check_alike(Second(own, {**own, "the training split": "23 images, abd"}), own)
    with pytest.raises(InputError, match="lr: .* rank 0 has 0.2, rank 1 has 0.1"):
        check_alike(Second({**own, "lr": 0.2}, own), own)
