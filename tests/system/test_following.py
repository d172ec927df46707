"""Runs and states as they are seen by who follows a real manager."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

QUICK = "def function():\n    print('ran')\n"
FAILS = "def function():\n    1 / 0\n"
SLOW = "import time\n\n\ndef function():\n    time.sleep(300)\n"
SELDOM = 'Schedule().on().month_day(1).at("03:00")'
UNITS = Path(os.environ["XDG_CONFIG_HOME"]) / "systemd" / "user"


class Follower:
    """A process that follows; `told` is what it has said since `forget`."""

    def __init__(self, environment: dict[str, str]) -> None:
        command = [sys.executable, str(Path(__file__).with_name("follower.py"))]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert "ready" in json.loads(self.process.stdout.readline())
        self.told: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(json.loads(line))

    def states(self, task: str) -> list[str]:
        return [said["state"] for said in self.told if said["task"] == task and "state" in said]

    def runs(self) -> list[tuple[str, str]]:
        """The id and result of each run that was told."""
        return [(said["run"], said["result"]) for said in self.told if "run" in said]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()


@pytest.fixture
def started(keiji):
    keiji("init")
    keiji("system", "start")
    return keiji


@pytest.fixture
def follow(keiji) -> Iterator[Callable[[], Follower]]:
    followers: list[Follower] = []

    def start() -> Follower:
        followers.append(Follower(keiji.environment))
        return followers[-1]

    yield start
    for follower in followers:
        follower.end()


def build(keiji, function=QUICK, schedule=SELDOM, name="t"):
    keiji.write_task(name, function, schedule)
    keiji("task", "build", name)


def recorded(keiji, name="t"):
    """The id and result of each run, the oldest first."""
    runs = json.loads(keiji("task", "history", name, "--json").stdout)
    return [(run["id"], run["result"]) for run in reversed(runs)]


def test_each_run_of_a_schedule_is_told_once_with_its_result(started, follow, wait_for):
    follower = follow()
    build(started, schedule="Schedule().run().every(1).seconds()")

    wait_for(lambda: len(follower.runs()) >= 3, "three ends of runs")
    started("system", "stop")
    wait_for(lambda: follower.states("t")[-1:] == ["built"], "the last state")

    assert follower.runs() == recorded(started)
    assert {result for _, result in follower.runs()} == {"succeeded"}


def test_runs_that_others_deliver_at_once_are_told_too(started, follow, wait_for):
    follower = follow()
    build(started)

    for _ in range(3):
        started("task", "run", "t")
        started("task", "list")
    wait_for(lambda: len(follower.runs()) >= 3, "three ends of runs")

    assert follower.runs() == recorded(started)


def test_a_run_that_fails_and_holds_its_task_is_told(started, follow, wait_for):
    build(started, FAILS)
    follower = follow()

    started("task", "run", "t", status=1)
    wait_for(lambda: "held" in follower.states("t"), "the hold")
    started("task", "resolve", "t")
    wait_for(lambda: follower.states("t")[-1] == "armed", "the end of the hold")

    assert follower.runs() == recorded(started)
    assert [result for _, result in follower.runs()] == ["failed"]


def test_a_run_that_is_killed_is_told(started, follow, wait_for, systemctl):
    build(started, SLOW)
    follower = follow()
    systemctl("start", "--no-block", "keiji-t.service")
    wait_for(lambda: follower.states("t") == ["running"], "the run")

    systemctl("kill", "--signal=KILL", "keiji-t.service")
    wait_for(lambda: follower.states("t")[-1] == "held", "the hold")

    assert [result for _, result in follower.runs()] == ["killed"]


def test_a_run_is_seen_to_begin_and_to_be_stopped(started, follow, wait_for, systemctl):
    build(started, SLOW)
    follower = follow()

    systemctl("start", "--no-block", "keiji-t.service")
    wait_for(lambda: follower.states("t") == ["running"], "the run")
    started("task", "stop", "t")
    wait_for(lambda: follower.states("t") == ["running", "armed"], "the end of the run")

    assert [result for _, result in follower.runs()] == ["stopped"]


def test_what_directives_and_builds_do_is_told(started, follow, wait_for):
    follower = follow()

    def do(state, *words):
        follower.told.clear()
        started(*words)
        # On its way a task may be in states between, such as enabled and not armed yet.
        wait_for(lambda: follower.states("t")[-1:] == [state], state)

    do("created", "task", "create", "t", "--desc", "a test's")
    schedule = f"from keiji import Schedule\n\n\ndef schedule():\n    return {SELDOM}\n"
    (started.workspace / "tasks" / "t" / "schedule.py").write_text(schedule)
    do("armed", "task", "build", "t")
    do("disabled", "task", "disable", "t")
    do("armed", "task", "enable", "t")
    do("built", "system", "stop")
    do("armed", "system", "start")
    do("created", "task", "delete", "t")
    do("armed", "task", "build", "t")


def test_what_is_done_by_hand_is_told(started, follow, wait_for, systemctl):
    build(started)
    follower = follow()
    expected = []

    def expect(state):
        expected.append(state)
        wait_for(lambda: follower.states("t") == expected, state)

    systemctl("stop", "keiji-t.timer")
    expect("built")
    systemctl("disable", "keiji-t.timer")
    expect("disabled")
    systemctl("enable", "--now", "keiji-t.timer")
    wait_for(lambda: follower.states("t")[-1] == "armed", "the arming")
    expected[:] = follower.states("t")
    (started.home / "run" / "held" / "t").touch()
    expect("held")
    (started.home / "run" / "held" / "t").unlink()
    expect("armed")
    for path in UNITS.glob("keiji-t.*"):
        path.unlink()
    expect("created")


def test_a_task_whose_source_is_gone_is_deleted_at_last(started, follow, wait_for):
    build(started)
    follower = follow()

    for path in (started.workspace / "tasks" / "t").iterdir():
        path.unlink()
    started("task", "delete", "t")
    wait_for(lambda: follower.states("t")[-1:] == ["deleted"], "the deletion")


def test_a_timer_that_fails_is_told(started, follow, wait_for, systemctl):
    build(started)
    follower = follow()
    (UNITS / "keiji-t.timer").write_text("[Timer]\nOnActiveSec=2\nAccuracySec=1us\n")
    systemctl("daemon-reload")
    systemctl("restart", "keiji-t.timer")
    (UNITS / "keiji-t.service").unlink()  # the timer finds out when it elapses
    systemctl("daemon-reload")

    wait_for(lambda: follower.states("t")[-1:] == ["built"], "the failure")
    assert systemctl("is-failed", "keiji-t.timer") == "failed"


def test_a_manager_that_starts_anew_is_followed_on(started, follow, wait_for, systemctl):
    build(started)
    follower = follow()

    systemctl("daemon-reexec")
    systemctl("stop", "keiji-t.timer")
    wait_for(lambda: follower.states("t") == ["built"], "the stop of the timer")
    systemctl("daemon-reload")
    systemctl("start", "keiji-t.timer")
    wait_for(lambda: follower.states("t") == ["built", "armed"], "the start of the timer")


def test_an_uninstall_leaves_the_follower_well_and_a_new_home_is_followed(started, follow, wait_for):
    build(started)
    follower = follow()
    started("system", "uninstall", "--yes", "--keep-workspace")
    wait_for(lambda: "created" in follower.states("t"), "the removal")

    started("init")
    started("task", "build", "t")
    # GLib finds out after some seconds that a folder is there again.
    wait_for(lambda: started("task", "run", "t") and follower.runs(), "a run's end")
