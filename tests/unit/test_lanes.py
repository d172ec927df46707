"""Lanes keep the order of one task's work, and let tasks not wait for each other."""

from __future__ import annotations

import threading

from keiji.bus.lanes import Lanes

SOON = 10.0  # seconds until a test gives up


def test_work_on_one_lane_is_done_in_the_order_it_came() -> None:
    lanes, done, end = Lanes(at_once=8), [], threading.Event()

    for number in range(200):
        lanes.put("a", lambda number=number: done.append(number))
    lanes.put("a", end.set)

    assert end.wait(SOON)
    assert done == list(range(200))


def test_two_works_of_one_lane_never_overlap() -> None:
    lanes, end, inside, overlaps = Lanes(at_once=8), threading.Event(), threading.Lock(), []

    def work() -> None:
        if not inside.acquire(blocking=False):
            overlaps.append(1)
            return
        threading.Event().wait(0.001)
        inside.release()

    for _ in range(50):
        lanes.put("a", work)
    lanes.put("a", end.set)

    assert end.wait(SOON)
    assert not overlaps


def test_a_lane_goes_on_while_another_waits() -> None:
    lanes, gate, passed = Lanes(at_once=8), threading.Event(), threading.Event()

    lanes.put("slow", lambda: gate.wait(SOON) and None)
    lanes.put("quick", passed.set)

    assert passed.wait(SOON)
    assert not gate.is_set()
    gate.set()


def test_a_lane_is_busy_until_its_last_work_is_done() -> None:
    lanes, gate, begun = Lanes(at_once=2), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        gate.wait(SOON)

    assert lanes.are_empty
    lanes.put("a", work)
    assert begun.wait(SOON)
    assert not lanes.are_empty
    gate.set()
    lanes.wait()

    assert lanes.are_empty


def test_work_that_raises_keeps_its_lane_neither_busy_nor_closed() -> None:
    """Else the service could neither leave nor be stopped."""
    lanes, passed = Lanes(at_once=2), threading.Event()

    lanes.put("a", lambda: 1 // 0)
    lanes.put("a", passed.set)

    assert passed.wait(SOON)
    lanes.wait()
    assert lanes.are_empty


def test_work_that_waits_already_is_not_put_twice() -> None:
    lanes, gate, done = Lanes(at_once=2), threading.Event(), []

    def work() -> None:
        done.append(1)

    lanes.put("a", lambda: gate.wait(SOON) and None)
    for _ in range(100):
        lanes.put_once("a", work)
    gate.set()
    lanes.wait()

    assert done == [1]


def test_work_that_has_begun_is_put_again() -> None:
    """What it looks at may have changed since it began."""
    lanes, gate, begun, done = Lanes(at_once=2), threading.Event(), threading.Event(), []

    def work() -> None:
        done.append(1)
        begun.set()
        gate.wait(SOON)

    lanes.put_once("a", work)
    assert begun.wait(SOON)
    lanes.put_once("a", work)
    gate.set()
    lanes.wait()

    assert done == [1, 1]


def test_many_lanes_use_no_more_threads_than_allowed() -> None:
    lanes, lock, now, most = Lanes(at_once=3), threading.Lock(), [0], [0]

    def work() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.001)
        with lock:
            now[0] -= 1

    for number in range(60):
        lanes.put(f"task-{number}", work)
    lanes.wait()

    assert most[0] <= 3
