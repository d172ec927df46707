"""From init to uninstall as on a Mac: commands, loopback bus and runner are real, launchd has a stand-in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_launchd import FakeLaunchd

pytest.importorskip("keiji.bus.loopback_key", reason="needs the loopback bus")

WAIT = 120  # seconds until a command that hangs is given up


class Person:
    def __init__(self, tmp_path: Path) -> None:
        self.fake = FakeLaunchd(tmp_path / "launchd")
        self.home = tmp_path / "home"
        self.home.mkdir()
        self.environ = {"HOME": str(self.home), "PATH": f"{self.fake.bin}:/usr/bin:/bin", "LANG": "C.UTF-8"}
        self.environ |= {"KEIJI_HOST": "macos"}

    def keiji(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "keiji", *words],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=WAIT,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == status, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def write(self, name: str, text: str) -> None:
        (self.home / "keiji" / "tasks" / "daily" / name).write_text(text)


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    found = Person(tmp_path)
    yield found
    found.fake.end()


def test_a_task_is_made_run_held_resolved_stopped_and_deleted(person: Person) -> None:
    keiji = person.keiji
    keiji("init")
    keiji("task", "create", "daily", "--desc", "each day")
    form = "from keiji import Schedule\ndef schedule():\n    return Schedule().on().every_day().at('03:00')\n"
    person.write("schedule.py", form)
    person.write("function.py", "def function():\n    print('Pinging…')\n")
    keiji("system", "start")
    assert "armed" in keiji("task", "build", "daily")

    assert "Pinging…" in keiji("task", "run", "daily")
    assert "Pinging…" in keiji("task", "logs", "daily")
    keiji("task", "disable", "daily")
    assert "disabled" in keiji("task", "list")
    assert "Pinging…" in keiji("task", "run", "daily")
    keiji("task", "enable", "daily")

    person.write("function.py", "def function():\n    1 / 0\n")
    keiji("task", "build", "daily")
    assert "ZeroDivisionError" in keiji("task", "run", "daily", status=1)
    assert "held" in keiji("task", "list")
    keiji("task", "resolve", "daily")
    assert "armed" in keiji("task", "list")

    assert keiji("system", "status").count("ONLINE") == 2
    assert "everything is fine" in keiji("doctor")
    keiji("task", "delete", "daily")
    agents = person.home / "Library" / "LaunchAgents"
    assert not (agents / "io.keiji.task.daily.plist").exists()
    keiji("system", "stop")
    keiji("system", "uninstall", "--yes")

    assert os.listdir(person.home) == []
    state = person.fake.state
    assert (state["jobs"], any(state["disabled"].values()), state["breaches"]) == ({}, False, [])
