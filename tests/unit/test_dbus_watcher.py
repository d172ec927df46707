"""Waiting for signals, with a bus that says what the test has it say."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gi.repository import GLib

from keiji.bus.dbus_watcher import DBusWatcher
from keiji.errors import BusUnavailable


class Connection:
    """What listens is kept by the signal's name."""

    def __init__(self) -> None:
        self.listening: dict[str, Callable[..., Any]] = {}

    def signal_subscribe(
        self, sender: str, of: str, signal: str, path: str, first: object, flags: object, told: Any
    ) -> int:
        self.listening[signal] = told
        return len(self.listening)

    def connect(self, signal: str, told: Any) -> None:
        self.listening[signal] = told

    def says(self, signal: str, *words: str) -> None:
        """The signal comes when the loop turns."""
        said = GLib.Variant("(" + "s" * len(words) + ")", words)
        told = self.listening[signal]
        GLib.idle_add(lambda: told(self, ":1.7", "/", "of", signal, said) and False)

    def loses(self) -> None:
        self.says("NameOwnerChanged", "io.keiji.Bus1", ":1.7", "")


class Service:
    """The client of a service: how often it was subscribed to, and by which connection it speaks."""

    def __init__(self) -> None:
        self.connection = Connection()
        self.subscribed = 0
        self.problem: Exception | None = None

    def subscribe(self) -> Connection:
        if self.problem:
            raise self.problem
        self.subscribed += 1
        return self.connection


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass


@pytest.fixture
def watcher(service: Service, pipe: tuple[int, int]) -> DBusWatcher:
    return DBusWatcher(service, pipe[1])


def test_it_subscribes_again_once_it_listens(watcher, service) -> None:
    assert service.subscribed == 2


@pytest.mark.parametrize("signal", ["TaskChanged", "RunFinished"])
def test_a_signal_ends_the_wait(watcher, service, signal) -> None:
    service.connection.says(signal, "ping", "armed")

    watcher.wait()


def test_signals_that_come_together_end_one_wait(watcher, service) -> None:
    for _ in range(3):
        service.connection.says("TaskChanged", "ping", "armed")
    watcher.wait()

    service.connection.loses()  # else nothing would end the next wait
    watcher.wait()
    assert service.subscribed == 3


def test_a_service_that_is_lost_is_subscribed_to_again(watcher, service) -> None:
    service.connection.loses()

    watcher.wait()

    assert service.subscribed == 3


def test_a_service_that_comes_is_not_one_that_is_lost(watcher, service) -> None:
    service.connection.says("NameOwnerChanged", "io.keiji.Bus1", "", ":1.8")
    service.connection.says("TaskChanged", "ping", "armed")

    watcher.wait()

    assert service.subscribed == 2


def test_another_connection_is_listened_to(watcher, service) -> None:
    old, service.connection = service.connection, Connection()
    old.says("closed")
    watcher.wait()

    service.connection.says("TaskChanged", "ping", "armed")
    watcher.wait()

    assert service.subscribed == 4


def test_a_bus_that_was_stopped_ends_it(watcher, service) -> None:
    service.problem = BusUnavailable("the bus is stopped")
    service.connection.loses()

    with pytest.raises(BusUnavailable, match="the bus is stopped"):
        watcher.wait()


def test_a_service_that_ends_again_and_again_is_given_up(watcher, service) -> None:
    for _ in range(4):
        service.connection.loses()
        watcher.wait()
    service.connection.loses()

    with pytest.raises(BusUnavailable, match="again and again"):
        watcher.wait()


def test_a_reader_that_leaves_ends_the_wait(watcher, pipe) -> None:
    os.close(pipe[0])

    with pytest.raises(BrokenPipeError):
        watcher.wait()


def test_it_can_be_woken_before_it_waits_and_from_a_signals_handler(watcher) -> None:
    watcher.wake()
    watcher.wait()

    before = signal.signal(signal.SIGUSR1, lambda number, frame: watcher.wake())
    GLib.idle_add(lambda: os.kill(os.getpid(), signal.SIGUSR1))
    watcher.wait()
    signal.signal(signal.SIGUSR1, before)


def test_ctrl_c_ends_the_wait(watcher) -> None:
    GLib.idle_add(lambda: os.kill(os.getpid(), signal.SIGINT))

    with pytest.raises(KeyboardInterrupt):
        watcher.wait()
