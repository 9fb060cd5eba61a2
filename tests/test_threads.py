import threading
import time

import pytest

from src.threads import ahead


def test_items_come_in_order():
    assert list(ahead(range(50), 3)) == list(range(50))
    assert list(ahead([], 1)) == []


def test_it_works_ahead_but_not_further_than_asked():
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    waiting = ahead(items(), 4)
    assert next(waiting) == 0
    deadline = time.monotonic() + 10
    while len(taken) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(taken) == 6  # one was given out, four wait, one wants to
    waiting.close()


def test_an_error_comes_when_its_turn_does():
    def items():
        yield 1
        raise ValueError("broken")

    waiting = ahead(items(), 5)
    assert next(waiting) == 1
    with pytest.raises(ValueError, match="broken"):
        next(waiting)


def test_no_thread_is_left_by_one_who_leaves_early():
    before = threading.active_count()
    waiting = ahead(iter(int, 1), 2)  # without end
    assert next(waiting) == 0
    waiting.close()
    assert threading.active_count() == before
