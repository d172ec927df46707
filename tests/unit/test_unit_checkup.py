"""Unit files are held against what would be written now, and their commands are looked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from recording import a_task, new_home
from standing_in import Programs

from keiji import files
from keiji.findings import Finding, Severity
from keiji.folders import Folders
from keiji.schedule import Schedule
from keiji.systemd import bus_unit, calendar, names, unit_checkup, units
from keiji.systemd.manager import SystemdHost
from keiji.task import Task

COMMAND = ["/usr/bin/python3.11", "start.pyc"]
NIGHTLY = Schedule().on().every_day().at("02:30")  # comes near the changes of clocks
UPDATE = "`keiji system update`"


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    names.unit_folder().mkdir(parents=True)
    return new_home(tmp_path)


def in_zone(zone: str = "Europe/Berlin") -> Task:
    return a_task(schedule=NIGHTLY.in_zone(zone))


def install(folders: Folders, task: Task, days_ago: float = 0) -> None:
    """The units as they were written so long ago."""
    then = datetime.now(timezone.utc) - timedelta(days=days_ago)
    for name, text in units.render_task(folders, task, COMMAND, then).items():
        path = names.unit_folder() / name
        files.write(path, text)
        os.utime(path, (then.timestamp(), then.timestamp()))


def found(folders: Folders, task: Task) -> list[Finding]:
    return list(unit_checkup.of_task(folders, task, COMMAND))


def only(found: Iterable[Finding], severity: Severity = Severity.ERROR) -> Finding:
    (finding,) = found
    assert finding.severity is severity
    return finding


# a task's units


@pytest.mark.parametrize("days_ago", [0, 1, 300, 2000, 3280])
def test_units_that_are_right_stay_right_as_time_goes_by(folders: Folders, days_ago: float) -> None:
    install(folders, in_zone(), days_ago)

    assert found(folders, in_zone()) == []


def test_less_than_a_year_of_known_clock_changes_is_a_warning(folders: Folders) -> None:
    install(folders, in_zone(), days_ago=3400)

    finding = only(found(folders, in_zone()), Severity.WARNING)
    assert (finding.task, finding.remedy) == ("ping", UPDATE)
    assert "are unknown to its units" in finding.message


def test_a_period_knows_no_clock_changes_and_grows_never_old(folders: Folders) -> None:
    install(folders, a_task(), days_ago=9000)

    assert found(folders, a_task()) == []


def test_another_zone_is_an_error_that_names_both(folders: Folders) -> None:
    install(folders, in_zone("Europe/Berlin"))

    finding = only(found(folders, in_zone("America/New_York")))
    assert (finding.task, finding.remedy) == ("ping", UPDATE)
    assert finding.message == "its units go by Europe/Berlin, and TIME_ZONE is America/New_York now"


@pytest.mark.parametrize("name", [names.service("ping"), names.timer("ping")])
def test_a_line_that_was_changed_by_hand_is_an_error(folders: Folders, name: str) -> None:
    install(folders, in_zone())
    path = names.unit_folder() / name
    then = path.stat().st_mtime
    path.write_text(path.read_text().replace("StartLimitIntervalSec=0", "StartLimitIntervalSec=10"))
    os.utime(path, (then, then))

    assert only(found(folders, in_zone())).message == f"{name} is not what keiji writes now"


def test_newer_zone_data_with_the_same_times_is_a_warning(folders: Folders, monkeypatch) -> None:
    monkeypatch.setattr(calendar, "tzdata_version", lambda: "2020a")
    install(folders, in_zone())
    monkeypatch.setattr(calendar, "tzdata_version", lambda: "2026b")

    finding = only(found(folders, in_zone()), Severity.WARNING)
    assert "tzdata 2020a" in finding.message
    assert "2026b" in finding.message


@pytest.mark.parametrize("gone", [[names.service("ping")], [names.service("ping"), names.timer("ping")]])
def test_a_missing_file_is_an_error(folders: Folders, gone: list[str]) -> None:
    install(folders, in_zone())
    for name in gone:
        (names.unit_folder() / name).unlink()

    finding = only(found(folders, in_zone()))
    assert all(name in finding.message for name in gone)


@pytest.mark.parametrize("target", ["/dev/null", "../gone.timer"])
def test_a_link_that_points_elsewhere_is_an_error_that_enabling_mends(folders: Folders, target: str) -> None:
    install(folders, in_zone())
    host, link = SystemdHost(folders), names.wanted_folder() / names.timer("ping")
    link.parent.mkdir()
    link.symlink_to(target)

    finding = only(found(folders, in_zone()))
    assert (finding.message.split()[0], finding.remedy) == (str(link), "`keiji task enable ping`")
    assert not host.is_enabled("ping")
    host.set_enabled("ping", True)
    assert host.is_enabled("ping")
    assert found(folders, in_zone()) == []


def test_a_link_of_systemctl_s_own_is_as_good(folders: Folders) -> None:
    install(folders, in_zone())
    names.wanted_folder().mkdir()
    (names.wanted_folder() / names.timer("ping")).symlink_to(names.unit_folder() / names.timer("ping"))

    assert SystemdHost(folders).is_enabled("ping")
    assert found(folders, in_zone()) == []


# keiji's own units


@pytest.fixture
def own(folders: Folders, programs: Programs) -> Folders:
    """keiji's own units are installed, and the manager has them."""
    for name, text in units.render_own(folders).items():
        files.write(names.unit_folder() / name, text)
    bus_unit.write_files(folders)
    for link in names.own_links():
        link.parent.mkdir(exist_ok=True)
        files.link(link, f"../{link.name}")
    executes(programs, sys.executable)
    return folders


def executes(programs: Programs, python: object) -> None:
    started = f"ExecStart={{ path={python} ; argv[]={python} -m x ; ignore_errors=no }}"
    services = ("io.keiji.failed.service", "io.keiji.Bus1.service")
    programs.answer("show", said="\n\n".join(f"Id={name}\n{started}" for name in services) + "\n")


def program(folder: Path, text: str) -> Path:
    path = folder / "python9"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_own_units_that_are_right_are_not_spoken_of(own: Folders) -> None:
    assert list(unit_checkup.own(own)) == []


def test_where_there_are_none_init_is_the_remedy(folders: Folders) -> None:
    assert only(unit_checkup.own(folders)).remedy == "`keiji init`"


@pytest.mark.parametrize("path", [names.HOUSEKEEPING, "io.keiji.failed.service"])
def test_an_own_unit_that_is_gone_is_an_error(own: Folders, path: str) -> None:
    (names.unit_folder() / path).unlink()

    finding = only(unit_checkup.own(own))
    assert (finding.message, finding.remedy) == (f"{names.unit_folder() / path} is gone", UPDATE)


def test_an_own_unit_that_was_changed_is_an_error(own: Folders) -> None:
    with bus_unit.activation_path().open("a") as file:
        file.write("# mine\n")

    assert f"{bus_unit.activation_path()} is not what keiji writes" in only(unit_checkup.own(own)).message


def test_an_own_unit_that_does_not_start_with_the_target_is_an_error(own: Folders) -> None:
    (names.wanted_folder() / names.HOUSEKEEPING).unlink()

    assert only(unit_checkup.own(own)).remedy == UPDATE
    (names.wanted_folder() / names.HOUSEKEEPING).symlink_to("/dev/null")
    assert "points elsewhere" in only(unit_checkup.own(own)).message


def test_an_interpreter_that_is_gone_is_told_once_and_nothing_else_of_its_units(
    own: Folders, programs: Programs
) -> None:
    executes(programs, "/nowhere/python")
    for path in (names.unit_folder() / "io.keiji.failed.service", bus_unit.unit_path()):
        path.write_text(path.read_text().replace(sys.executable, "/nowhere/python"))

    finding = only(unit_checkup.own(own))
    assert finding.message.startswith("/nowhere/python, which io.keiji.failed.service, io.keiji.Bus1.service")
    assert finding.message.endswith("is gone")
    assert finding.remedy == UPDATE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exit 1", "has no keiji any more"),
        ("exit 0", "does not say that it has keiji"),
        ("echo 0.0.1", "has keiji 0.0.1, and this is"),
        ("exec sleep 60", "does not run"),
    ],
)
def test_an_interpreter_that_can_not_run_this_keiji_is_an_error(
    own: Folders, programs: Programs, tmp_path: Path, monkeypatch, text: str, said: str
) -> None:
    monkeypatch.setattr(unit_checkup, "_PATIENCE", 0.5)
    executes(programs, program(tmp_path, text))

    assert said in only(unit_checkup.own(own)).message


def test_what_a_drop_in_has_own_units_execute_is_told_elsewhere(own: Folders, programs: Programs) -> None:
    drop_in = names.unit_folder() / "service.d" / "all.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nExecStart=\nExecStart=/bin/true\n")
    shown = "ExecStart={ path=/bin/true ; argv[]=/bin/true ; ignore_errors=no }"
    programs.answer("show", said=f"Id=io.keiji.failed.service\n{shown}\nDropInPaths={drop_in}\n")

    assert list(unit_checkup.own(own)) == []


def test_the_shell_s_own_paths_are_no_place_to_find_keiji_in(
    own: Folders, programs: Programs, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    executes(programs, program(tmp_path, '[ -z "$PYTHONPATH" ] && exec ' + sys.executable + ' "$@"'))

    assert list(unit_checkup.own(own)) == []


def test_units_of_another_home_are_told_and_not_compared(own: Folders, tmp_path: Path) -> None:
    other = new_home(tmp_path / "other")
    for name, text in units.render_own(other).items():
        files.write(names.unit_folder() / name, text)

    finding = only(unit_checkup.own(own))
    assert str(other.home) in finding.message
    assert f"KEIJI_HOME={other.home}" in finding.remedy
