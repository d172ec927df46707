"""What is found amiss with the machine and its user manager; systemd's programs are stand-ins."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from recording import new_home
from standing_in import Programs

from keiji import files, remedies
from keiji.findings import UNIT_FOLDER, Finding, Severity
from keiji.folders import Folders
from keiji.systemd import checkup, names

HOME = Folders(Path("/nowhere/keiji"), Path("/nowhere/.keiji"))


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine in good health: the person lingers, the journal is kept and shows something."""
    for place, name in (
        ("_LINGER", "linger"),
        ("_PERSISTENT", "journal"),
        ("_VOLATILE", "volatile"),
        ("_SOCKET", "socket"),
        ("_MACHINE", "machine-id"),
        ("_CONTAINER", "container"),
    ):
        monkeypatch.setattr(checkup, place, tmp_path / name)
    (tmp_path / "machine-id").write_text("a1b2\n")
    (tmp_path / "journal" / "a1b2").mkdir(parents=True)
    (tmp_path / "linger").mkdir()
    (tmp_path / "linger" / pwd.getpwuid(os.getuid()).pw_name).touch()
    (tmp_path / "socket").touch()
    programs.answer("journalctl", said="Startup finished\n")
    programs.answer("timedatectl", said="NTPSynchronized=yes\nCanNTP=yes\n")
    return tmp_path


def only(found: Iterable[Finding], severity: Severity = Severity.ERROR) -> Finding:
    (finding,) = found
    assert finding.severity is severity
    return finding


@pytest.mark.parametrize(
    "look", [checkup.lingering, checkup.manager, lambda: checkup.journal(HOME), checkup.clock]
)
def test_a_machine_in_good_health_has_nothing_found(look: Callable[[], Iterable[Finding]]) -> None:
    assert list(look()) == []


# lingering, manager


def test_lingering_that_is_off_is_an_error(machine: Path) -> None:
    next((machine / "linger").iterdir()).unlink()

    name = pwd.getpwuid(os.getuid()).pw_name
    assert only(checkup.lingering()).remedy.endswith(f"loginctl enable-linger {name}`")


@pytest.mark.parametrize(("uid", "by"), [(0, ""), (1000, "sudo ")])
def test_only_root_may_turn_lingering_on_everywhere(monkeypatch: pytest.MonkeyPatch, uid, by) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(remedies, "person", lambda: "ada")

    assert remedies.linger() == f"{by}loginctl enable-linger ada"


def test_a_manager_that_can_not_be_reached_is_an_error_in_systemd_s_words(programs: Programs) -> None:
    programs.answer("systemctl", 1, complaint="Failed to connect to bus: No medium found\nmore\n")

    found = only(checkup.manager())
    assert found.message == "no systemd user manager answers: Failed to connect to bus: No medium found"
    assert f"user@{os.getuid()}.service" in found.remedy


def test_a_machine_without_systemctl_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "systemctl is not on PATH" in only(checkup.manager()).message


# the folders of units


@pytest.mark.parametrize("name", ["", "keiji.target.wants", "default.target.wants"])
def test_a_folder_of_units_that_is_shut_is_one_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    shut = names.unit_folder() / name
    shut.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: path != shut)

    assert only(checkup.unit_folder()).remedy == f"`chmod u+rwx {shut}`"


def test_a_folder_of_units_that_is_not_there_is_no_fault() -> None:
    assert list(checkup.unit_folder()) == []


def test_a_shut_folder_of_units_is_told_once_and_not_by_each_check(machine, programs, tmp_path) -> None:
    dependent = {it.name for it in checkup.checks(new_home(tmp_path)) if UNIT_FOLDER in it.needs}

    assert {"own-units", "scheduler", "bus"} <= dependent


# the journal


def test_without_a_journal_it_is_told_where_the_files_are(machine: Path) -> None:
    (machine / "socket").unlink()

    assert f"in files in {HOME.logs}" in only(checkup.journal(HOME), Severity.NOTE).message


def test_where_the_journal_gave_nothing_back_it_is_told_where_the_files_are(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "keiji", tmp_path / ".keiji")
    folders.run.mkdir(parents=True)
    folders.filed.touch()

    found = only(checkup.journal(folders), Severity.NOTE)
    assert f"in files in {folders.logs}" in found.message
    assert "system update" in found.remedy


@pytest.mark.parametrize(("status", "complaint"), [(0, ""), (1, "No journal files were opened\n")])
def test_a_journal_that_shows_nothing_is_an_error(programs: Programs, status: int, complaint: str) -> None:
    programs.answer("journalctl", status, complaint=complaint)

    found = only(checkup.journal(HOME))
    assert "can't be read" in found.message
    assert complaint.strip() in found.message
    assert "-aG systemd-journal" in found.remedy


def test_where_none_is_kept_either_that_is_the_remedy(machine: Path, programs: Programs) -> None:
    """A journal that is kept is split by person, and each may read their own."""
    (machine / "journal" / "a1b2").rmdir()
    programs.answer("journalctl")

    assert "mkdir -p" in only(checkup.journal(HOME)).remedy


def test_a_journal_that_is_not_kept_is_a_warning(machine: Path) -> None:
    (machine / "journal" / "a1b2").rmdir()

    assert "after a reboot" in only(checkup.journal(HOME), Severity.WARNING).message


def test_only_lines_of_this_person_are_asked_for(programs: Programs) -> None:
    list(checkup.journal(HOME))

    (call,) = programs.asked("--lines=1")
    assert f"_UID={os.getuid()}" in call


# the clock


@pytest.mark.parametrize(("can", "remedy"), [("yes", "set-ntp true"), ("no", "systemd-timesyncd")])
def test_a_clock_that_is_not_synchronised_is_a_warning(programs: Programs, can: str, remedy: str) -> None:
    programs.answer("timedatectl", said=f"NTPSynchronized=no\nCanNTP={can}\n")

    assert remedy in only(checkup.clock(), Severity.WARNING).remedy


def test_in_a_container_the_clock_is_its_host_s(machine: Path, programs: Programs) -> None:
    (machine / "container").touch()
    programs.answer("timedatectl", said="NTPSynchronized=no\nCanNTP=no\n")

    assert list(checkup.clock()) == []


def test_where_nobody_can_tell_it_is_a_note(programs: Programs) -> None:
    programs.answer("timedatectl", 1, complaint="Failed to connect to bus\n")

    assert "Failed to connect" in only(checkup.clock(), Severity.NOTE).message


# the scheduler


def scheduler(
    programs: Programs,
    active: str,
    is_enabled: bool,
    has_tasks: bool = True,
    load: str = "loaded",
    housekeeping: str = "active",
) -> list[Finding]:
    """What is found where keiji's target is installed and in that state."""
    names.unit_folder().mkdir(parents=True)
    for name in (names.TARGET, *([names.timer("ping")] if has_tasks else [])):
        (names.unit_folder() / name).touch()
    if is_enabled:
        names.enabled_target().parent.mkdir()
        files.link(names.enabled_target(), f"../{names.TARGET}")
    programs.answer(names.TARGET, said=f"LoadState={load}\nActiveState={active}\n")
    programs.answer(names.HOUSEKEEPING, said=f"ActiveState={housekeeping}\n")
    return list(checkup.scheduler())


def test_a_scheduler_that_is_started_for_good_is_fine(programs: Programs) -> None:
    assert scheduler(programs, "active", is_enabled=True) == []


@pytest.mark.parametrize(
    ("active", "is_enabled", "severity"),
    [
        ("active", False, Severity.ERROR),
        ("inactive", True, Severity.ERROR),
        ("failed", True, Severity.ERROR),
        ("inactive", False, Severity.WARNING),
    ],
)
def test_any_other_state_has_its_remedy_in_a_start(programs, active, is_enabled, severity) -> None:
    assert only(scheduler(programs, active, is_enabled), severity).remedy == "`keiji system start`"


def test_housekeeping_that_was_stopped_alone_is_an_error(programs: Programs) -> None:
    found = only(scheduler(programs, "active", is_enabled=True, housekeeping="inactive"))

    assert found.message.startswith(names.HOUSEKEEPING)
    assert found.remedy == "`keiji system start`"


def test_a_stopped_scheduler_without_a_task_is_fine(programs: Programs) -> None:
    assert scheduler(programs, "inactive", is_enabled=False, has_tasks=False) == []


def test_a_manager_that_looks_elsewhere_is_an_error(programs: Programs) -> None:
    found = only(scheduler(programs, "inactive", is_enabled=False, load="not-found"))

    assert "XDG_CONFIG_HOME" in found.message
    assert str(names.unit_folder()) in found.message


def test_without_keiji_s_units_there_is_nothing_to_tell_of_the_scheduler() -> None:
    assert list(checkup.scheduler()) == []


# keiji's own failures


def test_each_of_keiji_s_own_units_that_failed_is_an_error(programs: Programs) -> None:
    rows = [f"{unit} loaded failed failed keiji\n" for unit in ("io.keiji.failed.service", names.BUS_SERVICE)]
    programs.answer("list-units", said="".join(rows))

    found = only(checkup.failed(HOME))
    assert found.message.startswith("io.keiji.failed.service failed")
    assert "`systemctl --user start io.keiji.failed.service`" in found.remedy


def test_no_failed_unit_is_no_finding(programs: Programs) -> None:
    programs.answer("list-units")

    assert list(checkup.failed(HOME)) == []
