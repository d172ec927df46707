"""`keiji doctor` on a real manager: one thing is broken at a time, found alone, and mended by its remedy."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

PRINTS = "def function():\n    print('ran')\n"
NIGHTLY = 'Schedule().on().every_day().at("02:30").in_timezone("Europe/Berlin")'
UNITS = Path(os.environ.get("XDG_CONFIG_HOME", "/nowhere"), "systemd", "user")
BUS_UNIT = Path(os.environ.get("XDG_DATA_HOME", "/nowhere"), "systemd", "user", "io.keiji.Bus1.service")
LINGER = Path("/var/lib/systemd/linger", pwd.getpwuid(os.getuid()).pw_name)


class Patient:
    """A started keiji with the built task t, and what may be done to it."""

    def __init__(self, keiji: Any, systemctl: Callable[..., str], bin: Path) -> None:
        self.keiji = keiji
        self.systemctl = systemctl
        self.run = keiji.home / "run"
        self.environment = {**keiji.environment, "PATH": f"{bin}:{os.environ['PATH']}"}

    def findings(self) -> list[dict[str, str]]:
        """What is found but for notes; the exit status must fit to it."""
        done = subprocess.run(
            [sys.executable, "-m", "keiji", "doctor", "--json"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        found = json.loads(done.stdout)
        assert done.returncode == any(it["severity"] == "error" for it in found), done.stderr
        return [it for it in found if it["severity"] != "note"]

    def carry_out(self, remedy: str) -> None:
        """Type what the remedy has in backquotes, one after the other."""
        for command in re.findall("`([^`]+)`", remedy):
            done = subprocess.run(
                ["bash", "-c", command], env=self.environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def fails_with(self, unit: str, command: str) -> Path:
        """A drop-in that has the unit execute something else."""
        folder = UNITS / f"{unit}.d"
        folder.mkdir()
        (folder / "test.conf").write_text(f"[Service]\nExecStart=\nExecStart={command}\n")
        self.systemctl("daemon-reload")
        return folder

    def entry(self, folder: str, name: str, text: str, age: float) -> None:
        path = self.run / folder / name
        path.write_text(text)
        os.utime(path, (time.time() - age, time.time() - age))


@pytest.fixture
def patient(keiji, systemctl, tmp_path) -> Iterator[Patient]:
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "keiji"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m keiji "$@"\n')
    shim.chmod(0o755)
    LINGER.touch()
    keiji("init")
    keiji.write_task("t", PRINTS, NIGHTLY)
    keiji("task", "build", "t")
    keiji("system", "start")
    yield Patient(keiji, systemctl, tmp_path / "bin")
    LINGER.unlink(missing_ok=True)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# -- what is broken, and how it is called ------------------------------------------------------


def scheduler_died(it: Patient) -> None:
    it.systemctl("stop", "keiji.target")


def scheduler_is_not_enabled(it: Patient) -> None:
    (UNITS / "default.target.wants" / "keiji.target").unlink()


def scheduler_s_link_points_to_nothing(it: Patient) -> None:
    points_to_nothing(UNITS / "default.target.wants" / "keiji.target")


def housekeeping_s_link_points_to_nothing(it: Patient) -> None:
    points_to_nothing(UNITS / "keiji.target.wants" / "io.keiji.housekeeping.timer")


def task_s_link_points_to_nothing(it: Patient) -> None:
    points_to_nothing(UNITS / "keiji.target.wants" / "keiji-t.timer")


def points_to_nothing(link: Path) -> None:
    link.unlink()
    link.symlink_to("/dev/null")


def scheduler_was_stopped(it: Patient) -> None:
    it.keiji("system", "stop", "--scheduler")


def timer_was_stopped(it: Patient) -> None:
    it.systemctl("stop", "keiji-t.timer")


def housekeeping_was_stopped(it: Patient) -> None:
    it.systemctl("stop", "io.keiji.housekeeping.timer")


def bus_was_stopped(it: Patient) -> None:
    it.keiji("system", "stop", "--bus")


def bus_is_masked(it: Patient) -> None:
    it.systemctl("mask", "io.keiji.Bus1.service")


def bus_unit_is_covered(it: Patient) -> None:
    shutil.copy(BUS_UNIT, UNITS)
    it.systemctl("daemon-reload")


def bus_unit_can_not_be_read(it: Patient) -> None:
    change(BUS_UNIT, "ExecStart=", "# ")
    it.systemctl("daemon-reload")


def bus_is_older(it: Patient) -> None:
    """Its process began before keiji was upgraded."""
    code = "import keiji; keiji.__version__ = '0.0.1'; from keiji.bus.dbus import main; main()"
    drop_in = it.fails_with("io.keiji.Bus1.service", f'{sys.executable} -c "{code}"')
    it.systemctl("start", "io.keiji.Bus1.service")
    shutil.rmtree(drop_in)
    it.systemctl("daemon-reload")


def bus_serves_another_home(it: Patient) -> None:
    other = it.keiji.home.with_name("other")
    shutil.copytree(it.keiji.home, other, symlinks=True)
    change(BUS_UNIT, f"KEIJI_HOME={it.keiji.home}", f"KEIJI_HOME={other}")
    it.systemctl("daemon-reload")
    it.systemctl("start", "io.keiji.Bus1.service")
    change(BUS_UNIT, f"KEIJI_HOME={other}", f"KEIJI_HOME={it.keiji.home}")
    it.systemctl("daemon-reload")


def session_bus_ended(it: Patient) -> None:
    it.systemctl("stop", "dbus.socket", "dbus.service")


def own_unit_is_gone(it: Patient) -> None:
    (UNITS / "io.keiji.housekeeping.timer").unlink()


def bus_unit_is_gone(it: Patient) -> None:
    BUS_UNIT.unlink()
    it.systemctl("daemon-reload")


def own_unit_was_changed(it: Patient) -> None:
    change(UNITS / "io.keiji.failed.service", "Type=oneshot", "Type=simple")


def own_unit_lost_its_link(it: Patient) -> None:
    (UNITS / "keiji.target.wants" / "io.keiji.startup.service").unlink()


def interpreter_is_gone(it: Patient) -> None:
    use_interpreter(it, "/nowhere/bin/python")


def package_is_gone(it: Patient) -> None:
    use_interpreter(it, "/usr/bin/python3")


def use_interpreter(it: Patient, python: str) -> None:
    """As if keiji had been installed by another way before, which is removed now."""
    for path in (*UNITS.glob("io.keiji.*.service"), BUS_UNIT):
        change(path, f"ExecStart={sys.executable}", f"ExecStart={python}")
    it.systemctl("daemon-reload")


def housekeeping_failed(it: Patient) -> None:
    drop_in = it.fails_with("io.keiji.housekeeping.service", "/bin/false")
    it.systemctl("start", "io.keiji.housekeeping.service")
    shutil.rmtree(drop_in)
    it.systemctl("daemon-reload")


def unit_was_changed(it: Patient) -> None:
    change(UNITS / "keiji-t.timer", "Persistent=true", "Persistent=false")


def unit_is_gone(it: Patient) -> None:
    (UNITS / "keiji-t.service").unlink()


def zone_data_is_newer(it: Patient) -> None:
    path = UNITS / "keiji-t.timer"
    path.write_text(re.sub(r"by tzdata \w+", "by tzdata 2001a", path.read_text()))
    it.systemctl("daemon-reload")


def task_executes_something_else(it: Patient) -> None:
    it.fails_with("keiji-t.service", "/bin/true")


def timer_was_put_off(it: Patient) -> None:
    folder = UNITS / "keiji-t.timer.d"
    folder.mkdir()
    (folder / "my own.conf").write_text("[Timer]\nOnCalendar=\nOnCalendar=2099-01-01\n")
    it.systemctl("daemon-reload")


def all_services_are_changed(it: Patient) -> None:
    (UNITS / "service.d").mkdir()
    (UNITS / "service.d" / "no.conf").write_text("[Service]\nExecStart=\nExecStart=/bin/true\n")
    it.systemctl("daemon-reload")


def manager_has_read_something_else(it: Patient) -> None:
    change(UNITS / "keiji-t.timer", "OnCalendar=", "OnCalendar=2099-01-01\n#")
    it.systemctl("daemon-reload")
    it.systemctl("restart", "keiji-t.timer")
    change(UNITS / "keiji-t.timer", "OnCalendar=2099-01-01\n#", "OnCalendar=")


def manager_waits_for_something_else(it: Patient) -> None:
    """The file's time tells nothing, as after `cp -p`."""
    then = (UNITS / "keiji-t.timer").stat().st_mtime
    manager_has_read_something_else(it)
    os.utime(UNITS / "keiji-t.timer", (then, then))


def record_is_gone(it: Patient) -> None:
    with closing(sqlite3.connect(it.keiji.home / "db" / "keiji.db")) as database:
        database.execute("DELETE FROM task")
        database.commit()


def current_is_gone(it: Patient) -> None:
    builds = it.keiji.home / "exec" / "tasks" / "t"
    shutil.rmtree((builds / "current").resolve())


def environment_is_gone(it: Patient) -> None:
    shutil.rmtree((it.keiji.home / "venv" / "current").resolve())


def failure_was_not_seen(it: Patient) -> None:
    handler = it.fails_with("io.keiji.failed.service", "/bin/true")
    over = it.keiji.home.parent / "over"
    after = it.fails_with("io.keiji.failed-after.service", f"/bin/touch {over}")
    task = it.fails_with("keiji-t.service", "/nowhere/python")
    it.systemctl("start", "keiji-t.service")
    while not over.exists():  # else the true one would be the last to look
        time.sleep(0.02)
    for drop_in in (handler, after, task):
        shutil.rmtree(drop_in)
    it.systemctl("daemon-reload")


def database_is_gone(it: Patient) -> None:
    (it.keiji.home / "db" / "keiji.db").unlink()


def home_is_open(it: Patient) -> None:
    it.keiji.home.chmod(0o755)


def secrets_are_open(it: Patient) -> None:
    (it.keiji.workspace / "tasks" / "t" / ".env").chmod(0o644)


def folder_is_gone(it: Patient) -> None:
    shutil.rmtree(it.run / "done")


ENTRY = "keiji 1\nid={id}\ntask=t\nbuild=b\npid=4194305\nboot={boot}\nwhy=timer\nbegan=1700000000.000000\n"
END = "ended=1700000001.000000\nresult=succeeded\nattempts=1\nend\n"


def records_wait(it: Patient) -> None:
    run = "a" * 32
    it.entry("done", run, ENTRY.format(id=run, boot="b") + END, 3 * 3600)


def run_died(it: Patient) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    it.entry("running", "t", ENTRY.format(id="a" * 32, boot=boot), 600)


def run_file_was_set_aside(it: Patient) -> None:
    it.entry("damaged", "t", "", 0)


def change_was_cut_short(it: Patient) -> None:
    it.entry("stale", "t", "restart", 600)


def first_build_was_cut_short(it: Patient) -> None:
    it.keiji.write_task("new", PRINTS, NIGHTLY)
    it.entry("stale", "new", "", 600)


def request_was_cut_short(it: Patient) -> None:
    it.entry("requested", "t", "", 600)


def stop_was_cut_short(it: Patient) -> None:
    it.entry("stopping", "t", "*", 600)


MENDED = [
    (scheduler_died, "scheduler", "error"),
    (scheduler_is_not_enabled, "scheduler", "error"),
    (scheduler_s_link_points_to_nothing, "scheduler", "error"),
    (housekeeping_s_link_points_to_nothing, "own-units", "error"),
    (task_s_link_points_to_nothing, "units", "error"),
    (housekeeping_was_stopped, "scheduler", "error"),
    (scheduler_was_stopped, "scheduler", "warning"),
    (timer_was_stopped, "timers", "error"),
    (bus_was_stopped, "bus", "warning"),
    (bus_is_masked, "bus", "error"),
    (bus_unit_is_covered, "bus", "error"),
    (bus_is_older, "bus", "warning"),
    (bus_serves_another_home, "bus", "error"),
    (session_bus_ended, "session-bus", "error"),
    (own_unit_is_gone, "own-units", "error"),
    (bus_unit_is_gone, "own-units", "error"),
    (own_unit_was_changed, "own-units", "error"),
    (own_unit_lost_its_link, "own-units", "error"),
    (interpreter_is_gone, "own-units", "error"),
    (package_is_gone, "own-units", "error"),
    (housekeeping_failed, "own-failures", "error"),
    (unit_was_changed, "units", "error"),
    (unit_is_gone, "units", "error"),
    (zone_data_is_newer, "units", "warning"),
    (task_executes_something_else, "loaded", "warning"),
    (timer_was_put_off, "loaded", "warning"),
    (all_services_are_changed, "loaded", "warning"),
    (manager_has_read_something_else, "loaded", "warning"),
    (manager_waits_for_something_else, "loaded", "error"),
    (record_is_gone, "units", "error"),
    (current_is_gone, "builds", "error"),
    (environment_is_gone, "builds", "error"),
    (failure_was_not_seen, "failures", "error"),
    (database_is_gone, "database", "error"),
    (home_is_open, "folders", "warning"),
    (secrets_are_open, "secrets", "warning"),
    (folder_is_gone, "subfolders", "error"),
    (records_wait, "records", "error"),
    (run_died, "runs", "error"),
    (change_was_cut_short, "changes", "warning"),
    (first_build_was_cut_short, "changes", "warning"),
    (request_was_cut_short, "changes", "warning"),
    (stop_was_cut_short, "changes", "warning"),
    (run_file_was_set_aside, "damaged", "warning"),
]


@pytest.mark.parametrize(("spoil", "check", "severity"), MENDED, ids=[it[0].__name__ for it in MENDED])
def test_what_is_broken_is_found_alone_and_its_remedy_mends_it(patient, spoil, check, severity):
    spoil(patient)

    (found,) = patient.findings()
    assert (found["check"], found["severity"]) == (check, severity), found

    patient.carry_out(found["remedy"])

    assert patient.findings() == []


def test_a_started_keiji_is_fine_and_says_by_how_many_checks(patient):
    said = patient.keiji("doctor").stdout.splitlines()[-1]

    assert re.fullmatch(r"everything is fine: \d\d checks", said)


def test_a_look_starts_nothing_and_writes_nothing(patient):
    def everything() -> dict[str, object]:
        home = patient.keiji.home.parent
        found = {
            path: path.lstat() for folder in (home, UNITS, BUS_UNIT.parent) for path in folder.rglob("*")
        }
        # SQLite makes files beside the database while it reads
        return {
            str(path): (seen.st_mode, seen.st_size) for path, seen in found.items() if "db" not in path.parts
        }

    def loaded() -> str:
        return patient.systemctl("list-units", "--all", "--plain", "--no-legend", "--full", "*keiji*")

    before, units = everything(), loaded()

    assert patient.findings() == []

    assert (everything(), loaded()) == (before, units)
    assert patient.systemctl("is-active", "io.keiji.Bus1.service") == "inactive"


def test_a_torn_run_file_that_blocks_its_task_is_set_aside_by_the_remedy(patient):
    patient.entry("running", "t", "", 600)

    (torn,) = patient.findings()
    patient.carry_out(torn["remedy"])
    (kept,) = patient.findings()

    assert (torn["check"], torn["severity"], torn["task"]) == ("runs", "error", "t")
    assert (kept["check"], kept["severity"]) == ("damaged", "warning")
    assert not (patient.run / "running" / "t").exists()


def test_lingering_that_is_off_is_an_error_that_init_tells_too(patient):
    LINGER.unlink()

    (found,) = patient.findings()

    assert (found["check"], found["severity"]) == ("lingering", "error")
    assert found["remedy"] == f"`{'sudo ' * (os.getuid() != 0)}loginctl enable-linger {LINGER.name}`"
    assert found["message"] in patient.keiji("init").stderr


def test_a_timer_without_a_next_time_is_found_though_it_is_active(patient):
    folder = UNITS / "keiji-t.timer.d"
    folder.mkdir()
    (folder / "past.conf").write_text("[Timer]\nOnCalendar=\nOnCalendar=2020-01-01\n")
    patient.systemctl("daemon-reload")
    patient.systemctl("restart", "keiji-t.timer")
    assert patient.systemctl("is-active", "keiji-t.timer") == "active"

    (found, why) = patient.findings()

    assert why["check"] == "loaded"
    assert (found["check"], found["severity"], found["task"]) == ("timers", "error", "t")
    shutil.rmtree(folder)
    patient.systemctl("daemon-reload")
    patient.carry_out(found["remedy"])
    assert patient.findings() == []


def test_a_task_for_each_boot_that_has_fired_is_fine(patient, wait_for):
    patient.keiji.write_task("boot", PRINTS, "Schedule().at_boot()")
    patient.keiji("task", "build", "boot")
    patient.keiji("system", "restart")

    wait_for(lambda: "elapsed" in patient.systemctl("show", "-P", "SubState", "keiji-boot.timer"), "its time")

    assert patient.findings() == []


def test_another_time_zone_in_the_settings_is_found_until_it_is_rendered(patient):
    patient.keiji.write_task("local", PRINTS, 'Schedule().on().every_day().at("09:00")')
    patient.keiji("task", "build", "local")
    settings = patient.keiji.workspace / "settings.conf"
    settings.write_text("TIME_ZONE=Asia/Tokyo\n")

    (found,) = patient.findings()

    assert (found["check"], found["task"]) == ("units", "local")
    patient.carry_out(found["remedy"])
    assert patient.findings() == []


def test_wrong_settings_are_found_with_what_they_keep_from_being_looked_at(patient):
    settings = patient.keiji.workspace / "settings.conf"
    settings.write_text("TIME_ZONE=Nowhere\nROTATE=1\n")

    (wrong,) = patient.findings()
    settings.write_text("TIME_ZONE=UTC\nROTATE=1\n")
    (unknown,) = patient.findings()

    assert (wrong["check"], wrong["severity"]) == ("settings", "error")
    assert f"{settings}, line 1: TIME_ZONE" in wrong["message"]
    assert (unknown["check"], unknown["severity"]) == ("settings", "warning")


def test_a_database_that_another_program_keeps_locked_is_found(patient):
    with closing(sqlite3.connect(patient.keiji.home / "db" / "keiji.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        (found,) = patient.findings()

    assert (found["check"], found["severity"]) == ("database", "error")


def test_keiji_s_own_services_are_deaf_to_what_the_manager_is_told_of_modules(patient):
    patient.systemctl("set-environment", "PYTHONHOME=/nowhere", "PYTHONPATH=/nowhere")
    try:
        patient.systemctl("start", "io.keiji.housekeeping.service", "io.keiji.failed.service")
    finally:
        patient.systemctl("unset-environment", "PYTHONHOME", "PYTHONPATH")

    assert patient.findings() == []


def test_held_and_disabled_tasks_are_no_fault_of_the_machine(patient):
    patient.keiji.write_task("bad", "def function():\n    raise ValueError('no')\n", NIGHTLY)
    patient.keiji("task", "build", "bad")
    patient.keiji("task", "run", "bad", status=1)
    patient.keiji("task", "disable", "t")

    said = patient.keiji("doctor").stdout

    assert "note: bad: it is held since " in said
    assert "ValueError: no\n  remedy: see `keiji task logs bad`, then `keiji task resolve bad`\n" in said
    assert "note: t: it is disabled\n  remedy: `keiji task enable t`\n" in said
    assert "everything is fine" in said


def test_a_run_that_goes_on_and_one_that_failed_are_no_faults(patient, tmp_path, wait_for):
    waits = "import time\n\n\ndef function():\n    time.sleep(600)\n"
    patient.keiji.write_task("long", waits, NIGHTLY)
    patient.keiji.write_task("bad", "import os\n\n\ndef function():\n    os.abort()\n", NIGHTLY)
    patient.keiji("task", "build", "--all")
    patient.systemctl("start", "--no-block", "keiji-long.service")
    patient.keiji("task", "run", "bad", status=134)
    wait_for((patient.run / "running" / "long").exists, "the long run")

    assert patient.findings() == []


def test_where_nothing_is_there_the_way_to_a_beginning_is_told(keiji):
    said = keiji("doctor", status=1).stdout

    assert f"error: there is no keiji in {keiji.home}" in said
    assert "remedy: `keiji init`" in said
    assert not keiji.home.exists()


def test_it_works_where_half_of_the_world_is_broken(patient):
    shutil.rmtree(patient.run / "running")
    (patient.keiji.home / "db" / "keiji.db").write_bytes(b"rubbish" * 1000)
    (patient.keiji.workspace / "settings.conf").write_text("LOG_MAX_SIZE=much\n")
    shutil.rmtree(patient.keiji.home / "exec")
    patient.environment["PATH"] = str(Path(sys.executable).parent)  # no systemctl, journalctl, …

    found = patient.findings()

    checks = {it["check"]: it for it in found}
    assert {"subfolders", "manager", "journal"} <= {*checks}
    assert "systemctl is not on PATH" in checks["manager"]["message"]
    assert all(it["remedy"] for it in found)
