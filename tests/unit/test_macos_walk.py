"""From init to uninstall as on a Mac: commands, loopback bus and runner are real, launchd has a stand-in."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from fake_launchd import FakeLaunchd

pytest.importorskip("keiji.bus.loopback_key", reason="needs the loopback bus")

WAIT = 120  # seconds until a command that hangs is given up


BUS, TASK = "io.keiji.bus", "io.keiji.task.daily"
DAILY = "from keiji import Schedule\ndef schedule():\n    return Schedule().on().every_day().at('03:00')\n"
MINUTELY = "from keiji import Schedule\ndef schedule():\n    return Schedule().cron('* * * * *')\n"
PINGS = "def function():\n    print('Pinging…')\n"
WAITS = "import time\ndef function():\n    print('waiting')\n    while True: time.sleep(0.01)\n"


def until(what: Callable[[], object], patience: float = 30.0) -> None:
    deadline = time.monotonic() + patience
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Person:
    def __init__(self, tmp_path: Path) -> None:
        self.fake = FakeLaunchd(tmp_path / "launchd")
        self.home = tmp_path / "home"
        self.home.mkdir()
        self.agents = self.home / "Library" / "LaunchAgents"
        self.environ = {"HOME": str(self.home), "PATH": f"{self.fake.bin}:/usr/bin:/bin", "LANG": "C.UTF-8"}
        self.environ |= {"KEIJI_HOST": "macos"}

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "keiji", *words],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def keiji(self, *words: str, status: int = 0) -> str:
        process = self.begin(*words)
        try:
            said, _ = process.communicate(timeout=WAIT)
        finally:
            process.kill()
        assert process.returncode == status, f"{words}: {said}"
        return said

    def write(self, name: str, text: str) -> None:
        (self.home / "keiji" / "tasks" / "daily" / name).write_text(text)

    def settle(self, schedule: str = DAILY, function: str = PINGS) -> None:
        """keiji is installed and started, and the task is built."""
        self.keiji("init")
        self.keiji("task", "create", "daily", "--desc", "each day")
        self.write("schedule.py", schedule)
        self.write("function.py", function)
        self.keiji("system", "start")
        assert "armed" in self.keiji("task", "build", "daily")

    def records(self) -> list[dict[str, object]]:
        found = json.loads(self.keiji("task", "history", "daily", "--json"))
        assert isinstance(found, list)
        return found

    def run_file(self) -> Path:
        return self.home / ".keiji" / "run" / "running" / "daily"

    def files(self) -> dict[str, bytes]:
        """What lies in the folders of agents and of the workspace."""
        found = [*self.agents.rglob("*"), *(self.home / "keiji").rglob("*")]
        return {str(path): path.read_bytes() for path in found if path.is_file()}


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    found = Person(tmp_path)
    yield found
    found.fake.close()
    assert found.fake.state["breaches"] == []


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Of tests that leave all as they find it."""
    found = Person(tmp_path_factory.mktemp("settled"))
    try:
        found.settle()
        yield found
    finally:
        found.fake.close()
    assert found.fake.state["breaches"] == []


def test_a_task_is_made_run_held_resolved_stopped_and_deleted(person: Person) -> None:
    keiji = person.keiji
    person.settle()

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
    assert not (person.agents / f"{TASK}.plist").exists()
    assert person.fake.job(TASK) is None


def test_a_second_init_changes_nothing(settled: Person) -> None:
    files, calls = settled.files(), len(settled.fake.calls("boot"))

    settled.keiji("init")

    assert settled.files() == files
    assert len(settled.fake.calls("boot")) == calls, "nothing is loaded or unloaded"


def test_records_times_runs_and_logs_are_told(settled: Person) -> None:
    keiji = settled.keiji
    keiji("task", "run", "daily")
    keiji("task", "run", "daily")

    first, second = settled.records()[:2]
    assert (first["result"], second["trigger"]) == ("succeeded", "manual")
    said = keiji("task", "get", "daily")
    assert "IsError: false" in said
    assert "03:00" in keiji("task", "next", "daily", "-n", "2")
    assert len(keiji("task", "logs", "daily", "-n", "1").splitlines()) == 1
    one = keiji("task", "logs", "daily", "--run", str(first["id"]))
    assert one.count("Pinging…") == 1
    assert "daily" in keiji("system", "logs", "--scheduler") + keiji("system", "logs", "--bus")
    assert "started" in keiji("system", "logs", "--bus")


def test_a_run_in_progress_is_ended_by_stop_and_by_restart_and_the_schedule_goes_on(person: Person) -> None:
    person.settle(function=WAITS)

    for n, verb in enumerate(("stop", "restart"), 1):
        process = person.begin("task", "run", "daily")
        until(lambda: person.run_file().exists())
        assert "stopped" in person.keiji("task", verb, "daily")
        process.communicate(timeout=WAIT)
        assert [each["result"] for each in person.records()] == ["stopped"] * n
        assert "armed" in person.keiji("task", "list")


def test_launchd_starts_the_bus_for_who_connects_and_again_after_it_has_left(person: Person) -> None:
    person.fake.set(added={BUS: ["--idle", "0.5"]})
    person.settle()
    assert person.fake.job(BUS)

    until(lambda: person.fake.job(BUS)["pid"] is None)
    before = person.fake.job(BUS)["runs"]
    person.keiji("task", "disable", "daily")

    assert person.fake.job(BUS)["runs"] == before + 1
    assert not person.fake.calls(f"kickstart gui/{os.getuid()}/{BUS}"), "the connection alone starts it"
    until(lambda: person.fake.job(BUS)["pid"] is None)
    assert person.fake.job(BUS)["last"] == "0"


def test_a_task_is_built_while_the_bus_is_kept_down(settled: Person) -> None:
    settled.keiji("system", "stop", "--bus")
    assert settled.fake.job(BUS) is None

    settled.keiji("task", "build", "daily")
    settled.keiji("system", "start", "--bus")

    assert "Pinging…" in settled.keiji("task", "run", "daily")
    assert "armed" in settled.keiji("task", "list")


def test_each_part_of_the_system_is_stopped_and_started_by_itself(settled: Person) -> None:
    keiji = settled.keiji

    keiji("system", "stop", "--scheduler")
    assert settled.fake.job(TASK) is None
    assert settled.fake.job(BUS)
    keiji("system", "start", "--scheduler")
    assert settled.fake.job(TASK)
    keiji("system", "restart", "--bus")
    keiji("system", "restart")
    assert keiji("system", "status").count("ONLINE") == 2
    keiji("system", "update")
    assert keiji("system", "status").count("ONLINE") == 2
    assert "armed" in keiji("task", "list")


def test_a_minute_that_launchd_strikes_becomes_a_run(person: Person) -> None:
    person.settle(schedule=MINUTELY)
    until(lambda: not person.fake.job(TASK)["minder"])
    (person.home / ".keiji" / "run" / "last" / "daily").write_text(f"{time.time() - 90:.6f}\n")

    assert TASK in person.fake.strike(datetime.now())

    until(lambda: not person.fake.job(TASK)["minder"])
    found = person.records()
    assert [(each["result"], each["trigger"]) for each in found] == [("succeeded", "timer")]


def test_after_a_reboot_the_next_login_has_all_as_before(person: Person) -> None:
    person.settle()
    person.keiji("task", "create", "other", "--desc", "it is disabled")
    folder = person.home / "keiji" / "tasks" / "other"
    (folder / "schedule.py").write_text(DAILY)
    (folder / "function.py").write_text(PINGS)
    person.keiji("task", "build", "other")
    person.keiji("task", "disable", "other")
    person.fake.end()

    assert person.fake.login(person.agents) == ["io.keiji.task.other"]

    assert person.fake.job(TASK)
    assert person.keiji("system", "status").count("ONLINE") == 2
    assert "Pinging…" in person.keiji("task", "run", "daily")


def test_a_system_that_was_stopped_stays_so_after_a_reboot(person: Person) -> None:
    person.settle()
    person.keiji("system", "stop")
    person.fake.end()

    person.fake.login(person.agents)

    assert person.fake.job(TASK) is None


def test_without_launchctl_the_doctor_says_so_once_and_what_to_do(
    settled: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settled.environ, "PATH", "/nonexistent")

    told = [line for line in settled.keiji("doctor", status=1).splitlines() if "launchctl" in line]

    assert told == ["error: launchctl, by which keiji asks launchd, is not on PATH"]


@pytest.mark.parametrize("verb", ["bootout", "bootstrap"])
def test_what_a_build_left_that_was_killed_the_next_one_mends(person: Person, verb: str) -> None:
    """It is killed before `bootout` and before `bootstrap`, with the new plist in its place."""
    person.settle()
    person.write("schedule.py", DAILY.replace("03:00", "04:00"))
    person.fake.fault(verb, 0, kills=True)
    assert person.begin("task", "build", "daily").wait(WAIT) == -9

    assert "armed" in person.keiji("task", "build", "daily")

    assert person.fake.job(TASK)["plist"]["StartCalendarInterval"][0]["Hour"] == 4
    assert "everything is fine" in person.keiji("doctor")


def test_what_a_build_left_that_was_killed_the_next_start_of_the_system_mends(person: Person) -> None:
    person.settle()
    person.write("schedule.py", DAILY.replace("03:00", "04:00"))
    person.fake.fault("bootstrap", 0, kills=True)
    assert person.begin("task", "build", "daily").wait(WAIT) == -9
    assert person.fake.job(TASK) is None

    person.keiji("system", "start")

    assert person.fake.job(TASK)


def test_a_restart_of_the_bus_ends_when_it_answers_with_a_key_made_anew(person: Person) -> None:
    person.settle()
    person.keiji("task", "run", "daily")
    (person.home / ".keiji" / "run" / "bus.json").chmod(0o644)
    assert "`keiji system restart --bus`" in person.keiji("task", "run", "daily", status=1)
    assert "remedy: `keiji system restart --bus`" in person.keiji("doctor", status=1)

    person.keiji("system", "restart", "--bus")

    assert "Pinging…" in person.keiji("task", "run", "daily")


def test_a_port_that_another_program_has_taken_is_given_up(person: Person) -> None:
    person.settle()
    port = json.loads((person.home / ".keiji" / "run" / "bus.json").read_text())["port"]
    person.fake.end()
    with socket.create_server(("127.0.0.1", port)):
        person.fake.login(person.agents)

        assert "Pinging…" in person.keiji("task", "run", "daily")
        told = person.keiji("doctor")
        assert f"another program had the bus's port {port}" in told
        assert "remedy: `keiji system update`" in told
        person.keiji("system", "update")

        assert "everything is fine" in person.keiji("doctor")
        assert "Pinging…" in person.keiji("task", "run", "daily")


def test_uninstalling_leaves_nothing_and_keiji_can_be_installed_again(person: Person) -> None:
    person.settle()
    person.keiji("task", "disable", "daily")

    person.keiji("system", "uninstall", "--yes")

    assert os.listdir(person.home) == []
    state = person.fake.state
    assert (state["jobs"], any(state["disabled"].values())) == ({}, False)
    person.settle()
    assert "Pinging…" in person.keiji("task", "run", "daily")
