"""What is told of tasks where no manager speaks: what befalls the unit files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from looping import turn_until

from keiji import files
from keiji.systemd import names
from keiji.systemd.signals import UnitSignals


class Watched:
    """The unit folder, watched, and what was told."""

    def __init__(self) -> None:
        self.folder = names.unit_folder()
        self.links = self.folder / f"{names.TARGET}.wants"
        self.links.mkdir(parents=True)
        self.told: list[str] = []
        self.signals = UnitSignals()
        self.signals.start(self.told.append)

    def wait(self, slug: str = "ping") -> None:
        turn_until(lambda: slug in self.told, f"something of {slug}")
        assert {*self.told} == {slug}
        self.told.clear()


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.signals.stop()


def test_a_task_that_is_installed_enabled_disabled_and_removed_is_told_each_time(watched):
    timer = watched.folder / "keiji-ping.timer"
    files.write(timer, "[Timer]\n")
    watched.wait()
    files.link(watched.links / timer.name, f"../{timer.name}")
    watched.wait()
    (watched.links / timer.name).unlink()
    watched.wait()
    timer.unlink()
    watched.wait()


def test_units_that_are_no_tasks_are_passed_over(watched):
    for name in ("io.keiji.housekeeping.timer", "keiji.target", "other.timer", "keiji-ping.service"):
        (watched.folder / name).touch()
    (watched.folder / "keiji-ping.timer").touch()

    watched.wait()


def test_a_unit_folder_that_is_not_there_yet_is_no_error(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    signals = UnitSignals()
    signals.start(lambda slug: None)
    signals.stop()


def test_nothing_is_told_after_the_stop(watched):
    other: list[str] = []
    second = UnitSignals()
    second.start(other.append)
    watched.signals.stop()
    (watched.folder / "keiji-ping.timer").touch()

    turn_until(lambda: other, "something")

    second.stop()
    assert watched.told == []


# what the manager says, as its signals carry it


def test_only_jobs_of_tasks_timers_are_told(watched):
    for unit in ("keiji-ping.service", "io.keiji.housekeeping.timer", "other.timer", "keiji-pong.timer"):
        watched.signals._job_removed(7, "/job/7", unit, "done")

    assert watched.told == ["pong"]


@pytest.mark.parametrize(
    ("signal", "said"),
    [
        ("_reloading", (False,)),
        ("_timer_changed", ("org.freedesktop.systemd1.Timer", {"Result": "resources"}, [])),
    ],
)
def test_what_may_concern_any_task_is_told_of_all_that_are_installed(watched, signal, said):
    for slug in ("a", "b"):
        (watched.folder / names.timer(slug)).touch()

    getattr(watched.signals, signal)(*said)

    assert watched.told == ["a", "b"]


@pytest.mark.parametrize(
    ("signal", "said"),
    [
        ("_reloading", (True,)),
        ("_timer_changed", ("org.freedesktop.systemd1.Timer", {"Result": "success"}, [])),
        ("_timer_changed", ("org.freedesktop.systemd1.Timer", {"LastTriggerUSec": 7}, [])),
    ],
)
def test_what_concerns_no_state_is_not_told(watched, signal, said):
    (watched.folder / names.timer("a")).touch()

    getattr(watched.signals, signal)(*said)

    assert watched.told == []
