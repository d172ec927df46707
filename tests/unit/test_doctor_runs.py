"""What the doctor finds in run files, marks and locks."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path

import pytest
from commanding import Place
from examining import finding, findings
from recording import an_entry, ended

from keiji.doctor import runs
from keiji.doctor.patient import Patient
from keiji.folders import Folders
from keiji.locks import task_lock
from keiji.run import Result
from keiji.testing import MemoryHost

BOOT = "boot-1"  # the host's in memory


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


# records


@pytest.mark.parametrize(("hours", "is_fault"), [(1, False), (3, True)])
def test_records_that_nobody_delivers_are_an_error(well: Place, hours: float, is_fault: bool) -> None:
    for number in (1, 2):
        entry = ended(an_entry(number), Result.SUCCEEDED)
        well.wait_for_delivery(entry)
        age(well.folders.done / entry.id, hours * 3600 * number / 2)

    if is_fault:
        found = finding(well, "records", "error")
        assert found.message == "2 runs that ended are not in the database yet, the oldest for 3h"
        assert "`keiji task list`" in found.remedy
    else:
        assert findings(well) == []


def test_run_files_that_were_set_aside_are_a_warning(well: Place) -> None:
    (well.folders.damaged / "x").mkdir()

    found = finding(well, "damaged", "warning")
    assert found.message == f"1 run file in {well.folders.damaged} can't be read"
    assert f"`rm -r {well.folders.damaged}/*`" in found.remedy


# runs


def test_a_run_that_goes_on_is_no_fault(well: Place) -> None:
    well.begin(an_entry(boot=BOOT, pid=os.getpid()))

    assert findings(well) == []


@pytest.mark.parametrize(
    "changes", [{"boot": BOOT, "pid": 2**22 + 1}, {"boot": "before", "pid": os.getpid()}], ids=["pid", "boot"]
)
def test_a_dead_run_that_blocks_its_task_is_an_error(well: Place, changes: dict[str, object]) -> None:
    well.begin(an_entry(**changes))

    found = finding(well, "runs", "error")
    assert found.task == "ping"
    assert "`memory keep house`" in found.remedy


def test_a_run_file_that_says_nothing_is_an_error(well: Place) -> None:
    well.folders.running("ping").write_text("")

    assert finding(well, "runs", "error").task == "ping"


# what was cut short


@pytest.mark.parametrize(
    ("folder", "says", "said"),
    [
        ("stale", "", "a build or an update of it was cut short"),
        ("stale", "delete", "delete of it was cut short"),
        ("requested", "", "a run of it was asked for and never began"),
        ("stopping", "*", "to stop a run of it was cut short"),
    ],
)
def test_what_was_cut_short_is_a_warning(well: Place, folder: str, says: str, said: str) -> None:
    path = well.folders.run / folder / "ping"
    path.write_text(says)
    age(path, 600)

    found = finding(well, "changes", "warning")
    assert (found.task, found.message, found.remedy) == ("ping", said, "`memory keep house`")


def test_what_has_only_just_begun_is_no_fault(well: Place) -> None:
    for folder in ("stale", "requested", "stopping"):
        (well.folders.run / folder / "ping").write_text("")

    assert findings(well) == []


def test_a_first_build_that_was_cut_short_is_built_again(well: Place) -> None:
    well.folders.stale("new").write_text("")
    age(well.folders.stale("new"), 600)

    assert finding(well, "changes", "warning").remedy == "`keiji task build new`"


# locks


def test_a_task_that_is_being_changed_is_a_note_and_its_marks_are_no_fault(well: Place) -> None:
    well.folders.stale("ping").write_text("restart")
    age(well.folders.stale("ping"), 600)

    with task_lock(well.folders, "ping"):
        found = finding(well, "locks", "note")

    assert found.task == "ping"
    assert f":{well.folders.lock('ping').stat().st_ino} ' /proc/locks`" in found.remedy


def test_the_line_that_names_the_holder_of_a_lock_can_be_typed_on_a_mac(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = Folders(tmp_path / "the workspace", tmp_path / "the home's")
    monkeypatch.setattr(os.path, "exists", lambda path: path != "/proc/locks" and Path(path).exists())

    with task_lock(folders, "ping"):
        (locks,) = (it for it in runs.checks(Patient(folders, MemoryHost(folders))) if it.name == "locks")
        (found,) = locks.look()

    assert shlex.split(found.remedy.split("`")[1]) == ["lsof", str(folders.lock("ping"))]


def test_a_lock_that_nobody_holds_is_not_spoken_of(well: Place) -> None:
    with task_lock(well.folders, "ping"):
        pass

    assert well.folders.lock("ping").exists()
    assert findings(well) == []
