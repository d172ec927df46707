"""What is found to keep directives from the bus service; systemd's programs are stand-ins."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from standing_in import Programs

from keiji import __version__
from keiji.findings import Finding, Severity
from keiji.folders import Folders
from keiji.systemd import bus_checkup, bus_unit, checkup

FAILED = {"ActiveState": "failed", "Result": "exit-code"}


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path / "keiji", tmp_path / ".keiji")


@pytest.fixture(autouse=True)
def installed(programs: Programs, folders: Folders) -> None:
    """The unit is installed, idle, and known to the session bus."""
    bus_unit.write_files(folders)
    programs.unit_is(FragmentPath=str(bus_unit.unit_path()))
    programs.answer("ListActivatableNames", said='as 2 "org.freedesktop.DBus" "io.keiji.Bus1"\n')


def runs(programs: Programs, version: str, home: Path) -> None:
    programs.bus_has_owner(True)
    programs.answer("Ping", said=json.dumps({"type": "ss", "data": [version, str(home)]}))


def only(found: Iterable[Finding], severity: Severity = Severity.ERROR) -> Finding:
    (finding,) = found
    assert finding.severity is severity
    return finding


# the session bus


def test_a_session_bus_that_answers_is_fine() -> None:
    assert list(bus_checkup.session_bus()) == []


@pytest.mark.parametrize(
    ("state", "remedy"), [("loaded", "restart dbus.socket"), ("not-found", "apt install dbus-user-session")]
)
def test_a_session_bus_that_does_not_answer_is_an_error(programs: Programs, state: str, remedy: str) -> None:
    programs.answer("GetId", 1)
    programs.answer("dbus.socket", said=f"LoadState={state}\n")

    assert remedy in only(bus_checkup.session_bus()).remedy


def test_a_session_bus_that_is_frozen_is_an_error(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    (programs.folder / "bin" / "busctl").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(bus_checkup, "_PATIENCE", 0.2)

    assert "is frozen" in only(bus_checkup.session_bus()).message


# the service


def test_an_idle_service_is_fine_and_is_not_started(programs: Programs, folders: Folders) -> None:
    assert list(bus_checkup.service(folders)) == []
    assert not programs.asked("start")
    assert not programs.asked("Ping")


def test_a_service_of_this_version_and_home_is_fine(programs: Programs, folders: Folders) -> None:
    runs(programs, __version__, folders.home)

    assert list(bus_checkup.service(folders)) == []


def test_one_that_was_stopped_on_purpose_is_a_warning(folders: Folders) -> None:
    bus_unit.mask_path().parent.mkdir(parents=True)
    bus_unit.mask_path().symlink_to("/dev/null")

    assert only(bus_checkup.service(folders), Severity.WARNING).remedy == "`keiji system start --bus`"


def test_one_that_somebody_masked_is_an_error(programs: Programs, folders: Folders) -> None:
    programs.unit_is(LoadState="masked", FragmentPath="/home/ada/.config/x.service")

    found = only(bus_checkup.service(folders))
    assert "/home/ada/.config/x.service" in found.message
    assert found.remedy == "`systemctl --user unmask io.keiji.Bus1.service`"


def test_a_unit_that_the_manager_does_not_see_is_an_error(programs: Programs, folders: Folders) -> None:
    programs.unit_is(LoadState="not-found", FragmentPath="")

    assert "does not look into" in only(bus_checkup.service(folders)).message


def test_a_unit_that_is_gone_is_left_to_the_check_of_the_units(folders: Folders) -> None:
    bus_unit.remove_files()

    assert list(bus_checkup.service(folders)) == []


def test_another_file_in_the_unit_s_place_is_an_error(programs: Programs, folders: Folders) -> None:
    programs.unit_is(FragmentPath="/etc/systemd/user/io.keiji.Bus1.service")

    found = only(bus_checkup.service(folders))
    assert "/etc/systemd/user/io.keiji.Bus1.service is used in the place" in found.message
    assert "`rm /etc/systemd/user/io.keiji.Bus1.service && " in found.remedy


def test_a_unit_that_can_not_be_read_is_an_error(programs: Programs, folders: Folders) -> None:
    programs.unit_is(LoadState="bad-setting", FragmentPath=str(bus_unit.unit_path()))

    assert "bad-setting" in only(bus_checkup.service(folders)).message


def test_one_that_does_not_answer_is_an_error(programs: Programs, folders: Folders) -> None:
    programs.bus_has_owner(True)
    programs.answer("Ping", 1)

    assert only(bus_checkup.service(folders)).remedy == "`keiji system restart --bus`"


def test_one_of_another_home_is_an_error(programs: Programs, folders: Folders) -> None:
    runs(programs, __version__, Path("/home/ada/other"))

    assert "serves the keiji in /home/ada/other" in only(bus_checkup.service(folders)).message


def test_one_of_another_version_is_a_warning(programs: Programs, folders: Folders) -> None:
    runs(programs, "0.0.1", folders.home)

    found = only(bus_checkup.service(folders), Severity.WARNING)
    assert "keiji 0.0.1" in found.message
    assert found.remedy == "`keiji system restart --bus`"


def test_one_that_failed_on_its_way_up_is_an_error(programs: Programs, folders: Folders) -> None:
    programs.unit_is(FragmentPath=str(bus_unit.unit_path()), **FAILED)

    assert "could not be started" in only(bus_checkup.service(folders)).message


def test_one_whose_program_is_gone_is_left_to_the_check_of_the_units(
    programs: Programs, folders: Folders
) -> None:
    gone = "{ path=/nowhere/python ; argv[]=/nowhere/python -m x }"
    programs.unit_is(FragmentPath=str(bus_unit.unit_path()), ExecStart=gone, **FAILED)

    assert list(bus_checkup.service(folders)) == []


def test_one_that_other_programs_can_not_start_is_a_warning(programs: Programs, folders: Folders) -> None:
    programs.answer("ListActivatableNames", said='as 1 "org.freedesktop.DBus"\n')

    found = only(bus_checkup.service(folders), Severity.WARNING)
    assert str(bus_unit.activation_path().parent) in found.message


# on a loopback socket


@pytest.fixture
def on_loopback(programs: Programs, folders: Folders) -> None:
    bus_unit.write_files(folders, is_loopback=True)
    programs.unit_is(ActiveState="active", FragmentPath=str(bus_unit.unit_path()))


@pytest.mark.usefixtures("on_loopback")
def test_a_service_on_a_loopback_socket_that_answers_is_fine_without_a_session_bus(
    programs: Programs, folders: Folders
) -> None:
    answer = (__version__, str(folders.home))

    assert not list(bus_checkup.service(folders, lambda: answer))
    assert not programs.asked("busctl")
    assert bus_checkup.SESSION_BUS not in [check.name for check in checkup.checks(folders, lambda: answer)]


@pytest.mark.usefixtures("on_loopback")
def test_a_service_on_a_loopback_socket_that_does_not_answer_is_told(folders: Folders) -> None:
    found = only(bus_checkup.service(folders, lambda: None))

    assert found.message == "the bus runs and does not answer"
