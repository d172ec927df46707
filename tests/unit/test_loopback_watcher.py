"""Who watches without a bus: sees what changes in keiji's folders and in the manager, and nothing else."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import pytest
from commanding import Place
from recording import an_entry, begin, ended

from keiji.bus import loopback_watcher
from keiji.bus.loopback_watcher import LoopbackWatcher

SOON = 10.0  # seconds until a test gives up


@pytest.fixture
def watched(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackWatcher]:
    """It looks all the time; it must end within a while."""
    monkeypatch.setattr(loopback_watcher, "_PACE", 0.01)
    monkeypatch.setattr(loopback_watcher, "_ASK", 0.05)
    place.add()
    reader, writer = os.pipe()
    yield LoopbackWatcher(place.folders, place.host, writer)
    for end in (reader, writer):
        os.close(end)


def waiting(watcher: LoopbackWatcher) -> threading.Thread:
    thread = threading.Thread(target=watcher.wait, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(
    "change",
    [
        lambda place: begin(place.folders, an_entry()),
        lambda place: place.folders.held("ping").touch(),
        lambda place: place.folders.requested("ping").touch(),
        lambda place: place.add("other"),
        lambda place: place.write("new"),
        lambda place: place.host.disarm(["ping"]),
        lambda place: place.host.stop_system(),
        lambda place: (place.folders.builds("ping") / "current").unlink(),
    ],
    ids=["begins", "held", "requested", "built", "created", "disarmed", "stopped", "rebuilt"],
)
def test_a_change_is_seen(place: Place, watched: LoopbackWatcher, change: Callable[[Place], object]) -> None:
    thread = waiting(watched)

    change(place)

    thread.join(SOON)
    assert not thread.is_alive()


def test_what_changes_before_the_wait_is_seen_by_it(place: Place, watched: LoopbackWatcher) -> None:
    place.folders.held("ping").touch()

    thread = waiting(watched)

    thread.join(SOON)
    assert not thread.is_alive()


def test_a_delivery_is_no_change(place: Place, watched: LoopbackWatcher) -> None:
    place.wait_for_delivery(ended(an_entry()))
    thread = waiting(watched)

    thread.join(0.2)  # that nothing happens has no event to wait for

    assert thread.is_alive()
    watched.wake()
    thread.join(SOON)


def test_it_can_be_woken_before_and_while_it_waits(watched: LoopbackWatcher) -> None:
    watched.wake()
    watched.wait()
    thread = waiting(watched)

    watched.wake()

    thread.join(SOON)
    assert not thread.is_alive()


def test_it_ends_when_nobody_reads_any_more(place: Place) -> None:
    reader, writer = os.pipe()
    watcher = LoopbackWatcher(place.folders, place.host, writer)
    os.close(reader)

    with pytest.raises(BrokenPipeError):
        watcher.wait()
    os.close(writer)
