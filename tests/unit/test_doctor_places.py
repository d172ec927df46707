"""What the doctor finds on the disk: folders, their room, settings, the database."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from commanding import Place
from examining import finding, findings, report

from keiji import diskspace, settings
from keiji.doctor import patient, places
from keiji.findings import Severity


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked database is soon given up."""
    monkeypatch.setattr(patient, "PATIENCE", 0.05)
    monkeypatch.setattr(places, "PATIENCE", 0.05)


# folders


@pytest.mark.parametrize("which", ["run", "workspace"])
def test_without_a_folder_init_is_the_remedy(well: Place, which: str) -> None:
    shutil.rmtree(getattr(well.folders, which))

    seen = report(well)

    (found,) = (it for it in seen.findings if it.severity is Severity.ERROR)
    assert (found.check, found.remedy) == ("folders", "`keiji init`")
    assert {*seen.unmade.values()} == {"folders"}


@pytest.mark.parametrize("name", ["held", "done", "locks"])
def test_a_missing_folder_of_run_files_is_an_error(well: Place, name: str) -> None:
    shutil.rmtree(well.folders.run / name)

    seen = report(well)

    (found,) = (it for it in seen.findings if it.severity is Severity.ERROR)
    assert f"{well.folders.run / name} is missing" in found.message
    assert seen.unmade == {}


def test_a_file_in_the_place_of_a_folder_is_told(well: Place) -> None:
    (well.folders.run / "stopping").rmdir()
    (well.folders.run / "stopping").touch()

    (found,) = (it for it in findings(well) if it.severity is Severity.ERROR)
    assert "is no folder" in found.message


def test_a_home_that_others_may_read_is_a_warning(well: Place) -> None:
    well.folders.home.chmod(0o755)

    found = finding(well, "folders", "warning")
    assert "mode 0755" in found.message
    assert found.remedy == f"`chmod 700 {well.folders.home}`"


def test_somebody_else_s_folder_is_an_error(well: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)

    (found, *_) = findings(well)
    assert (found.check, found.severity) == ("folders", Severity.ERROR)
    assert found.remedy == f"`sudo chown -R {me + 1}:{os.getgid()} {well.folders.home}`"


def test_a_folder_that_can_not_be_written_is_an_error(well: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    access, shut = os.access, well.folders.done
    monkeypatch.setattr(os, "access", lambda path, mode: path != shut and access(path, mode))

    (found, *_) = findings(well)
    assert (found.check, found.remedy) == ("subfolders", f"`chmod u+rwx {shut}`")


def test_secrets_that_others_may_read_are_a_warning_for_their_task(well: Place) -> None:
    env = well.folders.tasks / "ping" / ".env"
    env.chmod(0o644)

    found = finding(well, "secrets", "warning")
    assert (found.task, found.remedy) == ("ping", f"`chmod 600 {env}`")


def test_a_missing_pyproject_is_a_warning(well: Place) -> None:
    well.folders.project.unlink()

    assert finding(well, "folders", "warning").remedy == "`keiji init`"


# room


class Disk:
    """What `os.statvfs` says of a disk with plenty of room, but for the changes."""

    def __init__(self, **changes: int) -> None:
        said = {"f_frsize": 4096, "f_bavail": 1 << 20, "f_files": 1 << 20, "f_favail": 1 << 19, **changes}
        self.__dict__.update(said)


@pytest.mark.parametrize(
    ("disk", "severity", "said"),
    [
        (Disk(f_bavail=255), "error", "is full"),
        (Disk(f_bavail=256 * 50), "warning", "has 50 MiB left"),
        (Disk(f_favail=0), "error", "takes no more files"),
        (Disk(f_favail=999), "warning", "takes 999 more files only"),
    ],
)
def test_little_room_is_a_warning_and_none_an_error(well: Place, monkeypatch, disk, severity, said) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: disk)

    found = finding(well, "space", severity)
    assert said in found.message
    assert str(well.folders.home) in found.remedy


def test_a_folder_with_a_space_in_its_name_is_one_word_of_the_remedy() -> None:
    (found,) = diskspace.shortage(Path("/my own"), Disk(f_bavail=255))

    assert "`df -h '/my own'`" in found.remedy


@pytest.mark.parametrize("disk", [Disk(), Disk(f_files=0, f_favail=0)])
def test_enough_room_is_not_spoken_of(disk) -> None:
    assert list(diskspace.shortage(Path("/x"), disk)) == []


def test_a_folder_that_is_not_there_has_no_disk(tmp_path: Path) -> None:
    assert list(diskspace.shortages([tmp_path / "none"])) == []


# settings


def test_a_wrong_value_is_an_error_with_file_line_and_key(well: Place) -> None:
    well.folders.settings.write_text("# mine\nTIME_ZONE=Nowhere\n")

    (found,) = (it for it in findings(well) if it.severity is Severity.ERROR)
    assert (found.check, found.remedy) == ("settings", f"correct {well.folders.settings}")
    assert f"{well.folders.settings}, line 2: TIME_ZONE" in found.message


def test_settings_that_are_no_text_are_an_error(well: Place) -> None:
    well.folders.settings.write_bytes(b"\xff\xfe\x00")

    (found,) = (it for it in findings(well) if it.severity is Severity.ERROR)
    assert found.check == "settings"


def test_an_unknown_key_is_a_warning(well: Place) -> None:
    with well.folders.settings.open("a") as file:
        file.write("TIMEZONE=UTC\n")

    assert "TIME_ZONE" in finding(well, "settings", "warning").message


def test_missing_settings_are_a_warning(well: Place) -> None:
    well.folders.settings.unlink()

    assert finding(well, "settings", "warning").remedy == "`keiji init`"


def test_another_zone_than_the_machine_s_is_a_note(well: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "machine_zone", lambda *_: "Africa/Nairobi")

    found = finding(well, "zone", "note")
    assert "Africa/Nairobi" in found.message
    assert "TIME_ZONE=UTC" in found.message


# the database


def test_a_missing_database_is_an_error(well: Place) -> None:
    well.folders.database.unlink()

    (found,) = (it for it in findings(well) if it.severity is Severity.ERROR)
    assert (found.check, found.remedy) == ("database", "`keiji init`, then `keiji task build --all`")
    assert not well.folders.database.exists()


@pytest.mark.parametrize(("version", "said"), [(0, "`keiji init` makes them"), (999, "upgrade keiji")])
def test_a_database_of_another_version_is_an_error(well: Place, version: int, said: str) -> None:
    with closing(sqlite3.connect(well.folders.database, isolation_level=None)) as database:
        database.execute("DELETE FROM migration")
        database.execute("INSERT INTO migration (number, applied) VALUES (?, 0)", (version,))

    (found,) = (it for it in findings(well) if it.severity is Severity.ERROR)
    assert (found.check, found.remedy) == ("database", said)


def test_a_database_that_another_program_keeps_locked_is_an_error(well: Place) -> None:
    with well.locked_database():
        (found,) = (it for it in findings(well) if it.severity is Severity.ERROR)

    assert found.check == "database"
    assert "`fuser" in found.remedy


def test_a_damaged_database_is_an_error(well: Place) -> None:
    well.folders.database.write_bytes(b"no database at all" * 1000)

    (found,) = (it for it in findings(well) if it.severity is Severity.ERROR)
    assert "is damaged" in found.message
    assert found.remedy


def test_a_database_that_this_keiji_can_not_use_is_an_error(well: Place) -> None:
    well.folders.settings.write_text("DB_URL=postgresql://u:secret@h/d\nTIME_ZONE=UTC\n")

    (found,) = (it for it in findings(well) if it.severity is Severity.ERROR)
    assert found.check == "database"
    assert "secret" not in found.message + found.remedy
