import threading
import time

import pytest

from src.runtime.threads import Follower, prefetch


def test_items_come_in_order():
    assert list(prefetch(range(50), 3)) == list(range(50))
    assert list(prefetch([], 1)) == []


def test_it_works_ahead_but_not_further_than_asked():
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    waiting = prefetch(items(), 4)
    assert next(waiting) == 0
    deadline = time.monotonic() + 10
    while len(taken) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(taken) == 6  # one was given out, four wait, one wants to
    waiting.close()


def test_newest_items_replace_those_that_wait():
    read = threading.Event()

    def items():
        yield from range(20)
        read.set()

    waiting = prefetch(items(), 1, newest=True)
    first = next(waiting)
    assert read.wait(10)  # the thread waits for nobody
    rest = list(waiting)
    assert first in range(20)
    assert rest == ([19] if first < 19 else [])
    assert list(prefetch([], 1, newest=True)) == []


def test_an_error_is_raised_in_order():
    def items():
        yield 1
        raise ValueError("broken")

    waiting = prefetch(items(), 5)
    assert next(waiting) == 1
    with pytest.raises(ValueError, match="broken"):
        next(waiting)


def test_no_thread_is_left_after_an_early_exit():
    before = threading.active_count()
    waiting = prefetch(iter(int, 1), 2)  # without end
    assert next(waiting) == 0
    waiting.close()
    assert threading.active_count() == before


def test_follower_gives_results_in_order_and_no_later_than_its_limit():
    with Follower(3) as follower:
        given = [follower.submit(lambda n=n: n * n) for n in range(5)]
        assert given == [[], [], [0], [1], [4]]
        assert list(follower.drain()) == [9, 16]
    assert list(follower.drain()) == []


def test_follower_works_while_the_other_waits():
    started, go_on = threading.Event(), threading.Event()

    def call():
        started.set()
        return go_on.wait(10)

    with Follower(2) as follower:
        assert follower.submit(call) == []
        assert started.wait(10)
        go_on.set()
        assert list(follower.drain()) == [True]


def test_follower_raises_what_a_call_raises():
    with Follower(2) as follower:
        assert follower.submit(int, "no number") == []
        with pytest.raises(ValueError, match="no number"):
            list(follower.drain())


def test_follower_leaves_no_thread_and_drops_pending_calls():
    made, go_on = [], threading.Event()
    with pytest.raises(KeyboardInterrupt), Follower(9) as follower:
        follower.submit(go_on.wait, 10)
        follower.submit(made.append, 1)
        threading.Timer(0.2, go_on.set).start()
        raise KeyboardInterrupt
    assert made == []
    assert not any("ThreadPool" in thread.name for thread in threading.enumerate())
