"""`keiji doctor`: each check stands for itself, and what they find is told with its remedy."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from commanding import Place
from examining import findings, names, report

from keiji import doctor
from keiji.commands.doctor import doctor as command
from keiji.errors import HostFailed
from keiji.findings import Check, Finding, Severity, error, note, warning
from keiji.systemd.manager import SystemdHost

README = Path(__file__).parents[2] / "README.md"
Out = pytest.CaptureFixture[str]


def finds(name: str, *found: Finding, needs: tuple[str, ...] = ()) -> Check:
    return Check(name, lambda: found, needs)


def stumbles(name: str, problem: Exception) -> Check:
    def look() -> list[Finding]:
        raise problem

    return Check(name, look)


# making the checks


def test_a_keiji_in_good_health_has_nothing_found(well: Place) -> None:
    assert findings(well) == []


def test_the_readme_s_example_has_as_many_checks_as_are_made_on_linux(well: Place) -> None:
    example = README.read_text(encoding="utf-8").partition("$ keiji doctor\n")[2].partition("```")[0]

    made = doctor.checks(well.folders, SystemdHost(well.folders))
    assert re.findall(r"in (\d+) checks", example) == [str(len(made))]


def test_a_finding_carries_the_name_of_its_check() -> None:
    (found,) = doctor.examine([finds("disk", warning("it is old", "buy one"))]).findings

    assert (found.check, found.message, found.remedy) == ("disk", "it is old", "buy one")


@pytest.mark.parametrize("problem", [HostFailed("no answer"), OSError("no answer"), ValueError("no answer")])
def test_a_check_that_can_not_be_made_is_told_and_the_others_are_made(problem: Exception) -> None:
    seen = doctor.examine([stumbles("first", problem), finds("second", error("broken", "mend it"))])

    found, stumbled = seen.findings
    assert (stumbled.check, stumbled.severity) == ("first", Severity.WARNING)
    assert "no answer" in stumbled.message
    assert found.check == "second"


def test_errors_come_first_and_notes_last_each_in_the_order_of_the_checks() -> None:
    found = [note("1", "x"), warning("2", "x"), error("3", "x"), warning("4", "x"), error("5", "x")]

    seen = doctor.examine([finds(it.message, it) for it in found])

    assert [it.message for it in seen.findings] == ["3", "5", "2", "4", "1"]


def test_what_an_error_makes_useless_is_not_tried_and_names_the_first_cause() -> None:
    tried: list[str] = []
    seen = doctor.examine(
        [
            finds("a", error("broken", "mend it")),
            finds("b", needs=("a",)),
            Check("c", lambda: tried.append("c") or (), ("b",)),
            finds("d"),
        ]
    )

    assert seen.unmade == {"b": "a", "c": "a"}
    assert tried == []
    assert seen.made == 2
    assert [it.severity for it in seen.findings] == [Severity.ERROR, Severity.NOTE, Severity.NOTE]


def test_a_warning_keeps_no_other_check_from_being_made() -> None:
    seen = doctor.examine([finds("a", warning("so so", "mend it")), finds("b", needs=("a",))])

    assert seen.unmade == {}


def test_what_a_check_needs_comes_before_it(well: Place) -> None:
    made: set[str] = set()
    for check in doctor.checks(well.folders, well.host):
        assert made.issuperset(check.needs), check.name
        assert check.name not in made
        made.add(check.name)


def test_before_init_the_way_to_it_is_told_and_the_machine_is_looked_at(tmp_path) -> None:
    from keiji.folders import Folders
    from keiji.testing import MemoryHost

    folders = Folders(tmp_path / "workspace", tmp_path / "home")
    host = MemoryHost(folders)
    host.ills = [error("no manager", "log in")]

    found = doctor.examine(doctor.checks(folders, host)).findings

    first, second = (it for it in found if it.severity is Severity.ERROR)
    assert (first.check, first.remedy) == ("folders", "`keiji init`")
    assert second.message == "no manager"


def test_a_look_changes_nothing(well: Place) -> None:
    def everything() -> dict[str, tuple[float, int]]:
        found = [*well.folders.home.rglob("*"), *well.folders.workspace.rglob("*")]
        # SQLite makes files beside the database while it reads, so the folder's own time tells nothing.
        return {
            str(path): (0 if path.is_dir() else path.lstat().st_mtime, path.lstat().st_mode) for path in found
        }

    well.folders.held("ping").write_text("")
    well.folders.stale("ping").write_text("delete")
    with closing(sqlite3.connect(well.folders.database)) as database:
        database.execute("PRAGMA wal_checkpoint")
    before, state = everything(), well.state()

    assert findings(well)

    assert everything() == before
    assert well.state() == state


def test_one_broken_thing_hides_no_other(well: Place) -> None:
    well.folders.settings.write_text("TIME_ZONE=Nowhere\n")
    well.folders.current("ping").unlink()
    well.host.armed.clear()
    well.host.ills = [warning("hot", "cool it")]

    assert names(findings(well)) >= {"settings", "builds", "timers", "manager"}


# telling


def told(monkeypatch: pytest.MonkeyPatch, place: Place, *made: Check, as_json: bool = False) -> int:
    monkeypatch.setattr("keiji.commands.doctor.checks", lambda folders, host: list(made))
    return command(place.folders, place.host, as_json)


def test_good_health_is_told_with_the_number_of_checks(well: Place, capsys: Out) -> None:
    assert command(well.folders, well.host, False) == 0

    assert capsys.readouterr().out == f"everything is fine: {report(well).made} checks\n"


@pytest.mark.parametrize(("found", "status"), [(error, 1), (warning, 0), (note, 0)])
def test_errors_alone_make_the_status_1(well: Place, monkeypatch, found, status) -> None:
    assert told(monkeypatch, well, finds("a", found("so so", "mend it"))) == status


def test_a_finding_is_a_line_and_its_remedy_another(well: Place, monkeypatch, capsys: Out) -> None:
    told(monkeypatch, well, finds("a", error("x is broken", "`mend x`"), warning("y is old", "`renew y`")))

    assert capsys.readouterr().out.splitlines() == [
        *("error: x is broken", "  remedy: `mend x`", "warning: y is old", "  remedy: `renew y`"),
        "1 error, 1 warning in 1 checks",
    ]


def test_a_note_is_no_fault(well: Place, monkeypatch, capsys: Out) -> None:
    told(monkeypatch, well, finds("a", note("it is held", "`resolve it`", "ping")))

    assert capsys.readouterr().out.splitlines() == [
        *("note: ping: it is held", "  remedy: `resolve it`", "everything is fine: 1 checks"),
    ]


def test_what_many_tasks_share_is_told_once(well: Place, monkeypatch, capsys: Out) -> None:
    tasks = ["a", "b", "c", "d", "e"]
    told(monkeypatch, well, finds("x", *(error("it is gone", f"`build {task}`", task) for task in tasks)))

    assert capsys.readouterr().out.splitlines()[:2] == [
        *("error: a, b, c and 2 more: it is gone", "  remedy: `build a`, and so for each")
    ]


def test_one_remedy_for_many_tasks_is_enough(well: Place, monkeypatch, capsys: Out) -> None:
    told(monkeypatch, well, finds("x", *(error("it is gone", "`update`", task) for task in "ab")))

    assert capsys.readouterr().out.splitlines()[:2] == ["error: a, b: it is gone", "  remedy: `update`"]


def test_checks_that_were_not_made_take_one_line(well: Place, monkeypatch, capsys: Out) -> None:
    made = [finds("a", error("broken", "mend it")), finds("b", needs=("a",)), finds("c", needs=("a",))]
    told(monkeypatch, well, *made)

    assert "not checked before `a` is in order: b, c\n" in capsys.readouterr().out


def test_json_has_an_object_for_each_finding(well: Place, monkeypatch, capsys: Out) -> None:
    made = [finds("a", error("broken", "mend it", "ping")), finds("b", needs=("a",))]
    status = told(monkeypatch, well, *made, as_json=True)

    assert status == 1
    keys = ("check", "severity", "message", "remedy", "task")
    assert json.loads(capsys.readouterr().out) == [
        dict(zip(keys, ("a", "error", "broken", "mend it", "ping"), strict=True)),
        dict(zip(keys, ("b", "note", "not checked before `a` is in order", "", None), strict=True)),
    ]


def test_json_of_good_health_is_an_empty_list(well: Place, capsys: Out) -> None:
    assert command(well.folders, well.host, True) == 0
    assert json.loads(capsys.readouterr().out) == []
