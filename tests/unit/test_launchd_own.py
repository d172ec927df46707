"""keiji's own agents on macOS: what a start and a stop of the system leave that are killed at any step."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from test_launchd_manager import NOON, Mac, fake, mac, started  # noqa: F401 - fixtures

from keiji.bus.loopback_client import LoopbackClient
from keiji.commands.housekeeping import mend_arming
from keiji.launchd import arming, checkup, loading, names
from keiji.session import Session
from keiji.settings import Settings

CHANGES = ("bootstrap", "bootout", "enable", "disable", "kickstart")
ENDS = ("stop", "start", "housekeeping")


class Killed(BaseException):
    """The process is no more: nothing of it may go on."""


@contextmanager
def killed_at(mac: Mac, step: int, acts: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:  # noqa: F811
    """Kill at that change by `launchctl`, before it or once it has been made; the changes that there were."""
    calls: list[str] = []

    def run(words: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        if words[1] in CHANGES:
            calls.append(words[1])
        if words[1] not in CHANGES or len(calls) - 1 != step:
            return mac.fake.run(words, **how)
        if acts:
            mac.fake.run(words, **how)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "run", run)
        try:
            yield calls
        except Killed:
            pass


def deaths(
    mac: Mac,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    before: Callable[[], object],
    work: Callable[[], object],
) -> Iterator[str]:
    """Each moment at which `work` can be killed, all `before` having been done anew."""
    for acts in (False, True):
        for step in range(200):
            before()
            with killed_at(mac, step, acts, monkeypatch) as calls:
                work()
            if len(calls) <= step:
                assert step >= 6
                break
            yield f"{'after' if acts else 'before'} change {step}"


def told(mac: Mac) -> list[str]:  # noqa: F811
    """What the doctor says of the scheduler and of the timers."""
    found = [*checkup.agents(mac.folders), *checkup.switched_off(mac.folders)]
    idle = mac.host.idle(mac.host.installed()) if mac.host.is_started() else []
    return [*(it.message for it in found), *(f"{slug} waits for no time" for slug in idle)]


def is_stopped(mac: Mac) -> bool:  # noqa: F811
    off = mac.fake.state["disabled"]
    labels = (*map(names.task, mac.host.installed()), names.HOUSEKEEPING, names.STARTUP)
    return not mac.fake.state["jobs"] and not mac.host.is_started() and all(off.get(it) for it in labels)


@pytest.fixture
def two(started: Mac) -> Mac:  # noqa: F811
    """A started system of two tasks."""
    started.write(NOON, "other")
    started.host.set_enabled("other", True)
    assert started.host.arm(["other"]) == []
    return started


def bring_to_an_end(mac: Mac, how: str) -> None:  # noqa: F811
    if how == "stop":
        mac.host.stop_system()
    elif how == "start":
        mac.host.start_system()
    else:
        settings = Settings(mac.folders, time_zone="UTC")
        mend_arming(Session(mac.folders, settings, mac.host, LoopbackClient(mac.folders, mac.host)))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("verb", ["start", "stop"])
def test_a_start_or_stop_that_is_killed_is_told_of_and_brought_to_its_end(
    two: Mac, monkeypatch: pytest.MonkeyPatch, verb: str, end: str
) -> None:
    host = two.host
    change = {"start": (host.stop_system, host.start_system), "stop": (host.start_system, host.stop_system)}

    for moment in deaths(two, monkeypatch, *change[verb]):
        fires = arming.firing(two.folders)
        assert host.is_started() or not fires, f"{moment}: it says stopped, and {fires} fire"
        assert told(two) or len(fires) == 2, f"{moment}: nobody is told of it"
        was_started = host.is_started()
        bring_to_an_end(two, end)
        if end == "stop":
            assert is_stopped(two), moment
        elif end == "start" or was_started:
            assert host.is_started(), moment
            assert host.idle(["demo", "other"]) == [], moment


def test_what_is_armed_while_the_system_is_stopped_does_not_stay_so(
    two: Mac, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Housekeeping finds a task that waits for no time, and ends only then."""
    unload = loading.unload

    def late(label: str, patience: float = 20) -> bool:
        if label == names.HOUSEKEEPING:
            bring_to_an_end(two, "housekeeping")
            assert arming.firing(two.folders) == ["demo", "other"]
        return unload(label, patience)

    monkeypatch.setattr(loading, "unload", late)
    two.host.stop_system()

    assert is_stopped(two)


def test_a_task_that_fires_while_the_system_is_stopped_is_a_warning(two: Mac) -> None:
    two.host.stop_system()
    loading.switch("io.keiji.task.demo", True)
    arming.mark(arming.state(two.folders, "resting", "demo"), False)
    loading.load(two.folders, "io.keiji.task.demo")

    assert "tasks run on schedule still" in told(two)[0]
    two.host.stop_system()
    assert is_stopped(two)


def test_housekeeping_lifts_a_rest_that_whoever_was_killed_has_left(two: Mac) -> None:
    """A rest stands for the moment in which launchd is to go by another plist."""
    arming.mark(arming.state(two.folders, "resting", "demo"), True)
    assert told(two) == ["demo waits for no time"]

    bring_to_an_end(two, "housekeeping")

    assert told(two) == []
    assert arming.firing(two.folders) == ["demo", "other"]
