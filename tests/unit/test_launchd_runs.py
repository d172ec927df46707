"""Runs that could not be started under launchd, functions that outlive their runner, a machine that moves."""

from __future__ import annotations

import os
import plistlib
import signal
import time

import pytest
from runner_build import PYTHON
from test_launchd_manager import LABEL, NOON, Mac, fake, mac, started, until, with_bus  # noqa: F401 - fixtures

from keiji import files, latches, running, verdict
from keiji.findings import Severity
from keiji.launchd import arming, calendar, checkup, loading, names
from keiji.task import Task

TASK = Task("demo", "shows it", NOON, "a1b2", "host", "an-id")


def change(mac: Mac, **keys: object) -> None:  # noqa: F811
    """Have launchd go by another plist, and fire it."""
    path = names.plist(LABEL)
    path.write_bytes(plistlib.dumps({**plistlib.loads(path.read_bytes()), **keys}))
    loading.unload(LABEL)
    loading.load(mac.folders, LABEL)
    mac.fake.fire(LABEL)
    until(lambda: not mac.fake.job(LABEL)["minder"])


def judge(mac: Mac) -> None:  # noqa: F811
    verdict.settle_unborn(mac.folders, mac.host, "demo", lambda run: False)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"ProgramArguments": ["/gone/python"]}, "its interpreter or the folder it begins in is gone"),
        ({"WorkingDirectory": "/gone"}, "its interpreter or the folder it begins in is gone"),
        ({"ProgramArguments": [PYTHON, "-c", "raise SystemExit(1)"]}, "exit-code, status 1"),
        ({"ProgramArguments": [PYTHON, "-c", "import os; os.abort()"]}, "killed by SIGABRT"),
    ],
)
def test_a_run_that_could_not_be_started_is_recorded_and_held(
    started: Mac,  # noqa: F811
    keys: dict[str, object],
    said: str,
) -> None:
    change(started, **keys)
    assert started.host.failed() == ["demo"]

    judge(started)

    held = latches.latch(started.folders, "demo")
    assert held
    assert said in held.error
    assert f"launchctl print gui/{os.getuid()}/{LABEL}" in held.error
    assert started.results() == ["failed"]
    assert started.host.failed() == [], "the agent rests"


@pytest.mark.parametrize("program", [[PYTHON, "-c", "raise SystemExit(1)"], ["/gone/python"]])
def test_each_start_that_failed_is_told_of_once(started: Mac, program: list[str]) -> None:  # noqa: F811
    change(started, ProgramArguments=program)
    first, second = (started.host.ending("demo").run for _ in range(2))

    started.fake.fire(LABEL)
    until(lambda: started.fake.job(LABEL)["runs"] == 2 and not started.fake.job(LABEL)["minder"])

    assert first
    assert first == second != started.host.ending("demo").run


def test_a_run_that_failed_and_is_recorded_is_no_failed_start(mac: Mac) -> None:  # noqa: F811
    mac.init()
    mac.build(function="def function():\n    1 / 0\n")
    mac.host.start_system()
    mac.ask()
    until(lambda: mac.results() == ["failed"])
    until(lambda: not mac.fake.job(LABEL)["minder"])

    assert mac.host.failed() == []


@pytest.mark.parametrize("program", [[PYTHON, "-c", "raise SystemExit(1)"], ["/gone/python"]])
def test_a_run_that_is_asked_for_and_can_t_be_started_is_told_at_once(
    started: Mac,  # noqa: F811
    program: list[str],
) -> None:
    change(started, ProgramArguments=program)
    begun = time.monotonic()

    run = started.ask()

    assert run == started.host.ending("demo").run
    assert time.monotonic() - begun < 14, "the patience with launchd is 15 seconds"
    assert any(names.HOUSEKEEPING in call for call in started.fake.calls("kickstart")), "which records it"


def test_a_function_is_ended_before_its_dead_run_is_recorded(mac: Mac) -> None:  # noqa: F811
    code = "import os, time\ndef function():\n"
    code += "    open('pid', 'w').write(str(os.getpid()))\n    time.sleep(600)\n"
    mac.init()
    mac.build(function=code.replace("'pid'", repr(str(mac.folders.home / "pid"))))
    mac.host.start_system()
    mac.ask()
    until(lambda: files.read(mac.folders.home / "pid"))
    function = int(files.read(mac.folders.home / "pid") or 0)
    entry = running.running_entry(mac.folders, "demo")
    assert entry

    os.kill(entry.pid, signal.SIGKILL)
    until(lambda: mac.fake.job(LABEL)["pid"] is None)
    until(lambda: not running.is_alive(entry))
    os.kill(function, 0)
    verdict.settle(mac.folders, mac.host, "demo")

    assert mac.results() == ["killed"]
    assert "Z" in (files.read(_status(function)) or "State:\tZ").partition("State:\t")[2][:1]


def _status(pid: int):
    from pathlib import Path

    return Path(f"/proc/{pid}/status")


# the machine's clock


def test_a_plist_of_a_clock_that_the_machine_has_left_is_told_and_made_up_for(
    started: Mac,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert started.host.strayed() == {}
    until(lambda: not started.fake.job(LABEL)["minder"])  # it looks for what was missed when it is loaded
    started.folders.last("demo").write_text("1000.000000\n")
    monkeypatch.setattr(calendar, "local_zone", lambda: "Asia/Kathmandu")

    assert started.host.strayed() == {"demo": 1000.0}
    wanted = started.host.render(TASK, ["/bin/true"])
    (finding,) = [it for it in checkup.of_task(TASK, wanted, "keep house") if "clock" in it.message]
    assert "Asia/Kathmandu" in finding.message
    assert "keep house" in finding.remedy

    started.write(NOON)
    assert started.host.arm(["demo"], started.host.strayed() or {"demo": 1000.0}) == []

    assert started.host.strayed() == {}
    until(lambda: started.results() == ["succeeded"])


def test_a_plist_that_goes_by_no_clock_never_strays(mac: Mac) -> None:  # noqa: F811
    assert arming.machine_of({"ProgramArguments": ["/bin/true", "--zone", "UTC"]}) == ""


# agents that launchd has not loaded


def test_agents_that_should_be_loaded_and_are_not_are_found(started: Mac) -> None:  # noqa: F811
    assert not [*checkup.agents(started.folders)]

    started.fake.end()  # and at the next login Login Items keep launchd from loading them

    (finding,) = checkup.agents(started.folders)
    assert finding.severity is Severity.ERROR
    assert "Login Items" in finding.remedy


def test_a_scheduler_that_was_stopped_is_a_warning(started: Mac) -> None:  # noqa: F811
    started.host.stop_system()

    (finding,) = checkup.agents(started.folders)
    assert (finding.severity, finding.remedy) == (Severity.WARNING, "`keiji system start`")


def test_a_bus_that_was_stopped_or_is_not_loaded_is_a_warning(with_bus: Mac) -> None:  # noqa: F811
    loading.unload(names.BUS)
    assert [it.message for it in checkup.agents(with_bus.folders)] == [
        "launchd has not loaded the bus's agent"
    ]

    with_bus.host.stop_bus(stay=True)

    (finding,) = checkup.agents(with_bus.folders)
    assert (finding.severity, finding.remedy) == (Severity.WARNING, "`keiji system start --bus`")
